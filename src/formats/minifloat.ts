/**
 * Decoding and encoding of minifloats. Codes of one sign are ordered like the magnitudes they mean, so rounding is done
 * in code space: find the code just below the magnitude and how far the magnitude lies towards the next (`nu`), and a
 * carry into the exponent comes by itself. Rounding happens as if the exponent range had no end; whatever then lies
 * beyond the largest finite code is overflow.
 */
import { NumericError } from "../errors.js";
import { exponentOf, scaleByPower } from "./binary64.js";
import type { EncodeOptions } from "./codec.js";
import type { MinifloatFormat, NonFinite, Overflow } from "./format.js";
import { type Rounding, roundsUp } from "./rounding.js";

/** The special codes of a minifloat; magnitudes are codes without the sign bit. */
export interface MinifloatLayout {
  /** 2^(bits-1) if signed, else 0: what the sign bit adds to a code. */
  readonly signBit: number;
  /** The code of the largest finite magnitude. */
  readonly maxMagnitude: number;
  /** The magnitude that means infinity. */
  readonly infinity?: number;
  /** The code that encoding uses for NaN. */
  readonly nan?: number;
  readonly hasZero: boolean;
  readonly hasNegativeZero: boolean;
}

const layouts = new WeakMap<MinifloatFormat, MinifloatLayout>();

/** Where the special codes of a format are. */
export function minifloatLayout(format: MinifloatFormat): MinifloatLayout {
  let layout = layouts.get(format);
  if (!layout) {
    layout = computeLayout(format);
    layouts.set(format, layout);
  }
  return layout;
}

function computeLayout(format: MinifloatFormat): MinifloatLayout {
  const { exponentBits, significandBits: m, signed, nonFinite } = format;
  const top = 2 ** (exponentBits + m) - 1;
  const signBit = signed ? 2 ** (format.bits - 1) : 0;
  const common = {
    signBit,
    hasZero: format.subnormals || exponentBits === 0,
    hasNegativeZero: signed && format.subnormals && nonFinite !== "fnuz" && nonFinite !== "extended",
  };
  if (nonFinite === "ieee") {
    const infinity = top + 1 - 2 ** m;
    return { ...common, maxMagnitude: infinity - 1, infinity, nan: m === 0 ? undefined : infinity + 2 ** (m - 1) };
  }
  if (nonFinite === "none") return { ...common, maxMagnitude: top };
  if (nonFinite === "fn" || (nonFinite === "fnuz" && !signed)) return { ...common, maxMagnitude: top - 1, nan: top };
  if (nonFinite === "fnuz") return { ...common, maxMagnitude: top, nan: signBit };
  const infinity = signed ? top : top - 1;
  return { ...common, maxMagnitude: infinity - 1, infinity, nan: signed ? signBit : top };
}

/** The value of a code; exact. NumericError for a finite value outside the range of binary64. */
export function decodeMinifloat(format: MinifloatFormat, code: number): number {
  const { signBit, maxMagnitude, infinity, nan, hasNegativeZero } = minifloatLayout(format);
  const negative = signBit > 0 && code >= signBit;
  const magnitude = negative ? code - signBit : code;
  if (negative && magnitude === 0 && !hasNegativeZero && nan === code) return Number.NaN;
  if (magnitude > maxMagnitude) {
    return magnitude === infinity ? (negative ? -Infinity : Infinity) : Number.NaN;
  }
  const value = magnitudeValue(format, magnitude);
  return negative ? -value : value;
}

function magnitudeValue(format: MinifloatFormat, magnitude: number): number {
  const { significandBits: m, bias } = format;
  const exponent = Math.floor(magnitude / 2 ** m);
  const trailing = magnitude - exponent * 2 ** m;
  const [significand, power] =
    exponent === 0 && (format.subnormals || format.exponentBits === 0)
      ? [trailing, 1 - bias - m]
      : [2 ** m + trailing, exponent - bias - m];
  const value = scaleByPower(significand, power);
  if (significand === 0 || (value !== Infinity && scaleByPower(value, -power) === significand)) return value;
  throw new NumericError(`${format.name} code ${magnitude} lies outside the range of binary64`, {
    why: `its value is ${significand} * 2^${power}`,
    try: "exact decoding (decodeExact)",
  });
}

const DEFAULT_OVERFLOW: Readonly<Record<NonFinite, Overflow>> = {
  ieee: "none",
  extended: "none",
  fn: "nan",
  fnuz: "nan",
  none: "saturate",
};

/** What the kind of non-finite codes suggests where neither caller nor record says. */
export const defaultOverflow = (format: MinifloatFormat): Overflow => DEFAULT_OVERFLOW[format.nonFinite];

/** The code of `value` * 2^power: one rounding from binary64, then the overflow rule. */
export function encodeMinifloat(format: MinifloatFormat, value: number, options: EncodeOptions, power = 0): number {
  const layout = minifloatLayout(format);
  if (Number.isNaN(value)) return nanCode(format, layout, options);
  const negative = value < 0 || Object.is(value, -0);
  const a = Math.abs(value);
  const rounding = options.rounding ?? "nearest-even";
  const overflow = options.overflow ?? format.overflow ?? defaultOverflow(format);
  if (a === 0 && !layout.hasZero) return zeroWithoutZero(format, layout, overflow, options);
  const magnitude = a === Infinity ? Infinity : a === 0 ? 0 : roundMagnitude(format, a, power, negative, options);
  const outOfRange =
    magnitude > layout.maxMagnitude ||
    (negative && layout.signBit === 0 && a > 0 && (magnitude > 0 || !layout.hasZero));
  if (outOfRange) return overflowCode(format, layout, { value, magnitude, rounding, overflow }, options);
  if (magnitude === 0 && negative && !layout.hasNegativeZero) return 0;
  return negative ? layout.signBit + magnitude : magnitude;
}

/** Where a magnitude lies among the codes, as if they went on for ever. */
export interface Position {
  /** The power of two that its significand is measured in: its own, or that of the subnormals. */
  readonly exponent: number;
  /** The code at or just below it. */
  readonly below: number;
  /** How far it lies towards the next code: 0 <= nu < 1. */
  readonly nu: number;
  readonly normal: boolean;
}

/** The position of a * 2^power for a finite a > 0. */
export function positionOf(format: MinifloatFormat, a: number, power = 0): Position {
  const { exponentBits, significandBits: m, bias, subnormals } = format;
  const normalFromZero = !subnormals && exponentBits > 0;
  const lowest = normalFromZero ? -bias : 1 - bias;
  const exact = exponentOf(a) + power;
  // There is nothing between the lowest code and the zero that the format does not have.
  if (normalFromZero && exact < lowest) return { exponent: lowest, below: 0, nu: 0, normal: true };
  const exponent = exponentBits === 0 ? lowest : Math.max(exact, lowest);
  // A value that underflows here is far below half a step, but it must not look like an exact zero.
  const significand = scaleByPower(a, m - exponent + power) || Number.MIN_VALUE;
  const whole = Math.floor(significand);
  const below = (exponent - lowest - Number(normalFromZero)) * 2 ** m + whole;
  return { exponent, below, nu: significand - whole, normal: exponentBits > 0 && exact >= lowest };
}

/** The magnitude code after rounding, as if codes went on for ever. */
function roundMagnitude(
  format: MinifloatFormat,
  a: number,
  power: number,
  negative: boolean,
  options: EncodeOptions,
): number {
  const { below, nu } = positionOf(format, a, power);
  const up = roundsUp(options.rounding ?? "nearest-even", nu, below % 2 !== 0, negative, options.random);
  return up ? below + 1 : below;
}

interface Overflowing {
  readonly value: number;
  readonly magnitude: number;
  readonly rounding: Rounding;
  readonly overflow: Overflow;
}

/** P3109 v4.0 section 4.8 (Saturate), with the rules of other standards beside it. */
function overflowCode(
  format: MinifloatFormat,
  layout: MinifloatLayout,
  at: Overflowing,
  options: EncodeOptions,
): number {
  const { value, rounding, overflow } = at;
  const { maxMagnitude, infinity, signBit } = layout;
  const negative = value < 0;
  const belowUnsigned = negative && signBit === 0;
  const end = belowUnsigned ? 0 : negative ? signBit + maxMagnitude : maxMagnitude;
  const infinityCode = infinity === undefined ? undefined : negative ? signBit + infinity : infinity;
  switch (overflow) {
    case "saturate":
      return end;
    case "propagate":
      return Math.abs(value) === Infinity && infinityCode !== undefined && !belowUnsigned ? infinityCode : end;
    case "none": {
      const towardRange = rounding === "toward-zero" || rounding === (negative ? "up" : "down");
      // Round to odd stops at the largest finite code if that is odd, and goes on to infinity otherwise.
      const stopsAtOdd = rounding === "to-odd" && maxMagnitude % 2 === 1 && !belowUnsigned;
      if (Math.abs(value) !== Infinity && (towardRange || stopsAtOdd)) return end;
      if (belowUnsigned) return nanCode(format, layout, options);
      return infinityCode ?? end;
    }
    case "nan":
      return nanCode(format, layout, options, negative);
    default:
      throw new NumericError(`${value} is out of range for ${format.name}`, {
        kind: "number-out-of-range",
        try: 'overflow "saturate"',
      });
  }
}

function zeroWithoutZero(
  format: MinifloatFormat,
  layout: MinifloatLayout,
  overflow: Overflow,
  options: EncodeOptions,
): number {
  if (overflow === "saturate" || overflow === "propagate") return 0;
  if (layout.nan !== undefined && overflow !== "error") return layout.nan;
  return nanCode(format, layout, options);
}

/** NaN keeps the sign of an overflow where both signs have one, as in hardware and ml_dtypes. */
function nanCode(format: MinifloatFormat, layout: MinifloatLayout, options: EncodeOptions, negative = false): number {
  const { nan, signBit } = layout;
  if (nan !== undefined) return negative && nan < signBit ? nan + signBit : nan;
  switch (options.nan) {
    case "zero":
      return 0;
    case "negative-zero":
      return layout.signBit;
    case "max":
      return layout.maxMagnitude;
    default:
      throw new NumericError(`${format.name} has no NaN`, {
        kind: "number-out-of-range",
        try: 'the option nan: "zero", "negative-zero" or "max"',
      });
  }
}
