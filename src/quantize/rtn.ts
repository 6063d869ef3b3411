import { quantize } from "../tensor/index.js";
import type { QuantizationMethod } from "./method.js";

/** Round to nearest: the scheme's own rule for scales, then the nearest code for every value. */
export const rtn: QuantizationMethod = {
  name: "rtn",
  summary: "round to nearest under the scheme's own scale rule",
  source: "the baseline of Nagel et al. 2021, arXiv 2106.08295",
  needs: "nothing",
  quantize,
};
