/**
 * GGUF's ternary types: -1, 0, 1 times an f16 scale for 256 elements. Made for weights that are ternary already: the scale
 * is the largest magnitude. TQ1_0 and TQ2_0 hold the same numbers and differ in the file only (1.69 and 2.06 bits).
 */
import { f16 } from "../f16.js";
import { withSteps } from "../rule-steps.js";
import type { Scheme } from "../scheme.js";
import { amaxOf, byGroup, finiteEncoder } from "./groups.js";
import { offsetInt, SUPER } from "./super-blocks.js";

const { fround: f, trunc } = Math;

/** w = d * (code - 1); code = round half away from zero of x / amax, plus 1. */
const rule = byGroup(() => {
  const scaleCode = finiteEncoder(f16, "block scale");
  return (group) => {
    const { values, codes, start, end, at } = group;
    const amax = amaxOf(values, start, end);
    const inverse = amax === 0 ? 0 : f(1 / amax);
    for (let i = start; i < end; i++) {
      const scaled = Number.isFinite(inverse) ? f(values[i] * inverse) : 0;
      codes[at + i - start] = (scaled < 0 ? -trunc(0.5 - scaled) : trunc(scaled + 0.5)) + 1;
    }
    group.scale = scaleCode(amax);
  };
});

export const ternary = (name: string, type: string): Scheme => ({
  name,
  summary: `GGUF ${type}: ternary, f16 scale for 256`,
  source: `ggml, block_${name} (ggml-common.h)`,
  element: offsetInt(2, 1, 1),
  scale: { format: f16, per: SUPER },
  quantize: withSteps(rule, () => ({ kind: "half-away", steps: 1, offset: 1 })),
});
