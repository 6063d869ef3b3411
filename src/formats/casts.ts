/**
 * Casting whole f32 arrays to codes and back. Formats of at most 8 bits go through tables, f16 and bf16 through integer
 * arithmetic on the bits of binary32; every path is proved equal to the exact codec.
 */
import { bitsOfF32 } from "./binary64.js";
import { type EncodeOptions, encode } from "./codec.js";
import type { MinifloatFormat, NumberFormat } from "./format.js";
import type { Codes } from "./packing.js";
import { buildEncodeTable, decodeTableF32, type EncodeTable } from "./table.js";

/** The code of one f32 value. */
export type F32Encoder = (x: number) => number;

const encodeTables = new WeakMap<NumberFormat, Map<string, EncodeTable | undefined>>();

function encodeTable(format: NumberFormat, options: EncodeOptions): EncodeTable | undefined {
  let ofFormat = encodeTables.get(format);
  if (!ofFormat) {
    ofFormat = new Map();
    encodeTables.set(format, ofFormat);
  }
  const key = `${options.rounding} ${options.overflow} ${options.nan}`;
  if (!ofFormat.has(key)) ofFormat.set(key, buildEncodeTable(format, options));
  return ofFormat.get(key);
}

/** Whether a format is the plain IEEE layout of these widths with nearest-even rounding to infinity. */
function isPlain(format: NumberFormat, options: EncodeOptions, exponentBits: number, significandBits: number): boolean {
  return (
    format.kind === "minifloat" &&
    format.exponentBits === exponentBits &&
    format.significandBits === significandBits &&
    hasIeeeRest(format) &&
    (options.rounding ?? "nearest-even") === "nearest-even" &&
    (options.overflow ?? format.overflow ?? "none") === "none"
  );
}

function hasIeeeRest(format: MinifloatFormat): boolean {
  const bias = 2 ** (format.exponentBits - 1) - 1;
  return format.signed && format.subnormals && format.nonFinite === "ieee" && format.bias === bias;
}

/** Encodes values[start + i] to codes[i] for i in 0..count; same codes as `encode`. */
export function encodeArray(
  format: NumberFormat,
  values: Float32Array,
  codes: Codes,
  options: EncodeOptions = {},
  start = 0,
  count = values.length - start,
): void {
  const bits = new Uint32Array(values.buffer, values.byteOffset + 4 * start, count);
  if (isPlain(format, options, 8, 23)) for (let i = 0; i < count; i++) codes[i] = bits[i];
  else if (isPlain(format, options, 5, 10)) for (let i = 0; i < count; i++) codes[i] = f16OfF32Bits(bits[i]);
  else if (isPlain(format, options, 8, 7)) for (let i = 0; i < count; i++) codes[i] = bf16OfF32Bits(bits[i]);
  else {
    const table = encodeTable(format, options);
    if (table) encodeByTable(format, table, bits, values, codes, options, start, count);
    else for (let i = 0; i < count; i++) codes[i] = encode(format, values[start + i], options);
  }
}

function encodeByTable(
  format: NumberFormat,
  { low, high, threshold }: EncodeTable,
  bits: Uint32Array,
  values: Float32Array,
  codes: Codes,
  options: EncodeOptions,
  start: number,
  count: number,
): void {
  for (let i = 0; i < count; i++) {
    const u = bits[i];
    const cell = u >>> 16;
    if ((cell & 0x7f80) === 0x7f80) codes[i] = encode(format, values[start + i], options);
    else codes[i] = (u & 0xffff) >= threshold[cell] ? high[cell] : low[cell];
  }
}

/** A function that encodes single f32 values as fast as the array path. */
export function f32Encoder(format: NumberFormat, options: EncodeOptions = {}): F32Encoder {
  if (isPlain(format, options, 5, 10)) return (x) => f16OfF32Bits(bitsOfF32(x));
  if (isPlain(format, options, 8, 7)) return (x) => bf16OfF32Bits(bitsOfF32(x));
  if (isPlain(format, options, 8, 23)) return bitsOfF32;
  return (x) => encode(format, x, options);
}

/** out[start + i] = value of codes[i], rounded to f32 where f32 does not contain it. */
export function decodeArray(
  format: NumberFormat,
  codes: Codes,
  out: Float32Array,
  start = 0,
  count = codes.length,
): void {
  if (isPlain(format, {}, 8, 23)) {
    new Uint32Array(out.buffer, out.byteOffset, out.length).set(codes.subarray(0, count), start);
    return;
  }
  if (isPlain(format, {}, 8, 7)) {
    const bits = new Uint32Array(out.buffer, out.byteOffset, out.length);
    for (let i = 0; i < count; i++) bits[start + i] = codes[i] << 16;
    return;
  }
  const table = decodeTableF32(format);
  for (let i = 0; i < count; i++) out[start + i] = table[codes[i]];
}

/** Nearest-even from the bits of binary32 to binary16. */
export function f16OfF32Bits(u: number): number {
  const sign = (u >>> 16) & 0x8000;
  const a = u & 0x7fffffff;
  if (a > 0x7f800000) return 0x7e00;
  // From 65520 on the nearest step is 65536, beyond the range.
  if (a >= 0x477ff000) return sign | 0x7c00;
  if (a >= 0x38800000) return sign | ((a - 0x38000000 + 0xfff + ((a >>> 13) & 1)) >>> 13);
  if (a <= 0x33000000) return sign;
  const shift = 126 - (a >>> 23);
  const significand = (a & 0x7fffff) | 0x800000;
  const whole = significand >>> shift;
  const rest = significand & ((1 << shift) - 1);
  const half = 1 << (shift - 1);
  return sign | (whole + (rest > half || (rest === half && (whole & 1) === 1) ? 1 : 0));
}

/** Nearest-even from the bits of binary32 to bfloat16. */
export function bf16OfF32Bits(u: number): number {
  if ((u & 0x7fffffff) > 0x7f800000) return 0x7fc0;
  return ((u >>> 16) + (((u & 0xffff) + 0x7fff + ((u >>> 16) & 1)) >>> 16)) & 0xffff;
}
