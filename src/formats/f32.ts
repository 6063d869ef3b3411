import { minifloat } from "./format.js";

export const f32 = minifloat({
  name: "f32",
  aliases: ["float32", "binary32"],
  exponentBits: 8,
  significandBits: 23,
  nonFinite: "ieee",
  summary: "binary32",
  source: "IEEE 754-2019, binary32",
});
