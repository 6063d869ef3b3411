import { minifloat } from "./format.js";

export const f16 = minifloat({
  name: "f16",
  aliases: ["float16", "binary16"],
  exponentBits: 5,
  significandBits: 10,
  nonFinite: "ieee",
  summary: "half precision, binary16",
  source: "IEEE 754-2019, binary16",
});
