import { activation } from "./activation.js";

const OPTIONS = {
  outliers: {
    kind: "number",
    summary: "numbers beyond this many root mean squares of their token's input stay as they are; 0: none do",
    default: 0,
    min: 0,
  },
} as const;

/** Scales found anew for every token: one a row (int8-row, e4m3fn-row) or one a group of channels (mxfp8, int8-g128). */
export const dynamic = activation({
  name: "dynamic",
  summary: "rounded to any scheme, every token finding its own scales, one for the row or for each group",
  source:
    "token-wise dynamic quantization: Yao et al. 2022 (ZeroQuant), arXiv 2206.01861, section 3.1; " +
    "outliers: Dettmers et al. 2022, arXiv 2208.07339, section 3.2",
  options: OPTIONS,
  needs: () => "nothing",
  choose: ({ scheme }, { outliers }) => ({
    input: [{ kind: "round", scheme: scheme.name, ...(outliers > 0 && { beyond: outliers }) }],
  }),
});
