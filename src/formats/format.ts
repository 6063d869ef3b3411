/**
 * A number format says what the bits of one number mean. It is pure data, one record in a file of its own; `decode` and
 * `encode` (codec.ts) read the record, and so do the kernels, which lower *kinds* of format and never names.
 */
import type { Named } from "../registry.js";

interface FormatCommon extends Named {
  /** Width of a code. */
  readonly bits: number;
  /** One line for lists and generated docs. */
  readonly summary: string;
  /** Where the definition comes from: standard and section, or paper. */
  readonly source: string;
}

/**
 * Which codes are not finite:
 * - `ieee`: the highest exponent holds infinities (trailing significand 0) and NaNs;
 * - `fn`: only the all-ones code of each sign is NaN, no infinity (OFP8 E4M3);
 * - `fnuz`: one NaN, at the code of negative zero; no infinity, no negative zero;
 * - `none`: every code is a finite number (OCP FP4, FP6).
 */
export type NonFinite = "ieee" | "fn" | "fnuz" | "none";

/**
 * Sign, exponent, trailing significand.
 * value = (-1)^s 2^(e - bias) (1 + m / 2^M) for e > 0, and (-1)^s 2^(1 - bias) (m / 2^M) for e = 0.
 */
export interface MinifloatFormat extends FormatCommon {
  readonly kind: "minifloat";
  readonly exponentBits: number;
  /** Trailing significand bits M (the leading 1 is not counted). */
  readonly significandBits: number;
  readonly bias: number;
  readonly signed: boolean;
  readonly nonFinite: NonFinite;
  /** False: codes with e = 0 follow the normal formula (E8M0 has no zero). */
  readonly subnormals: boolean;
}

/** Two's-complement or unsigned integers; `min` and `max` bound what encoding may return. */
export interface IntegerFormat extends FormatCommon {
  readonly kind: "integer";
  readonly signed: boolean;
  readonly min: number;
  readonly max: number;
}

/** A list of values: code i means values[i]. At most 16 bits. */
export interface CodebookFormat extends FormatCommon {
  readonly kind: "codebook";
  readonly values: readonly number[];
}

export type NumberFormat = MinifloatFormat | IntegerFormat | CodebookFormat;
export type FormatKind = NumberFormat["kind"];
