import { minifloat } from "./format.js";

export const e3m2 = minifloat({
  name: "e3m2",
  aliases: ["float6_e3m2fn"],
  exponentBits: 3,
  significandBits: 2,
  nonFinite: "none",
  summary: "float6 with range, max 28",
  source: "OCP Microscaling Formats (MX) 1.0, FP6 E3M2",
});
