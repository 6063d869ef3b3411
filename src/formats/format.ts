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
  /** What encoding does with values out of range when the caller does not say. Default: by the kind and non-finite codes. */
  readonly overflow?: Overflow;
}

/**
 * Which codes are not finite:
 * - `ieee`: the highest exponent holds infinities (trailing significand 0) and NaNs;
 * - `fn`: only the all-ones code of each sign is NaN, no infinity (OFP8 E4M3);
 * - `fnuz`: one NaN, at the code of negative zero; no infinity, no negative zero;
 * - `extended`: as `fnuz` if signed (one NaN at the code of negative zero), as `fn` if unsigned, and the highest code
 *   left of each sign is an infinity (IEEE P3109 extended formats);
 * - `none`: every code is a finite number (OCP FP4, FP6).
 */
export type NonFinite = "ieee" | "fn" | "fnuz" | "extended" | "none";

/**
 * What becomes of a value beyond the largest magnitude after rounding, of an infinity, and of a negative value in an
 * unsigned format:
 * - `saturate`: the nearest end of the range, also for infinities (P3109 SatFinite);
 * - `propagate`: finite values saturate, infinities stay where the format has them (P3109 SatPropagate);
 * - `none`: infinity where the format has one, else the end of the range; toward-zero roundings stop at the largest
 *   finite value; below an unsigned range comes NaN (P3109 SatNone, IEEE 754);
 * - `nan`: NaN (OFP8 E4M3 without saturation, FNUZ);
 * - `wrap`: integers only, modulo 2^bits;
 * - `error`: a NumericError.
 */
export const OVERFLOWS = ["saturate", "propagate", "none", "nan", "wrap", "error"] as const;
export type Overflow = (typeof OVERFLOWS)[number];

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

/**
 * Integers and fixed point: value = q / 2^fractionBits, where q is the two's-complement (signed) or plain (unsigned)
 * reading of the code, or code - offset where an offset is given (offset binary). `min` and `max` bound the q that
 * encoding may return.
 */
export interface IntegerFormat extends FormatCommon {
  readonly kind: "integer";
  readonly signed: boolean;
  readonly min: number;
  readonly max: number;
  /** Offset binary: q = code - offset, the code read unsigned (8 in the nibbles of q4_0). Default: two's complement. */
  readonly offset?: number;
  /** Bits right of the binary point. Default 0. */
  readonly fractionBits?: number;
}

/** A list of values: code i means values[i]. At most 16 bits. */
export interface CodebookFormat extends FormatCommon {
  readonly kind: "codebook";
  readonly values: readonly number[];
}

/** Posits: tapered precision around 1 (posit.ts). At most 32 bits. */
export interface PositFormat extends FormatCommon {
  readonly kind: "posit";
  /** es; 2 in the 2022 standard. */
  readonly exponentBits: number;
}

export type NumberFormat = MinifloatFormat | IntegerFormat | CodebookFormat | PositFormat;
export type FormatKind = NumberFormat["kind"];

type MinifloatParts = Pick<
  MinifloatFormat,
  "name" | "exponentBits" | "significandBits" | "nonFinite" | "summary" | "source"
> &
  Partial<MinifloatFormat>;

/** A minifloat record with the usual rest: signed, subnormals, bias 2^(E-1) - 1, width 1 + E + M. */
export function minifloat(parts: MinifloatParts): MinifloatFormat {
  const { exponentBits, significandBits, signed = true } = parts;
  const bias = exponentBits === 0 ? 0 : 2 ** (exponentBits - 1) - 1;
  const bits = Number(signed) + exponentBits + significandBits;
  return { kind: "minifloat", bits, bias, signed, subnormals: true, ...parts };
}

type IntegerParts = Pick<IntegerFormat, "name" | "bits" | "signed" | "summary" | "source"> & Partial<IntegerFormat>;

/** An integer record over the whole range of its bits unless `min` and `max` say otherwise. */
export function integer(parts: IntegerParts): IntegerFormat {
  const { bits, signed, offset } = parts;
  const low = offset !== undefined ? -offset : signed ? -(2 ** (bits - 1)) : 0;
  return { kind: "integer", min: low, max: low + 2 ** bits - 1, ...parts };
}

/** A codebook record of any list; its width is the least that fits, or `bits`. */
export function codebook(
  parts: Pick<CodebookFormat, "name" | "values" | "summary" | "source"> & Partial<CodebookFormat>,
): CodebookFormat {
  return { kind: "codebook", bits: Math.max(1, Math.ceil(Math.log2(parts.values.length))), ...parts };
}
