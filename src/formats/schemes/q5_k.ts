import { f16 } from "../f16.js";
import { uint } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { affineRule } from "./k-quants.js";
import { SUPER } from "./super-blocks.js";

/** w = (d * scale) * code + (m * minimum); m is the negated dmin of the file. */
export const q5_k: Scheme = {
  name: "q5_k",
  summary: "GGUF Q5_K: 5 bits, 6-bit scale and minimum for 32, f16 scales for 256",
  source: "ggml, block_q5_K (ggml-common.h)",
  element: uint(5),
  scale: { format: uint(6), per: 32, super: { format: f16, per: SUPER } },
  offset: { kind: "min", format: uint(6), per: 32, super: { format: f16, per: SUPER } },
  quantize: affineRule({
    per: 32,
    levels: 31,
    scaleLevels: 63,
    first: -0.5,
    step: 0.1,
    steps: 15,
    error: "square",
    weight: "rms",
  }),
};
