/** Decoding and encoding of integers, offset binary and fixed point. */
import { NumericError } from "../errors.js";
import { scaleByPower } from "./binary64.js";
import type { EncodeOptions } from "./codec.js";
import type { IntegerFormat } from "./format.js";
import { roundsUp } from "./rounding.js";

/** The value of a code; exact. */
export function decodeInteger(format: IntegerFormat, code: number): number {
  const q =
    format.offset !== undefined
      ? code - format.offset
      : format.signed && code >= 2 ** (format.bits - 1)
        ? code - 2 ** format.bits
        : code;
  return scaleByPower(q, -(format.fractionBits ?? 0));
}

/** The code of `value`: one rounding to an integer multiple of 2^-fractionBits, then the overflow rule. */
export function encodeInteger(format: IntegerFormat, value: number, options: EncodeOptions): number {
  if (Number.isNaN(value)) {
    if (options.nan === "zero") return codeOf(format, 0);
    if (options.nan === "max") return codeOf(format, format.max);
    throw new NumericError(`${format.name} has no NaN`, {
      kind: "number-out-of-range",
      try: 'the option nan: "zero" or "max"',
    });
  }
  const q = roundToInteger(inUnits(format, value), options);
  if (q >= format.min && q <= format.max) return codeOf(format, q);
  const overflow = options.overflow ?? format.overflow ?? "saturate";
  if (overflow === "wrap" && Number.isFinite(q)) return codeOf(format, q);
  if (overflow === "nan" || overflow === "error" || overflow === "wrap") {
    throw new NumericError(`${value} is out of range for ${format.name}`, {
      kind: "number-out-of-range",
      try: 'overflow "saturate"',
    });
  }
  return codeOf(format, q < format.min ? format.min : format.max);
}

/** value * 2^fractionBits. What underflows binary64 stays beside zero, for the roundings that go away from it. */
function inUnits(format: IntegerFormat, value: number): number {
  const units = scaleByPower(value, format.fractionBits ?? 0);
  return units === 0 && value !== 0 ? Math.sign(value) * Number.MIN_VALUE : units;
}

function roundToInteger(value: number, options: EncodeOptions): number {
  const a = Math.abs(value);
  if (!(a < 2 ** 53)) return value;
  const whole = Math.floor(a);
  const up = roundsUp(options.rounding ?? "nearest-even", a - whole, whole % 2 === 1, value < 0, options.random);
  const magnitude = up ? whole + 1 : whole;
  return value < 0 ? 0 - magnitude : magnitude;
}

function codeOf(format: IntegerFormat, q: number): number {
  const range = 2 ** format.bits;
  const code = (q + (format.offset ?? 0)) % range;
  return code < 0 ? code + range : code;
}
