import { minifloat } from "./format.js";

export const e3m4 = minifloat({
  name: "e3m4",
  exponentBits: 3,
  significandBits: 4,
  aliases: ["float8_e3m4"],
  nonFinite: "ieee",
  summary: "float8 with precision, max 15.5",
  source: "IEEE 754 layout rules; ml_dtypes float8_e3m4",
});
