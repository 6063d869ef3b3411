import { f16 } from "../f16.js";
import { uint } from "../integers.js";
import type { Scheme } from "../scheme.js";
import { affineRule } from "./k-quants.js";
import { SUPER } from "./super-blocks.js";

/** w = (d * scale) * code + (m * minimum); m is the negated dmin of the file. */
export const q2_k: Scheme = {
  name: "q2_k",
  summary: "GGUF Q2_K: 2 bits, 4-bit scale and minimum for 16, f16 scales for 256",
  source: "ggml, block_q2_K (ggml-common.h)",
  element: uint(2),
  scale: { format: uint(4), per: 16, super: { format: f16, per: SUPER } },
  offset: { kind: "min", format: uint(4), per: 16, super: { format: f16, per: SUPER } },
  quantize: affineRule({
    per: 16,
    levels: 3,
    scaleLevels: 15,
    first: -0.5,
    step: 0.1,
    steps: 15,
    error: "absolute",
    weight: "magnitude",
  }),
};
