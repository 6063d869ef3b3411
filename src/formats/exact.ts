/**
 * Exact numbers: significand * 2^exponent with integers of any size. Sums and products of format values are computed
 * here without rounding, so that arithmetic in a format is one exact operation and one rounding.
 */
import { exponentOf, scaleByPower } from "./binary64.js";
import { decode } from "./codec.js";
import type { NumberFormat } from "./format.js";
import { minifloatLayout } from "./minifloat.js";

/** A finite number: significand * 2^exponent. */
export interface Dyadic {
  readonly significand: bigint;
  readonly exponent: number;
}

/** The exact value of a finite binary64 number. */
export function dyadic(x: number): Dyadic {
  if (x === 0) return { significand: 0n, exponent: 0 };
  const exponent = exponentOf(Math.abs(x)) - 52;
  return { significand: BigInt(scaleByPower(x, -exponent)), exponent };
}

export function addExact(a: Dyadic, b: Dyadic): Dyadic {
  const exponent = Math.min(a.exponent, b.exponent);
  const aligned = (d: Dyadic) => d.significand << BigInt(d.exponent - exponent);
  return { significand: aligned(a) + aligned(b), exponent };
}

export function multiplyExact(a: Dyadic, b: Dyadic): Dyadic {
  return { significand: a.significand * b.significand, exponent: a.exponent + b.exponent };
}

const bitLength = (n: bigint): number => n.toString(2).length;
const magnitudeOf = (n: bigint): bigint => (n < 0n ? -n : n);

/** a / b cut to at least 80 bits; the last bit is set if anything was cut off (round to odd). b is not zero. */
export function divideToOdd(a: Dyadic, b: Dyadic): Dyadic {
  const shift = Math.max(0, 80 + bitLength(magnitudeOf(b.significand)) - bitLength(magnitudeOf(a.significand)));
  const [n, d] = [magnitudeOf(a.significand) << BigInt(shift), magnitudeOf(b.significand)];
  const quotient = (n / d) | (n % d === 0n ? 0n : 1n);
  const negative = a.significand < 0n !== b.significand < 0n;
  return { significand: negative ? -quotient : quotient, exponent: a.exponent - b.exponent - shift };
}

/** The square root of a >= 0 cut to at least 80 bits, rounded to odd. */
export function squareRootToOdd(a: Dyadic): Dyadic {
  if (a.significand === 0n) return a;
  let shift = Math.max(0, 162 - bitLength(a.significand));
  if ((a.exponent - shift) % 2 !== 0) shift++;
  const n = a.significand << BigInt(shift);
  const root = integerRoot(n);
  return { significand: root * root === n ? root : root | 1n, exponent: (a.exponent - shift) / 2 };
}

/** floor(sqrt(n)) by Newton's iteration from above. */
function integerRoot(n: bigint): bigint {
  let x = 1n << BigInt(Math.ceil(bitLength(n) / 2));
  for (;;) {
    const next = (x + n / x) >> 1n;
    if (next >= x) return x;
    x = next;
  }
}

/** A number of 53 bits at most times a power of two: the significand is cut, with an odd last bit if that is not exact. */
export function toOddSignificand({ significand, exponent }: Dyadic): { significand: number; power: number } {
  const magnitude = magnitudeOf(significand);
  const cut = BigInt(Math.max(0, bitLength(magnitude) - 53));
  const kept = magnitude >> cut;
  const odd = Number(kept << cut === magnitude ? kept : kept | 1n);
  return { significand: significand < 0n ? -odd : odd, power: exponent + Number(cut) };
}

/**
 * The binary64 number nearest below in magnitude, with an odd last bit if it is not exact. A later rounding to at most
 * 51 bits then gives what rounding the exact number would give, in every mode; magnitudes beyond binary64 stay at its
 * ends, which lie beyond every format of at most 16 bits that is not wider than binary64.
 */
export function toOddBinary64({ significand, exponent }: Dyadic): number {
  if (significand === 0n) return 0;
  const magnitude = magnitudeOf(significand);
  const length = bitLength(magnitude);
  // Subnormal results have fewer bits.
  const keep = Math.max(1, Math.min(53, length + exponent + 1074));
  const cut = Math.max(0, length - keep);
  const kept = magnitude >> BigInt(cut);
  const odd = kept << BigInt(cut) === magnitude ? kept : kept | 1n;
  const value = scaleByPower(Number(odd), exponent + cut);
  const bounded = Math.min(Number.MAX_VALUE, value === 0 ? Number.MIN_VALUE : value);
  return significand < 0n ? -bounded : bounded;
}

/**
 * The exact value of a code, also where binary64 is too small (P3109 formats of low precision): a Dyadic, or NaN or an
 * infinity as a number. `negative` tells -0 from 0.
 */
export function decodeExact(format: NumberFormat, code: number): Dyadic | number {
  if (format.kind !== "minifloat") {
    const value = decode(format, code);
    return Number.isFinite(value) ? dyadic(value) : value;
  }
  const { signBit, maxMagnitude, infinity, nan } = minifloatLayout(format);
  const negative = signBit > 0 && code >= signBit;
  const magnitude = negative ? code - signBit : code;
  if (code === nan) return Number.NaN;
  if (magnitude > maxMagnitude) return magnitude === infinity ? (negative ? -Infinity : Infinity) : Number.NaN;
  const { significandBits: m, bias } = format;
  const biased = Math.floor(magnitude / 2 ** m);
  const trailing = magnitude % 2 ** m;
  const subnormal = biased === 0 && (format.subnormals || format.exponentBits === 0);
  const significand = BigInt(subnormal ? trailing : 2 ** m + trailing);
  return { significand: negative ? -significand : significand, exponent: (subnormal ? 1 : biased) - bias - m };
}
