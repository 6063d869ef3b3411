import { minifloat } from "./format.js";

export const e5m2fnuz = minifloat({
  name: "e5m2fnuz",
  exponentBits: 5,
  significandBits: 2,
  bias: 16,
  aliases: ["float8_e5m2fnuz"],
  nonFinite: "fnuz",
  summary: "float8 without negative zero, max 57344",
  source: "Graphcore and AMD, float8 FNUZ (arXiv 2206.02915)",
});
