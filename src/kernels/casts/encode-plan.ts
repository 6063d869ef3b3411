/**
 * How an f32 value becomes a code, chosen from the parameters of a format and of the rounding wanted. What cannot be
 * said by a formula is asked of the exact codec: special codes, and the values at which the code changes.
 *
 * - `minifloat`: rounded by one f32 addition whose last bit is the format's step at that magnitude;
 * - `prefix`: the upper bits of binary32, rounded in integer arithmetic (bf16, tf32);
 * - `copy`: binary32 itself;
 * - `integer`: rounded by one f32 addition of 3 * 2^22;
 * - `ladder`: at most 16 codes, by counting the thresholds below the value (codebooks, other roundings);
 * - `table`: at most 8 bits of anything, by the upper half of binary32 and one threshold for each;
 * - `reference`: the array path of the formats, with the reason.
 */

import { bitsOfF32, exponentOf, f32OfBits } from "../../formats/binary64.js";
import { type EncodeOptions, encode } from "../../formats/codec.js";
import type { IntegerFormat, MinifloatFormat, NumberFormat, Overflow } from "../../formats/format.js";
import { minifloatLayout } from "../../formats/minifloat.js";
import { isDeterministic } from "../../formats/rounding.js";
import { absMask, infinityBits } from "./lanes.js";

/** What NaN encodes to; undefined where the reference refuses it. */
type NaNCode = number | undefined;

export interface MinifloatEncode {
  readonly kind: "minifloat";
  readonly bits: number;
  readonly significandBits: number;
  /** Exponent of the least normal value. */
  readonly minExponent: number;
  /** Magnitudes are cut to this (bits of an f32): the largest finite one, or one code beyond, which is the overflow code. */
  readonly clamp: number;
  readonly signed: boolean;
  readonly negativeZero: boolean;
  readonly nan: NaNCode;
}

export interface PrefixEncode {
  readonly kind: "prefix";
  readonly bits: number;
  readonly significandBits: number;
  readonly nan: number;
}

export interface IntegerEncode {
  readonly kind: "integer";
  readonly bits: number;
  readonly min: number;
  readonly max: number;
  readonly offset: number;
  readonly fractionBits: number;
  readonly nan: NaNCode;
}

export interface LadderEncode {
  readonly kind: "ladder";
  readonly bits: number;
  /** True: thresholds are magnitudes (bits of f32), and the sign goes to the top bit of the code. */
  readonly signMagnitude: boolean;
  /** Ascending; of the ordered integers (see `orderedKey`) or of magnitudes. The rank is the number of thresholds <= x. */
  readonly thresholds: readonly number[];
  /** Code of each rank. */
  readonly codes: readonly number[];
  /** Rank of NaN. */
  readonly nan: NaNCode;
}

export interface TableEncode {
  readonly kind: "table";
  readonly bits: number;
}

export type LaneEncode = MinifloatEncode | PrefixEncode | IntegerEncode | LadderEncode;
/** What elements of blocks can be encoded by. */
export type ElementEncode = LaneEncode | TableEncode;
export type EncodePlan =
  | ElementEncode
  | { readonly kind: "copy"; readonly bits: 32 }
  | { readonly kind: "reference"; readonly bits: number; readonly why: string };

/** The plan of a format under these options. */
export function planEncode(format: NumberFormat, options: EncodeOptions = {}): EncodePlan {
  const { bits } = format;
  const overflow = options.overflow ?? format.overflow;
  if (!isDeterministic(options.rounding)) return { kind: "reference", bits, why: `${options.rounding} rounding` };
  if (overflow === "error" || overflow === "wrap") return { kind: "reference", bits, why: `overflow ${overflow}` };
  const nan = nanCode(format, options);
  const nearestEven = (options.rounding ?? "nearest-even") === "nearest-even";
  const direct =
    (nearestEven &&
      format.kind === "minifloat" &&
      (planPrefix(format, overflow) ?? planMinifloat(format, overflow, nan))) ||
    (nearestEven && format.kind === "integer" && overflow !== "nan" && planInteger(format, nan)) ||
    (bits <= 8 && planLadder(format, options, nan));
  if (direct) return direct;
  if (bits > 8) return { kind: "reference", bits, why: `no formula for ${bits} bits of this kind or rounding` };
  if (overflow === "nan" && !canEncode(format, Infinity, options))
    return { kind: "reference", bits, why: "overflow refused" };
  return { kind: "table", bits };
}

const canEncode = (format: NumberFormat, value: number, options: EncodeOptions): boolean =>
  tryEncode(format, value, options) !== undefined;

/** The code of a value, or undefined where encoding refuses it with an error that names why. */
function tryEncode(format: NumberFormat, value: number, options: EncodeOptions): number | undefined {
  try {
    return encode(format, value, options);
  } catch (error) {
    if (error instanceof Error && error.name === "NumericError") return undefined;
    throw error;
  }
}

const nanCode = (format: NumberFormat, options: EncodeOptions): NaNCode => tryEncode(format, Number.NaN, options);

/** Formats with binary32's exponent, rounded as IEEE 754 does. */
function planPrefix(format: MinifloatFormat, overflow: Overflow = "none"): EncodePlan | undefined {
  const { bits, exponentBits, significandBits, bias, signed, nonFinite, subnormals } = format;
  if (exponentBits !== 8 || bias !== 127 || !signed || nonFinite !== "ieee" || !subnormals) return undefined;
  if (overflow !== "none" || significandBits < 1) return undefined;
  if (significandBits === 23) return { kind: "copy", bits: 32 };
  return { kind: "prefix", bits, significandBits, nan: encode(format, Number.NaN) };
}

function planMinifloat(format: MinifloatFormat, wanted: Overflow | undefined, nan: NaNCode): EncodePlan | undefined {
  const { bits, exponentBits, significandBits, bias, signed, nonFinite, subnormals } = format;
  const { maxMagnitude, infinity, nan: nanMagnitude, signBit, hasNegativeZero } = minifloatLayout(format);
  // Without trailing bits "even" speaks of the exponent, which the addition does not see.
  if (exponentBits < 1 || significandBits < 1 || significandBits > 10 || !subnormals || !signed) return undefined;
  const beyond = maxMagnitude + 1;
  const overflow =
    wanted ?? ({ ieee: "none", extended: "none", fn: "nan", fnuz: "nan", none: "saturate" } as const)[nonFinite];
  const saturates = overflow === "saturate" || (overflow === "none" && infinity === undefined);
  const goesBeyond =
    (overflow === "none" && infinity === beyond) ||
    (overflow === "nan" && infinity === undefined && nanMagnitude === beyond);
  if (!saturates && !goesBeyond) return undefined;
  const clamp = magnitudeValue(format, saturates ? maxMagnitude : beyond);
  const minExponent = 1 - bias;
  // The constants of the addition must be normal f32 numbers.
  if (minExponent < -126 || exponentOf(clamp) + 23 - significandBits > 127 || clamp < 2 ** minExponent)
    return undefined;
  if (signBit !== 2 ** (bits - 1)) return undefined;
  const parts = {
    bits,
    significandBits,
    minExponent,
    clamp: bitsOfF32(clamp),
    signed,
    negativeZero: hasNegativeZero,
    nan,
  };
  return { kind: "minifloat", ...parts };
}

/** The value of a magnitude code, as if codes went on for ever. */
function magnitudeValue({ significandBits: m, bias }: MinifloatFormat, magnitude: number): number {
  const exponent = Math.floor(magnitude / 2 ** m);
  const trailing = magnitude % 2 ** m;
  return exponent === 0 ? trailing * 2 ** (1 - bias - m) : (2 ** m + trailing) * 2 ** (exponent - bias - m);
}

function planInteger(format: IntegerFormat, nan: NaNCode): EncodePlan | undefined {
  const { bits, min, max, offset = 0, fractionBits = 0 } = format;
  if (bits > 16 || Math.abs(fractionBits) > 64) return undefined;
  return { kind: "integer", bits, min, max, offset, fractionBits, nan };
}

/** An integer that orders f32 numbers as their values, -0 below 0. */
export const orderedKey = (bits: number): number => bits ^ ((bits >> 31) & absMask);
const valueOfKey = (key: number): number => f32OfBits(orderedKey(key));

function planLadder(format: NumberFormat, options: EncodeOptions, nan: NaNCode): EncodePlan | undefined {
  const { bits } = format;
  if (bits > 4) return undefined;
  const codeAt = (key: number) => tryEncode(format, valueOfKey(key), options);
  const whole = ladder(codeAt, orderedKey(0xff800000 | 0), infinityBits);
  if (!whole) return undefined;
  const upper = ladder(codeAt, 0, infinityBits);
  const signBit = 2 ** (bits - 1);
  if (upper && mirrored(whole, upper, signBit)) {
    const rank = nan === undefined ? undefined : upper.codes.indexOf(nan);
    if (rank !== -1) return { kind: "ladder", bits, signMagnitude: true, ...upper, nan: rank };
  }
  const rank = nan === undefined ? undefined : whole.codes.indexOf(nan);
  if (rank === -1 || whole.codes.length > 16) return undefined;
  return { kind: "ladder", bits, signMagnitude: false, ...whole, nan: rank };
}

export interface Ladder {
  readonly thresholds: number[];
  readonly codes: number[];
}

/** Where the code changes among values from 0 to infinity (bits of f32), and the codes between. */
export function magnitudeLadder(format: NumberFormat, options: EncodeOptions): Ladder | undefined {
  return ladder((bits) => tryEncode(format, f32OfBits(bits), options), 0, infinityBits);
}

/** Where the code changes between two keys, for codes in order of value; undefined where a value is refused. */
function ladder(codeAt: (key: number) => number | undefined, from: number, to: number): Ladder | undefined {
  const thresholds: number[] = [];
  const codes: number[] = [];
  const walk = (low: number, lowCode: number, high: number, highCode: number): boolean => {
    if (lowCode === highCode) return true;
    if (high - low === 1) {
      thresholds.push(high);
      codes.push(highCode);
      return true;
    }
    const middle = Math.floor((low + high) / 2);
    const code = codeAt(middle);
    return code !== undefined && walk(low, lowCode, middle, code) && walk(middle, code, high, highCode);
  };
  const [first, last] = [codeAt(from), codeAt(to)];
  if (first === undefined || last === undefined) return undefined;
  codes.push(first);
  return walk(from, first, to, last) ? { thresholds, codes } : undefined;
}

/** Whether the codes below zero are those above with the sign bit set, at the same magnitudes. */
function mirrored(whole: Ladder, upper: Ladder, signBit: number): boolean {
  const { thresholds, codes } = upper;
  const count = thresholds.length;
  if (whole.codes.length !== 2 * codes.length || codes.some((code) => code >= signBit)) return false;
  const isMirror = (code: number, i: number) => whole.codes[codes.length - 1 - i] === (code | signBit);
  // Below zero a magnitude t starts a code where the key passes that of -t: the first smaller magnitude follows it.
  const sameStep = (t: number, i: number) => orderedKey(t | 0x80000000 | 0) + 1 === whole.thresholds[count - 1 - i];
  return codes.every(isMirror) && thresholds.every(sameStep);
}
