import { minifloat } from "./format.js";

export const e5m2 = minifloat({
  name: "e5m2",
  aliases: ["float8_e5m2"],
  exponentBits: 5,
  significandBits: 2,
  nonFinite: "ieee",
  summary: "float8 with range, max 57344",
  source: "OCP 8-bit Floating Point Specification (OFP8) 1.0, E5M2",
});
