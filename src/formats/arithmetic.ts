/**
 * Arithmetic in any format: operands are values (of any format, decoded), the operation is exact, and its result is
 * rounded once into the result format, with any rounding and overflow rule. NaN, infinities and signed zeros follow
 * IEEE 754-2019, sections 6 and 7. Results are codes.
 */
import type { EncodeOptions } from "./codec.js";
import { encode } from "./codec.js";
import { addExact, type Dyadic, divideToOdd, dyadic, multiplyExact, squareRootToOdd, toOddBinary64 } from "./exact.js";
import type { NumberFormat } from "./format.js";

const NEAREST: EncodeOptions = {};
const isNegative = (x: number) => x < 0 || Object.is(x, -0);

/** Encodes an exact finite result; a zero that was not made of zeros takes the sign that `zero` says. */
function finish(format: NumberFormat, exact: Dyadic, zero: number, options: EncodeOptions): number {
  return encode(format, exact.significand === 0n ? zero : toOddBinary64(exact), options);
}

/** IEEE 754 section 6.3: a sum that cancels is +0, or -0 when rounding down; two equal zeros keep their sign. */
function zeroOfSum(a: number, b: number, options: EncodeOptions): number {
  if (a === 0 && b === 0 && isNegative(a) === isNegative(b)) return a;
  return options.rounding === "down" ? -0 : 0;
}

/** The code of a + b. */
export function add(format: NumberFormat, a: number, b: number, options: EncodeOptions = NEAREST): number {
  if (!Number.isFinite(a) || !Number.isFinite(b)) return encode(format, a + b, options);
  return finish(format, addExact(dyadic(a), dyadic(b)), zeroOfSum(a, b, options), options);
}

/** The code of a - b. */
export function subtract(format: NumberFormat, a: number, b: number, options: EncodeOptions = NEAREST): number {
  return add(format, a, -b, options);
}

/** The code of a * b. */
export function multiply(format: NumberFormat, a: number, b: number, options: EncodeOptions = NEAREST): number {
  // Signs of zeros, infinities and NaN are those of binary64.
  if (!Number.isFinite(a) || !Number.isFinite(b) || a === 0 || b === 0) return encode(format, a * b, options);
  return finish(format, multiplyExact(dyadic(a), dyadic(b)), 0, options);
}

/** The code of a / b; x / 0 is an infinity, 0 / 0 NaN. */
export function divide(format: NumberFormat, a: number, b: number, options: EncodeOptions = NEAREST): number {
  if (!Number.isFinite(a) || !Number.isFinite(b) || a === 0 || b === 0) return encode(format, a / b, options);
  return finish(format, divideToOdd(dyadic(a), dyadic(b)), 0, options);
}

/** The code of the square root; NaN below zero, -0 of -0. */
export function squareRoot(format: NumberFormat, a: number, options: EncodeOptions = NEAREST): number {
  if (!(a > 0) || a === Infinity) return encode(format, Math.sqrt(a), options);
  return finish(format, squareRootToOdd(dyadic(a)), 0, options);
}

/** The code of a * b + c with one rounding. */
export function fusedMultiplyAdd(
  format: NumberFormat,
  a: number,
  b: number,
  c: number,
  options: EncodeOptions = NEAREST,
): number {
  if (!Number.isFinite(a) || !Number.isFinite(b) || !Number.isFinite(c)) {
    // A product of finite numbers may overflow binary64, but it is no infinity.
    const product = Number.isFinite(a) && Number.isFinite(b) ? 0 : a * b;
    return encode(format, product + c, options);
  }
  const exact = addExact(multiplyExact(dyadic(a), dyadic(b)), dyadic(c));
  return finish(format, exact, zeroOfSum(a === 0 || b === 0 ? a * b : 1, c, options), options);
}

/** The code of the sum of a[i] * b[i]: exact products, exact sum, one rounding (P3109 section 5, dot). */
export function dot(
  format: NumberFormat,
  a: ArrayLike<number>,
  b: ArrayLike<number>,
  options: EncodeOptions = NEAREST,
): number {
  let exact: Dyadic = { significand: 0n, exponent: 0 };
  let special = 0;
  for (let i = 0; i < a.length; i++) {
    if (Number.isFinite(a[i]) && Number.isFinite(b[i]))
      exact = addExact(exact, multiplyExact(dyadic(a[i]), dyadic(b[i])));
    else special += a[i] * b[i];
  }
  if (special !== 0) return encode(format, special, options);
  return finish(format, exact, zeroOfSum(1, -1, options), options);
}
