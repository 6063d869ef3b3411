import { minifloat } from "./format.js";

export const e4m3fnuz = minifloat({
  name: "e4m3fnuz",
  exponentBits: 4,
  significandBits: 3,
  bias: 8,
  aliases: ["float8_e4m3fnuz"],
  nonFinite: "fnuz",
  summary: "float8 without negative zero, max 240",
  source: "Graphcore and AMD, float8 FNUZ (arXiv 2206.02915)",
});
