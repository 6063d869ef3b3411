import { e2m1 } from "../e2m1.js";
import { sint } from "../integers.js";
import { nvScheme } from "./nv.js";

/** w = (tensor scale * block scale) * e2m1. */
export const nvfp4 = nvScheme({
  name: "nvfp4",
  aliases: ["nvfp4@transformer-engine"],
  element: e2m1,
  summary: "NVFP4: e2m1, e4m3 scale for 16, f32 scale for the tensor",
  source: "NVIDIA NVFP4; TransformerEngine, NVFP4QuantizerRef",
});

export const nvfp4_4over6 = nvScheme({
  name: "nvfp4-4over6",
  element: e2m1,
  rule: { search: "four-over-six" },
  summary: "NVFP4 whose block maxima become 6 or 4, whichever errs less",
  source: "Four Over Six (arXiv 2512.02010)",
});

export const nvfp4_mse = nvScheme({
  name: "nvfp4-mse",
  element: e2m1,
  rule: { search: "all" },
  summary: "NVFP4 with the block scale of least squared error out of all 126",
  source: "NVIDIA ModelOpt, MSE scale sweep",
});

export const nvint4 = nvScheme({
  name: "nvint4",
  element: sint(4),
  summary: "NVINT4: int4, e4m3 scale for 16, f32 scale for the tensor",
  source: "INT v.s. FP (arXiv 2510.25602)",
});

export const nvfp4_2d = nvScheme({
  name: "nvfp4-2d",
  element: e2m1,
  rows: 16,
  summary: "NVFP4 whose block scales hold for 16 x 16 tiles",
  source: "TransformerEngine, NVFP4 weights (2-D scaling)",
});
