import { minifloat } from "./format.js";

export const e4m3b11fnuz = minifloat({
  name: "e4m3b11fnuz",
  exponentBits: 4,
  significandBits: 3,
  bias: 11,
  aliases: ["float8_e4m3b11fnuz"],
  nonFinite: "fnuz",
  summary: "float8 of bias 11, max 30",
  source: "ml_dtypes float8_e4m3b11fnuz",
});
