import { minifloat } from "./format.js";

export const e2m3 = minifloat({
  name: "e2m3",
  aliases: ["float6_e2m3fn"],
  exponentBits: 2,
  significandBits: 3,
  nonFinite: "none",
  summary: "float6 with precision, max 7.5",
  source: "OCP Microscaling Formats (MX) 1.0, FP6 E2M3",
});
