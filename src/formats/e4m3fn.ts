import { minifloat } from "./format.js";

export const e4m3fn = minifloat({
  name: "e4m3fn",
  aliases: ["float8_e4m3fn"],
  exponentBits: 4,
  significandBits: 3,
  nonFinite: "fn",
  summary: "float8 for weights and activations, max 448, no infinity",
  source: "OCP 8-bit Floating Point Specification (OFP8) 1.0, E4M3",
});
