import { f16 } from "../f16.js";
import { int } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { q8Rule } from "./gguf.js";

/** w = d * code. */
export const q8_0: Scheme = {
  name: "q8_0",
  summary: "GGUF Q8_0: 8 bits, f16 scale for 32",
  source: "ggml, block_q8_0 (ggml-common.h)",
  element: int(8),
  scale: { format: f16, per: 32 },
  quantize: q8Rule,
};
