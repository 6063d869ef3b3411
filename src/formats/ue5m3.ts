import { minifloat } from "./format.js";

export const ue5m3 = minifloat({
  name: "ue5m3",
  exponentBits: 5,
  significandBits: 3,
  signed: false,
  nonFinite: "fn",
  summary: "unsigned block scale with the range of e5m2, max 114688",
  source: "arXiv 2601.19026; auto-round, nvfp.py",
});
