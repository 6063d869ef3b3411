import { f16 } from "../f16.js";
import { int } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { q6Rule } from "./k-quants.js";
import { offsetInt, SUPER } from "./super-blocks.js";

/** w = (d * scale) * (code - 32). */
export const q6_k: Scheme = {
  name: "q6_k",
  summary: "GGUF Q6_K: 6 bits, int8 scale for 16, f16 scale for 256",
  source: "ggml, block_q6_K (ggml-common.h)",
  element: offsetInt(6, 32),
  scale: { format: int(8), per: 16, super: { format: f16, per: SUPER } },
  quantize: q6Rule,
};
