/**
 * The closed extended reals of IEEE P3109: exact finite numbers, the two infinities and NaN, with one zero. Operations are
 * exact; `project` rounds a result into a format, once.
 */
import { type EncodeOptions, encode } from "./codec.js";
import { addExact, type Dyadic, divideToOdd, multiplyExact, toOddBinary64, toOddSignificand } from "./exact.js";
import type { NumberFormat } from "./format.js";
import { encodeMinifloat } from "./minifloat.js";

/** A finite number, or NaN or an infinity as a binary64 number. */
export type Extended = Dyadic | number;

const finite = (x: Extended): x is Dyadic => typeof x !== "number";
export const ZERO: Dyadic = { significand: 0n, exponent: 0 };
export const ONE: Dyadic = { significand: 1n, exponent: 0 };

/** -1, 0, 1 or NaN. */
export function signOf(x: Extended): number {
  if (!finite(x)) return Math.sign(x);
  return x.significand === 0n ? 0 : x.significand < 0n ? -1 : 1;
}

export function negate(x: Extended): Extended {
  return finite(x) ? { significand: -x.significand, exponent: x.exponent } : -x;
}

export const magnitude = (x: Extended): Extended => (signOf(x) < 0 ? negate(x) : x);

/** Infinities of opposite signs make NaN. */
export function sum(x: Extended, y: Extended): Extended {
  if (finite(x)) return finite(y) ? addExact(x, y) : y;
  return finite(y) ? x : x + y;
}

/** 0 times an infinity is NaN. */
export function product(x: Extended, y: Extended): Extended {
  if (finite(x) && finite(y)) return multiplyExact(x, y);
  return signOf(x) * signOf(y) * Infinity;
}

/** x / y for y that is finite and not zero: cut to 80 bits, with an odd last bit if that is not exact. */
export const quotient = (x: Extended, y: Dyadic): Extended => (finite(x) ? divideToOdd(x, y) : x * signOf(y));

/** Whether x > y; false with NaN. */
export const exceeds = (x: Extended, y: Extended): boolean => signOf(sum(x, negate(y))) > 0;

/**
 * The code of x, rounded once; also in minifloats whose values binary64 cannot hold. Of formats with a precision of at most 51
 * bits, if x is a quotient or needs more than 53.
 */
export function project(format: NumberFormat, x: Extended, options: EncodeOptions = {}): number {
  if (!finite(x) || x.significand === 0n) return encode(format, finite(x) ? 0 : x, options);
  if (format.kind !== "minifloat") return encode(format, toOddBinary64(x), options);
  const { significand, power } = toOddSignificand(x);
  return encodeMinifloat(format, significand, options, power);
}
