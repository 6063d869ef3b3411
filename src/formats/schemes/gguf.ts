/**
 * The rules of the GGUF blocks Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0, operation for operation in f32 as in ggml
 * (ggml-quants.c, quantize_row_*_ref) and its Python package, so that the bytes agree. Codes are computed with the
 * unrounded f32 scale, and only then the scale is rounded to f16: that is what ggml does.
 *
 * Where the inverse of a tiny scale overflows f32 (|scale| < 2^-128) ggml's codes are undefined; here the inverse counts
 * as 0, which is the value those blocks mean anyway because the f16 scale is 0.
 */
import { withSteps } from "../rule-steps.js";
import { amaxOf, byGroup, extremeOf, finiteEncoder } from "./groups.js";

const { fround, trunc, min } = Math;

const inverseOf = (d: number): number => {
  const inverse = d === 0 ? 0 : fround(1 / d);
  return Number.isFinite(inverse) ? inverse : 0;
};

/** d = extreme / -half: the element of largest magnitude gets code 0, w = d * (code - half). */
export const extremeRule = (half: number) => withSteps(extremes(half), () => ({ kind: "extreme", half }));

const extremes = (half: number) =>
  byGroup((scheme) => {
    const scaleCode = finiteEncoder(scheme.scale!.format, "block scale");
    return (group) => {
      const { values, codes, start, end } = group;
      const d = fround(extremeOf(values, start, end) / -half);
      const inverse = inverseOf(d);
      for (let i = start, at = group.at; i < end; i++, at++) {
        codes[at] = min(2 * half - 1, trunc(fround(fround(values[i] * inverse) + (half + 0.5))));
      }
      group.scale = scaleCode(d);
    };
  });

/** d = (max - min) / steps, m = min: w = d * code + m. */
export const minMaxRule = (steps: number) => withSteps(minMax(steps), () => ({ kind: "min-max", steps }));

const minMax = (steps: number) =>
  byGroup((scheme) => {
    const scaleCode = finiteEncoder(scheme.scale!.format, "block scale");
    const offsetCode = finiteEncoder(scheme.offset!.format, "block minimum");
    return (group) => {
      const { values, codes, start, end } = group;
      let low = values[start];
      let high = low;
      for (let i = start + 1; i < end; i++) {
        const x = values[i];
        if (x < low) low = x;
        if (x > high) high = x;
      }
      const d = fround(fround(high - low) / steps);
      const inverse = inverseOf(d);
      for (let i = start, at = group.at; i < end; i++, at++) {
        codes[at] = min(steps, trunc(fround(fround(fround(values[i] - low) * inverse) + 0.5)));
      }
      group.scale = scaleCode(d);
      group.offset = offsetCode(low);
    };
  });

const q8 = byGroup((scheme) => {
  const scaleCode = finiteEncoder(scheme.scale!.format, "block scale");
  return (group) => {
    const { values, codes, start, end } = group;
    const d = fround(amaxOf(values, start, end) / 127);
    const inverse = inverseOf(d);
    for (let i = start, at = group.at; i < end; i++, at++) {
      const scaled = fround(values[i] * inverse);
      codes[at] = scaled < 0 ? -trunc(0.5 - scaled) : trunc(scaled + 0.5);
    }
    group.scale = scaleCode(d);
  };
});

/** d = amax / 127, code = round half away from zero of x / d: w = d * code. */
export const q8Rule = withSteps(q8, () => ({ kind: "half-away", steps: 127, offset: 0 }));
