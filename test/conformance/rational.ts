/**
 * An encoder that shares nothing with src/formats: values are fractions of big integers, the neighbours of an input are
 * looked up in the full list of a minifloat's magnitudes (as binary64 numbers where these are proved to be the fractions), and the tables of IEEE P3109 v4.0 (RoundToPrecision, Saturate)
 * are written out as they stand there. Slow; the oracle of the conformance tests.
 */
import type { MinifloatFormat, Overflow, Rounding } from "../../src/formats/index.js";

/** numerator / 2^power. */
interface Fraction {
  readonly numerator: bigint;
  readonly power: bigint;
}

function fractionOf(x: number): Fraction {
  const bits = new DataView(new ArrayBuffer(8));
  bits.setFloat64(0, x);
  const raw = bits.getBigUint64(0);
  const exponent = (raw >> 52n) & 0x7ffn;
  const trailing = raw & ((1n << 52n) - 1n);
  const significand = exponent === 0n ? trailing : trailing | (1n << 52n);
  const shift = (exponent === 0n ? 1n : exponent) - 1075n;
  return shift >= 0n ? { numerator: significand << shift, power: 0n } : { numerator: significand, power: -shift };
}

/** Negative, zero or positive as a <=> b. */
function compare(a: Fraction, b: Fraction): number {
  const difference = (a.numerator << b.power) - (b.numerator << a.power);
  return difference < 0n ? -1 : difference > 0n ? 1 : 0;
}

/** The magnitude of code c, by the definition; also of codes beyond the last. */
function magnitude(format: MinifloatFormat, c: bigint): Fraction {
  const m = BigInt(format.significandBits);
  const bias = BigInt(format.bias);
  if (format.exponentBits === 0) return power(c, 1n - bias - m);
  const [e, t] = [c >> m, c & ((1n << m) - 1n)];
  if (e === 0n && format.subnormals) return power(t, 1n - bias - m);
  return power((1n << m) + t, e - bias - m);
}

const power = (numerator: bigint, exponent: bigint): Fraction =>
  exponent >= 0n ? { numerator: numerator << exponent, power: 0n } : { numerator, power: -exponent };

interface Domain {
  readonly signed: boolean;
  readonly hasInfinity: boolean;
  readonly hasNaN: boolean;
  /** Code of the largest finite magnitude. */
  readonly top: bigint;
}

function domainOf({ signed, exponentBits, significandBits, nonFinite }: MinifloatFormat): Domain {
  const all = 1n << BigInt(exponentBits + significandBits);
  const used = {
    none: 0n,
    fn: 1n,
    fnuz: signed ? 0n : 1n,
    extended: signed ? 1n : 2n,
    ieee: 1n << BigInt(significandBits),
  };
  return {
    signed,
    hasInfinity: nonFinite === "ieee" || nonFinite === "extended",
    hasNaN: nonFinite !== "none" && !(nonFinite === "ieee" && significandBits === 0),
    top: all - 1n - used[nonFinite],
  };
}

export type Answer = number | "nan" | "inf" | "-inf" | "error";

/** Where a magnitude stands among those of a format. */
interface Place {
  /** The greatest code whose magnitude is not above it; top + 1 for what lies beyond. */
  readonly low: bigint;
  readonly isExact: boolean;
  /** Below, at or above the middle between low's magnitude and the next: -1, 0, 1. Distances are compared, never divided. */
  readonly half: number;
}

/** All magnitudes and the middles between them as binary64 numbers, proved to be the very fractions. */
interface Ladder {
  readonly magnitudes: Float64Array;
  readonly middles: Float64Array;
}
const ladders = new Map<MinifloatFormat, Ladder | undefined>();

function makeLadder(format: MinifloatFormat): Ladder | undefined {
  if (format.bits > 16) return undefined;
  const fractions = Array.from({ length: Number(domainOf(format).top) + 2 }, (_, c) => magnitude(format, BigInt(c)));
  const middles = fractions.slice(1).map((high, i): Fraction => {
    const low = fractions[i];
    return {
      numerator: (low.numerator << high.power) + (high.numerator << low.power),
      power: low.power + high.power + 1n,
    };
  });
  const exact = (list: readonly Fraction[]) => Float64Array.from(list, numberOf);
  const ladder = { magnitudes: exact(fractions), middles: exact(middles) };
  return [...ladder.magnitudes, ...ladder.middles].some(Number.isNaN) ? undefined : ladder;
}

/** NaN for a fraction that is no binary64 number. */
function numberOf(fraction: Fraction): number {
  let { numerator, power } = fraction;
  while (numerator !== 0n && power > 0n && numerator % 2n === 0n) [numerator, power] = [numerator / 2n, power - 1n];
  const x = Number(numerator) / 2 ** Number(power);
  return Number.isFinite(x) && compare(fractionOf(x), fraction) === 0 ? x : Number.NaN;
}

function placeOnLadder({ magnitudes, middles }: Ladder, a: number): Place {
  let [low, high] = [0, magnitudes.length - 1];
  if (a < magnitudes[0]) return { low: 0n, isExact: true, half: 0 };
  if (a >= magnitudes[high]) return { low: BigInt(high), isExact: true, half: 0 };
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (magnitudes[middle] <= a) low = middle;
    else high = middle;
  }
  return { low: BigInt(low), isExact: a === magnitudes[low], half: Math.sign(a - middles[low]) };
}

function placeOf(format: MinifloatFormat, x: number): Place {
  const { top } = domainOf(format);
  const beyond = { low: top + 1n, isExact: true, half: 0 };
  if (!Number.isFinite(x)) return beyond;
  if (!ladders.has(format)) ladders.set(format, makeLadder(format));
  const ladder = ladders.get(format);
  if (ladder) return placeOnLadder(ladder, Math.abs(x));
  const target = fractionOf(Math.abs(x));
  if (compare(target, magnitude(format, 0n)) < 0) return { low: 0n, isExact: true, half: 0 };
  if (compare(target, magnitude(format, top + 1n)) >= 0) return beyond;
  let [low, high] = [0n, top + 1n];
  while (high - low > 1n) {
    const middle = (low + high) >> 1n;
    if (compare(magnitude(format, middle), target) <= 0) low = middle;
    else high = middle;
  }
  const [lower, upper] = [magnitude(format, low), magnitude(format, low + 1n)];
  // 2 x <=> lower + upper
  const scale = target.power + lower.power + upper.power;
  const twice = target.numerator << (scale - target.power + 1n);
  const sum = (lower.numerator << (scale - lower.power)) + (upper.numerator << (scale - upper.power));
  return { low, isExact: compare(target, lower) === 0, half: twice < sum ? -1 : twice > sum ? 1 : 0 };
}

/** The place of the last number asked for: the same whatever the rounding and the overflow rule are. */
let last: { readonly format: MinifloatFormat; readonly x: number; readonly place: Place } | undefined;

function rememberedPlace(format: MinifloatFormat, x: number): Place {
  if (last?.format !== format || !Object.is(last.x, x)) last = { format, x, place: placeOf(format, x) };
  return last.place;
}

/** Rounds |x| up to the next magnitude? */
function goesUp(mode: Rounding, { low, isExact, half }: Place, negative: boolean): boolean {
  if (isExact) return false;
  const even = low % 2n === 0n;
  switch (mode) {
    case "nearest-even":
      return half > 0 || (half === 0 && !even);
    case "nearest-away":
      return half >= 0;
    case "nearest-zero":
      return half > 0;
    case "toward-zero":
      return false;
    case "up":
      return !negative;
    case "down":
      return negative;
    case "away":
      return true;
    case "to-odd":
      return even;
    default:
      throw new Error(mode);
  }
}

/** The value (as a magnitude code with a sign, or a special) that x becomes. */
export function encodeReference(format: MinifloatFormat, x: number, rounding: Rounding, overflow: Overflow): Answer {
  const { signed, hasInfinity, hasNaN, top } = domainOf(format);
  const negative = x < 0;
  const nan: Answer = hasNaN ? "nan" : "error";
  const sign = negative ? -1 : 1;
  const place = rememberedPlace(format, x);
  const code = place.low + BigInt(goesUp(rounding, place, negative));
  if (negative && !signed) {
    if (code === 0n && format.subnormals) return 0;
    if (overflow === "saturate" || overflow === "propagate") return 0;
    if (overflow === "none" && Number.isFinite(x) && (rounding === "toward-zero" || rounding === "up")) return 0;
    return nan;
  }
  if (code <= top) return sign * Number(code);
  // Saturate, P3109 v4.0 section 4.8.
  const end = sign * Number(top);
  const infinity: Answer = negative ? "-inf" : "inf";
  if (overflow === "saturate") return end;
  if (overflow === "propagate") return Number.isFinite(x) || !hasInfinity ? end : infinity;
  if (overflow === "nan") return nan;
  if (!hasInfinity) return end;
  if (!Number.isFinite(x)) return infinity;
  if (rounding === "toward-zero" || rounding === (negative ? "up" : "down")) return end;
  return rounding === "to-odd" && top % 2n === 1n ? end : infinity;
}
