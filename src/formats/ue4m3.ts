import { minifloat } from "./format.js";

export const ue4m3 = minifloat({
  name: "ue4m3",
  exponentBits: 4,
  significandBits: 3,
  signed: false,
  nonFinite: "fn",
  summary: "unsigned e4m3, the block scale of NVFP4",
  source: "NVIDIA NVFP4: e4m3 whose sign bit is not used",
});
