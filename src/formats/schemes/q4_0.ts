import { f16 } from "../f16.js";
import { integer } from "../format.js";
import type { Scheme } from "../scheme.js";
import { extremeRule } from "./gguf.js";

/** w = d * (code - 8). */
export const q4_0: Scheme = {
  name: "q4_0",
  summary: "GGUF Q4_0: 4 bits, f16 scale for 32",
  source: "ggml, block_q4_0 (ggml-common.h)",
  element: integer({
    name: "int4-offset8",
    bits: 4,
    signed: true,
    offset: 8,
    summary: "integer -8 to 7, stored plus 8",
    source: "ggml",
  }),
  scale: { format: f16, per: 32 },
  quantize: extremeRule(8),
};
