import { minifloat } from "./format.js";

export const e2m1 = minifloat({
  name: "e2m1",
  aliases: ["float4_e2m1fn"],
  exponentBits: 2,
  significandBits: 1,
  nonFinite: "none",
  summary: "float4, values 0 0.5 1 1.5 2 3 4 6",
  source: "OCP Microscaling Formats (MX) 1.0, FP4 E2M1",
});
