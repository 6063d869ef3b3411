import { f16 } from "../f16.js";
import { integer } from "../format.js";
import type { Scheme } from "../scheme.js";
import { extremeRule } from "./gguf.js";

/** w = d * (code - 16). */
export const q5_0: Scheme = {
  name: "q5_0",
  summary: "GGUF Q5_0: 5 bits, f16 scale for 32",
  source: "ggml, block_q5_0 (ggml-common.h)",
  element: integer({
    name: "int5-offset16",
    bits: 5,
    signed: true,
    offset: 16,
    summary: "integer -16 to 15, stored plus 16",
    source: "ggml",
  }),
  scale: { format: f16, per: 32 },
  quantize: extremeRule(16),
};
