/**
 * Arithmetic in any format: operands are values of any format, the operation is exact, and its result is rounded once into
 * the result format, with any rounding and overflow rule. NaN, infinities and signed zeros follow IEEE 754-2019, sections 6
 * and 7. Results are codes. An operand is what `decode` gives, or `decodeExact`, where binary64 is too small for a format.
 */
import type { EncodeOptions } from "./codec.js";
import { encode } from "./codec.js";
import { addExact, type Dyadic, divideToOdd, dyadic, multiplyExact, squareRootToOdd } from "./exact.js";
import { type Extended, negate, project, signOf, ZERO } from "./extended.js";
import type { NumberFormat } from "./format.js";

const NEAREST: EncodeOptions = {};
const isNegative = (x: number) => x < 0 || Object.is(x, -0);
const finite = (x: Extended) => typeof x !== "number" || Number.isFinite(x);
const exactOf = (x: Extended): Dyadic => (typeof x === "number" ? dyadic(x) : x);
/** A binary64 number of the same sign and kind (zero, finite, infinite, NaN): what decides special cases. */
const kindOf = (x: Extended): number => (typeof x === "number" ? x : signOf(x));

/** Encodes an exact finite result; a zero that was not made of zeros takes the sign that `zero` says. */
function finish(format: NumberFormat, exact: Dyadic, zero: number, options: EncodeOptions): number {
  return exact.significand === 0n ? encode(format, zero, options) : project(format, exact, options);
}

/** IEEE 754 section 6.3: a sum that cancels is +0, or -0 when rounding down; two equal zeros keep their sign. */
function zeroOfSum(a: number, b: number, options: EncodeOptions): number {
  if (a === 0 && b === 0 && isNegative(a) === isNegative(b)) return a;
  return options.rounding === "down" ? -0 : 0;
}

/** The code of a + b. */
export function add(format: NumberFormat, a: Extended, b: Extended, options: EncodeOptions = NEAREST): number {
  if (!finite(a) || !finite(b)) return encode(format, kindOf(a) + kindOf(b), options);
  return finish(format, addExact(exactOf(a), exactOf(b)), zeroOfSum(kindOf(a), kindOf(b), options), options);
}

/** The code of a - b. */
export function subtract(format: NumberFormat, a: Extended, b: Extended, options: EncodeOptions = NEAREST): number {
  return add(format, a, negate(b), options);
}

/** The code of a * b. */
export function multiply(format: NumberFormat, a: Extended, b: Extended, options: EncodeOptions = NEAREST): number {
  // Signs of zeros, infinities and NaN are those of binary64.
  if (isSpecial(a) || isSpecial(b)) return encode(format, kindOf(a) * kindOf(b), options);
  return finish(format, multiplyExact(exactOf(a), exactOf(b)), 0, options);
}

/** The code of a / b; x / 0 is an infinity, 0 / 0 NaN. */
export function divide(format: NumberFormat, a: Extended, b: Extended, options: EncodeOptions = NEAREST): number {
  if (isSpecial(a) || isSpecial(b)) return encode(format, kindOf(a) / kindOf(b), options);
  return finish(format, divideToOdd(exactOf(a), exactOf(b)), 0, options);
}

const isSpecial = (x: Extended) => !finite(x) || kindOf(x) === 0;

/** The code of the square root; NaN below zero, -0 of -0. */
export function squareRoot(format: NumberFormat, a: Extended, options: EncodeOptions = NEAREST): number {
  if (isSpecial(a) || kindOf(a) < 0) return encode(format, Math.sqrt(kindOf(a)), options);
  return finish(format, squareRootToOdd(exactOf(a)), 0, options);
}

/** The code of a * b + c with one rounding. */
export function fusedMultiplyAdd(
  format: NumberFormat,
  a: Extended,
  b: Extended,
  c: Extended,
  options: EncodeOptions = NEAREST,
): number {
  if (!finite(a) || !finite(b) || !finite(c)) {
    // A product of finite numbers may overflow binary64, but it is no infinity.
    const product = finite(a) && finite(b) ? 0 : kindOf(a) * kindOf(b);
    return encode(format, product + kindOf(c), options);
  }
  const exact = addExact(multiplyExact(exactOf(a), exactOf(b)), exactOf(c));
  const product = isSpecial(a) || isSpecial(b) ? kindOf(a) * kindOf(b) : 1;
  return finish(format, exact, zeroOfSum(product, kindOf(c), options), options);
}

/** The code of the sum of a[i] * b[i]: exact products, exact sum, one rounding (P3109 section 5, dot). */
export function dot(
  format: NumberFormat,
  a: ArrayLike<Extended>,
  b: ArrayLike<Extended>,
  options: EncodeOptions = NEAREST,
): number {
  let exact = ZERO;
  let special = 0;
  for (let i = 0; i < a.length; i++) {
    if (finite(a[i]) && finite(b[i])) exact = addExact(exact, multiplyExact(exactOf(a[i]), exactOf(b[i])));
    else special += kindOf(a[i]) * kindOf(b[i]);
  }
  if (special !== 0) return encode(format, special, options);
  return finish(format, exact, zeroOfSum(1, -1, options), options);
}
