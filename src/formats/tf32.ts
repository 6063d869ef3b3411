import { minifloat } from "./format.js";

export const tf32 = minifloat({
  name: "tf32",
  exponentBits: 8,
  significandBits: 10,
  nonFinite: "ieee",
  summary: "TensorFloat-32, 19 significant bits of a 32-bit word",
  source: "NVIDIA A100 Tensor Core GPU Architecture whitepaper",
});
