import { activation } from "./activation.js";

/** Scales found anew for every token: one a row (int8-row, e4m3fn-row) or one a group of channels (mxfp8, int8-g128). */
export const dynamic = activation({
  name: "dynamic",
  summary: "rounded to any scheme, every token finding its own scales, one for the row or for each group",
  source: "token-wise dynamic quantization: Yao et al. 2022 (ZeroQuant), arXiv 2206.01861, section 3.1",
  options: {},
  needs: () => "nothing",
  choose: ({ scheme }) => ({ input: [{ kind: "round", scheme: scheme.name }] }),
});
