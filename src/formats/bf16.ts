import { minifloat } from "./format.js";

export const bf16 = minifloat({
  name: "bf16",
  aliases: ["bfloat16"],
  exponentBits: 8,
  significandBits: 7,
  nonFinite: "ieee",
  summary: "bfloat16, the upper half of binary32",
  source: "Google bfloat16; the layout of ml_dtypes bfloat16",
});
