/**
 * Converting one number to E8M0 is not agreed on. Each rule is what some stack or standard does with a scale that it has
 * already computed (rules for computing it from amax: schemes/mx.ts); codes are 0 .. 254 for 2^-127 .. 2^127, 255 for NaN.
 */
import { exponentOf, scaleByPower } from "./binary64.js";
import { encode } from "./codec.js";
import { e8m0 } from "./e8m0.js";

const NAN = 255;
/** The significand of x in [1, 2). */
const significandOf = (x: number) => scaleByPower(x, -exponentOf(x));
/** The exponent of the next power of two up. */
const ceilExponent = (x: number) => exponentOf(x) + Number(significandOf(x) > 1);
const limited = (exponent: number) => Math.max(0, Math.min(254, exponent + 127));

export const E8M0_RULES = {
  /** Nearest, ties to the even code; beyond the range NaN (IEEE P3109's rounding at precision 1). */
  "nearest-even": (x: number) => encode(e8m0, x),
  /**
   * ml_dtypes 0.6: nearest, ties up; zero, negative and infinite values are NaN; f32 subnormals above 2^-127 always go up.
   */
  ml_dtypes: (x: number) => {
    if (!(x > 0) || x === Infinity) return NAN;
    if (x <= 2 ** -127) return 0;
    return x < 2 ** -126 ? 1 : encode(e8m0, x, { rounding: "nearest-away" });
  },
  /** PTX cvt.rp.satfinite.ue8m0x2.f32 as documented: up, at most 254. Negative values, which no scale is, count as NaN. */
  "ptx-up-satfinite": (x: number) => {
    if (!(x >= 0)) return NAN;
    if (x === 0) return 0;
    return x === Infinity ? 254 : limited(ceilExponent(x));
  },
  /** ONNX Cast, round_mode "up", saturate (tabulated in onnx #7030): 0 becomes 2^-127 and infinity 2^127. */
  "onnx-up-saturate": (x: number) => {
    if (!(x >= 0)) return NAN;
    if (x === 0) return 0;
    return x === Infinity ? 254 : limited(ceilExponent(x));
  },
  /** ONNX Cast, round_mode "nearest", no saturation (onnx #7030): ties up; zero, infinities and what is too large are NaN. */
  "onnx-nearest": (x: number) => {
    if (!(x > 0) || x === Infinity) return NAN;
    const exponent = exponentOf(x) + Number(significandOf(x) >= 1.5);
    return exponent > 127 ? NAN : limited(exponent);
  },
  /** The exponent alone: OCP MX's floor. */
  floor: (x: number) => (x > 0 && x < Infinity ? limited(exponentOf(x)) : x === 0 ? 0 : NAN),
} as const satisfies Record<string, (x: number) => number>;
export type E8m0Rule = keyof typeof E8M0_RULES;
