import { e2m1 } from "../e2m1.js";
import { e8m0 } from "../e8m0.js";
import type { Scheme } from "../scheme.js";
import { floorExponentOfF32Log, mxRule } from "./mx.js";

/**
 * As ggml encodes it: ties between two values go to the one nearer to zero, and there is no negative zero. (OCP leaves
 * the rounding open and most other stacks round ties to even.)
 */
export const mxfp4: Scheme = {
  name: "mxfp4",
  summary: "MXFP4: e2m1, power-of-two scale for 32 (GGUF's rounding)",
  source: "OCP Microscaling Formats (MX) 1.0; ggml, quantize_row_mxfp4_ref",
  element: e2m1,
  scale: { format: e8m0, per: 32 },
  quantize: mxRule({ exponent: floorExponentOfF32Log, element: { rounding: "nearest-zero" }, positiveZero: true }),
};
