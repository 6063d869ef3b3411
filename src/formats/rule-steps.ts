/**
 * What a scheme's rule does, as data: enough for a kernel to compute the same bytes on its own. The amax of a group is that of
 * its whole tile where rows share scales. A rule without steps (a
 * search of many numbers, say) is only known as a function. Where a step is a function of one number, kernels tabulate it, so that no
 * formula is written twice.
 */
import type { EncodeOptions } from "./codec.js";
import type { NumberFormat } from "./format.js";
import type { Scheme, SchemeRule } from "./scheme.js";

export type RuleSteps =
  /** Every value by itself; NumericError where a finite value would become infinite or NaN. */
  | { readonly kind: "cast" }
  /**
   * Scale code = scaleCode(amax), not decreasing in amax; elements encode x * inverse(scale code) in f32.
   * `positiveZero`: an element that becomes negative zero becomes zero.
   */
  | {
      readonly kind: "power";
      scaleCode(amax: number): number;
      inverse(scaleCode: number): number;
      readonly element: EncodeOptions;
      readonly positiveZero: boolean;
      /** Instead of scaleCode(amax): the candidate of least error. */
      readonly search?: ScaleSearch;
      readonly candidates?: ScaleCandidates;
    }
  /** The same under a number for the whole tensor. Elements saturate; zeros, also negative ones, encode as +0. */
  | { readonly kind: "two-level"; readonly search?: ScaleSearch; numbers(tensorAmax: number): TwoLevelNumbers }
  /** d = extreme / -half, code = min(2 half - 1, trunc(x / d + half + 1/2)): gguf.ts. */
  | { readonly kind: "extreme"; readonly half: number }
  /** d = (max - min) / steps, code = min(steps, trunc((x - min) / d + 1/2)): gguf.ts. */
  | { readonly kind: "min-max"; readonly steps: number }
  /** d = amax / steps, code = x / d rounded half away from zero, plus `offset`. */
  | { readonly kind: "half-away"; readonly steps: number; readonly offset: number }
  /** Scale = amax / max, rounded to its format; elements saturate x / scale. */
  | { readonly kind: "scaled"; readonly max: number }
  /** Scale = (high - low) / steps of the range with 0, zero point round(-low / scale): families.ts. */
  | { readonly kind: "affine"; readonly steps: number }
  /**
   * Scale = (high - low) / top of the range with 0, zero point round(-low / scale); or with a fixed zero point `middle`
   * scale = extreme / -middle. code = round(x * (1 / scale) + zero point), halves away from zero: onnx.ts.
   */
  | { readonly kind: "reciprocal"; readonly top: number; readonly middle?: number }
  /**
   * As power, but the first element of largest magnitude, 2^emax (1 + m / 2^(bits - 1)) after scaling, has its sign and m as code
   * and its place as tag; a group below 2^(emax - 127) has none, tag 255: mx-plus.ts.
   */
  | {
      readonly kind: "marked";
      scaleCode(amax: number): number;
      inverse(scaleCode: number): number;
      readonly emax: number;
    }
  /**
   * The variant, and its number as tag, of least sum of squared errors, the first of equals: each as scaled by its largest magnitude.
   * Errors are added up in binary64 in the order of the elements: mixtures.ts.
   */
  | { readonly kind: "mixture"; readonly variants: readonly NumberFormat[]; readonly largest: readonly number[] };

/**
 * Of several scale codes the first whose elements have the least sum of errors: |x - v * step| or its square in binary64,
 * added up in the order of the elements.
 */
export interface ScaleSearch {
  readonly measure: "absolute" | "square";
  /** All codes from the lowest candidate to the highest, or these two. */
  readonly all: boolean;
}

export interface ScaleCandidates {
  /** Scale codes by amax; neither decreases. */
  lowest(amax: number): number;
  highest(amax: number): number;
  /** What values of elements are multiplied by under a scale code. */
  step(scaleCode: number): number;
}

export interface TwoLevelNumbers {
  /** What the super plane holds. */
  readonly tensorScale: number;
  /** A block's scale before it is rounded to its format (to nearest, saturating); not decreasing in amax. */
  blockScale(amax: number): number;
  /** Stored in place of a scale whose code is 0. */
  readonly zeroScale: number;
  /** What elements are multiplied by, or divided by (`divides`). */
  factor(scaleCode: number): number;
  readonly divides: boolean;
  readonly candidates?: ScaleCandidates;
}

/** A rule that also says its steps. */
export function withSteps(rule: SchemeRule, steps: (scheme: Scheme) => RuleSteps | undefined): SchemeRule {
  return Object.assign(rule, { steps });
}

/** A rule that encodes elements as its caller wants: a `rounding`, an `overflow`. */
export function withOptions(rule: SchemeRule): SchemeRule {
  return Object.assign(rule, { takesOptions: true });
}
