/**
 * Microscaling blocks (OCP MX 1.0): 32 elements share a power of two. Dividing by it is exact, so an element is rounded
 * once, by its own format.
 */

import { exponentOf, scaleByPower } from "../binary64.js";
import { arrayEncoder } from "../casts.js";
import { type EncodeOptions, encode } from "../codec.js";
import type { NumberFormat } from "../format.js";
import { maxFinite } from "../limits.js";
import { amaxOf, byGroup } from "./groups.js";

/** OCP MX 1.0, section 6.3: floor(log2 amax), exact. */
export const floorExponent = (amax: number): number => exponentOf(amax);

/**
 * The same as ggml computes it: floorf(log2f(amax)). The logarithm in f32 rounds up to the next integer for amax within
 * a few ulp below a power of two, which gives the block twice the scale.
 */
export const floorExponentOfF32Log = (amax: number): number => Math.floor(Math.fround(Math.log2(amax)));

export interface MxRule {
  /** The exponent of amax. Default: floorExponent. */
  readonly exponent?: (amax: number) => number;
  readonly element?: EncodeOptions;
  /** Negative values that round to zero get the code of +0. */
  readonly positiveZero?: boolean;
}

/**
 * Scale 2^(exponent(amax) - emax), where emax is the exponent of the element format's largest value; elements saturate.
 * Exponents stay within E8M0's 0..254; a zero block gets code 0.
 */
export const mxRule = ({ exponent = floorExponent, element = {}, positiveZero = false }: MxRule = {}) =>
  byGroup((scheme) => {
    const format = scheme.element;
    const emax = exponentOf(maxFinite(format));
    const options: EncodeOptions = { overflow: "saturate", ...element };
    const encodeAll = arrayEncoder(format, options);
    const scaled = new Float32Array(typeof scheme.scale!.per === "number" ? scheme.scale!.per : 0);
    const negativeZero = positiveZero ? negativeZeroOf(format) : undefined;
    return (group) => {
      const { values, codes, start, end, at } = group;
      const amax = amaxOf(values, start, end);
      const biased = amax === 0 ? 0 : Math.max(0, Math.min(254, exponent(amax) - emax + 127));
      const inverse = scaleByPower(1, 127 - biased);
      for (let i = start; i < end; i++) scaled[i - start] = values[i] * inverse;
      encodeAll(scaled, 0, end - start, codes, at);
      if (negativeZero !== undefined)
        for (let i = at; i < at + end - start; i++) if (codes[i] === negativeZero) codes[i] = 0;
      group.scale = biased;
    };
  });

function negativeZeroOf(format: NumberFormat): number | undefined {
  const code = encode(format, -0);
  return code === encode(format, 0) ? undefined : code;
}
