import { f16 } from "../f16.js";
import { uint } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { minMaxRule } from "./gguf.js";

/** w = d * code + m. */
export const q5_1: Scheme = {
  name: "q5_1",
  summary: "GGUF Q5_1: 5 bits, f16 scale and minimum for 32",
  source: "ggml, block_q5_1 (ggml-common.h)",
  element: uint(5),
  scale: { format: f16, per: 32 },
  offset: { kind: "min", format: f16, per: 32 },
  quantize: minMaxRule(31),
};
