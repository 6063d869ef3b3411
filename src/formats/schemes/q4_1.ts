import { f16 } from "../f16.js";
import { uint } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { minMaxRule } from "./gguf.js";

/** w = d * code + m. */
export const q4_1: Scheme = {
  name: "q4_1",
  summary: "GGUF Q4_1: 4 bits, f16 scale and minimum for 32",
  source: "ggml, block_q4_1 (ggml-common.h)",
  element: uint(4),
  scale: { format: f16, per: 32 },
  offset: { kind: "min", format: f16, per: 32 },
  quantize: minMaxRule(15),
};
