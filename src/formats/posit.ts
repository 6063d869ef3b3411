/**
 * Posits (Standard for Posit Arithmetic, 2022): two's-complement codes in which a run-length coded regime scales by
 * powers of 2^(2^es), so that precision is highest around 1. For a positive code the bits after the sign are the regime
 * (a run of r equal bits and its end), es exponent bits and the fraction; with k = r - 1 for ones and -r for zeros
 *
 *     value = 2^(2^es k + e) (1 + f)
 *
 * Rounding cuts the exact bit string, so between powers far apart "nearest" is meant for codes, not for values. No
 * nonzero value becomes 0 and no finite one NaR.
 */
import { exponentOf, scaleByPower } from "./binary64.js";
import type { EncodeOptions } from "./codec.js";
import type { PositFormat } from "./format.js";
import { roundsUp } from "./rounding.js";

/** The value of a code; NaN for NaR. Exact for at most 32 bits with es = 2. */
export function decodePosit(format: PositFormat, code: number): number {
  const { bits, exponentBits } = format;
  const half = 2 ** (bits - 1);
  if (code === 0) return 0;
  if (code === half) return Number.NaN;
  const negative = code > half;
  const body = negative ? 2 * half - code : code;
  const value = decodeBody(body, bits - 1, exponentBits);
  return negative ? -value : value;
}

/** The magnitude that `width` bits after the sign mean. */
function decodeBody(body: number, width: number, exponentBits: number): number {
  const bit = (i: number) => Math.floor(body / 2 ** i) % 2;
  let at = width - 1;
  const first = bit(at);
  let run = 0;
  while (at >= 0 && bit(at) === first) {
    run++;
    at--;
  }
  const left = Math.max(0, at);
  const rest = body % 2 ** left;
  const regime = first === 1 ? run - 1 : -run;
  // Exponent bits that were cut off count as zeros.
  const exponentWidth = Math.min(exponentBits, left);
  const fractionWidth = left - exponentWidth;
  const exponent = Math.floor(rest / 2 ** fractionWidth) * 2 ** (exponentBits - exponentWidth);
  const fraction = rest % 2 ** fractionWidth;
  return scaleByPower(2 ** fractionWidth + fraction, 2 ** exponentBits * regime + exponent - fractionWidth);
}

/** The code of `value`; NaN and infinities become NaR. */
export function encodePosit(format: PositFormat, value: number, options: EncodeOptions): number {
  const half = 2 ** (format.bits - 1);
  if (value === 0) return 0;
  if (!Number.isFinite(value)) return half;
  const body = encodeBody(format, Math.abs(value), value < 0, options);
  return value < 0 ? 2 * half - body : body;
}

function encodeBody(format: PositFormat, a: number, negative: boolean, options: EncodeOptions): number {
  const { bits, exponentBits } = format;
  const width = bits - 1;
  const scale = exponentOf(a);
  const regime = Math.floor(scale / 2 ** exponentBits);
  if (regime >= width - 1) return 2 ** width - 1;
  if (regime < -(width - 1)) return 1;
  const exponent = scale - regime * 2 ** exponentBits;
  const fraction = BigInt(scaleByPower(a, 52 - scale)) - (1n << 52n);
  const regimeBits = regime >= 0 ? (1n << BigInt(regime + 2)) - 2n : 1n;
  const regimeWidth = regime >= 0 ? regime + 2 : 1 - regime;
  const string = (((regimeBits << BigInt(exponentBits)) | BigInt(exponent)) << 52n) | fraction;
  const cut = regimeWidth + exponentBits + 52 - width;
  const whole = Number(string >> BigInt(cut));
  const up = roundsUp(
    options.rounding ?? "nearest-even",
    share(string, cut),
    whole % 2 === 1,
    negative,
    options.random,
  );
  return Math.min(2 ** width - 1, Math.max(1, whole + Number(up)));
}

/** The cut bits as a fraction of one step; 1/2 and 0 only when exactly so. */
function share(string: bigint, cut: number): number {
  const rest = string & ((1n << BigInt(cut)) - 1n);
  const step = 1n << BigInt(cut);
  if (rest === 0n) return 0;
  if (2n * rest === step) return 0.5;
  const nu = Number(rest) / Number(step);
  if (2n * rest > step) return Math.min(1 - 2 ** -53, Math.max(0.5 + 2 ** -53, nu));
  return Math.min(0.5 - 2 ** -54, nu);
}
