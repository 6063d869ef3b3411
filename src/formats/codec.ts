/**
 * What a code means and which code means a value: `decode` and `encode` for every kind of format, exact, slow and
 * clear. The array paths (table.ts, casts.ts) are proved equal to them.
 */
import { InputError } from "../errors.js";
import { decodeCodebook, encodeCodebook } from "./codebook.js";
import type { FormatKind, NumberFormat, Overflow } from "./format.js";
import { decodeInteger, encodeInteger } from "./integer.js";
import { decodeMinifloat, encodeMinifloat } from "./minifloat.js";
import { decodePosit, encodePosit } from "./posit.js";
import type { RandomBits, Rounding } from "./rounding.js";

export interface EncodeOptions {
  /** Default "nearest-even". */
  readonly rounding?: Rounding;
  /** Default: what the format's record says, else by its non-finite codes (see `Overflow`). */
  readonly overflow?: Overflow;
  /** What NaN becomes in a format that has none. Default "error": a NumericError. */
  readonly nan?: "error" | "zero" | "negative-zero" | "max";
  /** The random numbers of stochastic roundings. */
  readonly random?: RandomBits;
}

interface Codec<F> {
  decode(format: F, code: number): number;
  encode(format: F, value: number, options: EncodeOptions): number;
}
type FormatOfKind<K extends FormatKind> = Extract<NumberFormat, { kind: K }>;

const CODECS: { readonly [K in FormatKind]: Codec<FormatOfKind<K>> } = {
  minifloat: { decode: decodeMinifloat, encode: encodeMinifloat },
  integer: { decode: decodeInteger, encode: encodeInteger },
  codebook: { decode: decodeCodebook, encode: encodeCodebook },
  posit: { decode: decodePosit, encode: encodePosit },
};

const codecOf = (format: NumberFormat) => CODECS[format.kind] as Codec<NumberFormat>;
const NEAREST: EncodeOptions = {};

/** The value of `code` in `format`, exactly. InputError if the code does not fit the format's bits. */
export function decode(format: NumberFormat, code: number): number {
  if (!Number.isInteger(code) || code < 0 || code >= 2 ** format.bits) {
    throw new InputError(`${code} is no code of ${format.name}`, { why: `codes go from 0 to ${2 ** format.bits - 1}` });
  }
  return codecOf(format).decode(format, code);
}

/**
 * The code of `value` in `format`: one single rounding from binary64, then the overflow rule. NumericError where the
 * format has no code for the answer (NaN in FP4, overflow "error").
 */
export function encode(format: NumberFormat, value: number, options: EncodeOptions = NEAREST): number {
  return codecOf(format).encode(format, value, options);
}

/** `value` rounded to the format: decode(encode(value)). */
export function roundTo(format: NumberFormat, value: number, options: EncodeOptions = NEAREST): number {
  return decode(format, encode(format, value, options));
}
