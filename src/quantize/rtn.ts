import { quantize } from "../tensor/index.js";
import { method, powerError } from "./method.js";

/** Round to nearest: the scheme's own rule for scales, then the nearest code for every value. */
export const rtn = method({
  name: "rtn",
  summary: "round to nearest under the scheme's own scale rule",
  source: "the baseline of Nagel et al. 2021, arXiv 2106.08295",
  options: {},
  rowwise: true,
  needs: () => "nothing",
  objective: () => powerError(2),
  quantize: ({ scheme, values, shape }) => ({ packed: quantize(values, shape, scheme) }),
});
