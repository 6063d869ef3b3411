import { minifloat } from "./format.js";

/** A power of two: the scale of MX blocks. No sign, no zero; 0xFF is NaN. */
export const e8m0 = minifloat({
  name: "e8m0",
  aliases: ["float8_e8m0fnu"],
  exponentBits: 8,
  significandBits: 0,
  bias: 127,
  signed: false,
  nonFinite: "fn",
  subnormals: false,
  summary: "power-of-two scale 2^(code - 127), no zero",
  source: "OCP Microscaling Formats (MX) 1.0, section 5.4.1",
});
