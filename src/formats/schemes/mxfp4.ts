import { e2m1 } from "../e2m1.js";
import { mxScheme } from "./mx.js";

/**
 * As ggml encodes it: ties between two values go to the one nearer to zero, and there is no negative zero. (OCP leaves
 * the rounding open and most other stacks round ties to even: mxfp4@ocp.)
 */
export const mxfp4 = mxScheme({
  name: "mxfp4",
  aliases: ["mxfp4@gguf"],
  element: e2m1,
  rule: { scale: "floor-f32-log", element: { rounding: "nearest-zero" }, positiveZero: true },
  summary: "MXFP4: e2m1, power-of-two scale for 32 (GGUF's rounding)",
  source: "OCP Microscaling Formats (MX) 1.0; ggml, quantize_row_mxfp4_ref",
});
