/**
 * Casting whole f32 arrays to codes and back. Formats of at most 8 bits go through tables, f16 and bf16 through integer
 * arithmetic on the bits of binary32; every path is proved equal to the exact codec.
 */
import { bitsOfF32 } from "./binary64.js";
import { decode, type EncodeOptions, encode } from "./codec.js";
import type { MinifloatFormat, NumberFormat } from "./format.js";
import type { Codes } from "./packing.js";
import { buildEncodeTable, decodeTableF32, type EncodeTable } from "./table.js";

/** The code of one f32 value. */
export type F32Encoder = (x: number) => number;

const encodeTables = new WeakMap<NumberFormat, Map<string, EncodeTable | undefined>>();

/** The encode table of a format under these options (table.ts), built once; undefined where there can be none. */
export function encodeTable(format: NumberFormat, options: EncodeOptions): EncodeTable | undefined {
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

/** Encodes values[start + i] to codes[at + i] for i in 0..count. */
export type ArrayEncoder = (values: Float32Array, start: number, count: number, codes: Codes, at: number) => void;

/** The array path of a format under these options, prepared once; same codes as `encode`. */
export function arrayEncoder(format: NumberFormat, options: EncodeOptions = {}): ArrayEncoder {
  if (isPlain(format, options, 8, 23)) return f32ArrayEncoder();
  if (isPlain(format, options, 5, 10)) return f16ArrayEncoder();
  if (isPlain(format, options, 8, 7)) return bf16ArrayEncoder();
  const table = encodeTable(format, options);
  if (table) return tableEncoder(format, table, options);
  return (values, start, count, codes, at) => {
    for (let i = 0; i < count; i++) codes[at + i] = encode(format, values[start + i], options);
  };
}

/** The bits of an array, remembering the last one asked for. */
function bitViewer(): (values: Float32Array) => Uint32Array {
  let last: Float32Array | undefined;
  let bits: Uint32Array = new Uint32Array(0);
  return (values) => {
    if (values !== last) {
      last = values;
      bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    }
    return bits;
  };
}

/** One loop for each, written out: a shared loop over a callback is three times slower in V8. */
function f32ArrayEncoder(): ArrayEncoder {
  const bitsOf = bitViewer();
  return (values, start, count, codes, at) => codes.set(bitsOf(values).subarray(start, start + count), at);
}

function f16ArrayEncoder(): ArrayEncoder {
  const bitsOf = bitViewer();
  return (values, start, count, codes, at) => {
    const bits = bitsOf(values);
    for (let i = 0; i < count; i++) codes[at + i] = f16OfF32Bits(bits[start + i]);
  };
}

function bf16ArrayEncoder(): ArrayEncoder {
  const bitsOf = bitViewer();
  return (values, start, count, codes, at) => {
    const bits = bitsOf(values);
    for (let i = 0; i < count; i++) codes[at + i] = bf16OfF32Bits(bits[start + i]);
  };
}

function tableEncoder(
  format: NumberFormat,
  { low, high, threshold }: EncodeTable,
  options: EncodeOptions,
): ArrayEncoder {
  const bitsOf = bitViewer();
  return (values, start, count, codes, at) => {
    const bits = bitsOf(values);
    for (let i = 0; i < count; i++) {
      const u = bits[start + i];
      const cell = u >>> 16;
      // Infinities and NaN share their cells with nothing else.
      if ((cell & 0x7f80) === 0x7f80) codes[at + i] = encode(format, values[start + i], options);
      else codes[at + i] = (u & 0xffff) >= threshold[cell] ? high[cell] : low[cell];
    }
  };
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
  arrayEncoder(format, options)(values, start, count, codes, 0);
}

/** A function that encodes single f32 values as fast as the array path. */
export function f32Encoder(format: NumberFormat, options: EncodeOptions = {}): F32Encoder {
  if (isPlain(format, options, 5, 10)) return (x) => f16OfF32Bits(bitsOfF32(x));
  if (isPlain(format, options, 8, 7)) return (x) => bf16OfF32Bits(bitsOfF32(x));
  if (isPlain(format, options, 8, 23)) return bitsOfF32;
  if (options.overflow === "saturate") return saturating(format, options);
  return (x) => encode(format, x, options);
}

/** What overflows is left to the codec: hardly ever anything, so the rest need not wait for it. */
function saturating(format: NumberFormat, options: EncodeOptions): F32Encoder {
  const plain = { ...options, overflow: undefined };
  const [isF16, isBf16] = [isPlain(format, plain, 5, 10), isPlain(format, plain, 8, 7)];
  if (!isF16 && !isBf16) return (x) => encode(format, x, options);
  const [cast, infinity] = isF16 ? ([f16OfF32Bits, 0x7c00] as const) : ([bf16OfF32Bits, 0x7f80] as const);
  return (x) => {
    const code = cast(bitsOfF32(x));
    return (code & 0x7fff) < infinity ? code : encode(format, x, options);
  };
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
  if (format.bits > 16) {
    for (let i = 0; i < count; i++) out[start + i] = decode(format, codes[i]);
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
