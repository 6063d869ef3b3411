import { minifloat } from "./format.js";

export const e4m3 = minifloat({
  name: "e4m3",
  exponentBits: 4,
  significandBits: 3,
  aliases: ["float8_e4m3"],
  nonFinite: "ieee",
  summary: "float8 with infinities, max 240",
  source: "IEEE 754 layout rules; ml_dtypes float8_e4m3",
});
