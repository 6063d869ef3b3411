import { f16 } from "../f16.js";
import type { Scheme } from "../scheme.js";
import { q3Rule } from "./k-quants.js";
import { offsetInt, SUPER } from "./super-blocks.js";

/** w = (d * scale) * (code - 4). */
export const q3_k: Scheme = {
  name: "q3_k",
  summary: "GGUF Q3_K: 3 bits, 6-bit scale for 16, f16 scale for 256",
  source: "ggml, block_q3_K (ggml-common.h)",
  element: offsetInt(3, 4),
  scale: { format: offsetInt(6, 32), per: 16, super: { format: f16, per: SUPER } },
  quantize: q3Rule,
};
