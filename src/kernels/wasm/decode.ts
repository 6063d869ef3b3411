/**
 * How a kernel turns stored codes (cells.ts) into f32 vectors: four output columns in the lanes, one vector for each k.
 * The strategies are kinds, not formats:
 *
 * - `lookup`: at most 4 bits of anything: the four bytes of each f32 value are byte shuffles of 16-entry tables; bytes
 *   that are zero in all values (small integers, FP4) cost nothing;
 * - `integer`: integers of 5 to 8 and 16 bits, widened and converted;
 * - `minifloat`: float8, float6, f16 by moving the bits to where f32 has them and multiplying with a power of two;
 * - `bfloat`: bf16 is the upper half of an f32;
 * - `table`: any code of at most 8 bits by a load from a table of f32, slow and general;
 * - `binary32`: f32 itself.
 */
import { byLookup } from "./byte-dot.js";
import { cellColumns, codeReader } from "./cells.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";
import type { Layout } from "./layout.js";

export type Decode =
  | { readonly kind: "lookup"; readonly bits: 1 | 2 | 3 | 4; readonly values: readonly number[] }
  /** value = code - bias, where the difference is a signed byte, or an unsigned one without bias. */
  | { readonly kind: "integer"; readonly bits: 5 | 6 | 8 | 16; readonly signed: boolean; readonly bias: number }
  | {
      readonly kind: "minifloat";
      readonly bits: 5 | 6 | 8 | 16;
      readonly exponentBits: number;
      readonly significandBits: number;
    }
  | { readonly kind: "bfloat"; readonly bits: 16 }
  | { readonly kind: "table"; readonly bits: 8; readonly values: readonly number[] }
  | { readonly kind: "binary32"; readonly bits: 32 };

const zero = v128.const(new Uint8Array(16));
const lanes = (...order: number[]) => order;
const low8 = lanes(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
const high8 = low8.map((lane) => lane + 8);
const low16 = lanes(0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23);
const high16 = low16.map((lane) => lane + 8);
/** Swaps the roles of rows and columns in a 4 x 4 of bytes. */
const transpose4 = lanes(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

/** a0 b0 a1 b1 ... of the low half. */
const interleaveLow8 = (a: Expression<"v128">, b: Expression<"v128">) => i8x16.shuffle(a, b, low8);
const interleaveHigh8 = (a: Expression<"v128">, b: Expression<"v128">) => i8x16.shuffle(a, b, high8);
const interleaveLow16 = (a: Expression<"v128">, b: Expression<"v128">) => i8x16.shuffle(a, b, low16);
const interleaveHigh16 = (a: Expression<"v128">, b: Expression<"v128">) => i8x16.shuffle(a, b, high16);

/** Where the codes of a byte-sized vector stand: byte 4 k + column, or byte 4 column + k (also for byte dot products). */
export type Order = "k major" | "column major";

/** The order from which codes become f32 in the fewest instructions. */
export function orderOf(decode: Decode): Order {
  return decode.kind === "minifloat" && decode.bits <= 8 ? "column major" : "k major";
}

/**
 * Emits the decoding of cells, in parts of at most four k. `each` is called for the k of a part in order, with the four
 * columns' raw values.
 */
export interface Decoder {
  /** k of a part, and parts of a cell. */
  readonly width: number;
  readonly parts: number;
  decode(address: Local<"i32">, offset: number, part: number, each: EachVector): void;
}
type EachVector = (k: number, value: Expression<"v128">) => void;

/** A decoder for use inside the function `f`; constants that stay in registers are set here. */
export function decoder(
  f: FunctionBuilder,
  layout: Pick<Layout, "decode" | "order" | "relaxed" | "fused" | "dot" | "headerBytes">,
  table: Local<"i32">,
  shift?: Local<"i32">,
): Decoder {
  const { decode, order, relaxed, fused, dot, headerBytes } = layout;
  if (decode.kind === "table") return tableDecoder(f, order, table);
  if (decode.kind === "binary32") {
    return { width: 1, parts: 1, decode: (address, offset, _, each) => each(0, v128.load(address, offset)) };
  }
  const codes = f.local("v128");
  if (decode.bits === 16) {
    const widen = wordWidener(f, decode);
    const read = (address: Local<"i32">, offset: number, each: EachVector) => {
      f.set(codes, v128.load(address, offset));
      widen(codes, each);
    };
    return { width: 2, parts: 1, decode: (address, offset, _, each) => read(address, offset, each) };
  }
  const read = codeReader(f, decode.bits, {
    align: decode.kind === "minifloat" ? "left" : "right",
    byEight: dot !== undefined && byLookup(dot),
    shift,
  });
  const bias = decode.kind === "integer" && decode.bias !== 0 ? f.let(i8x16.splat(decode.bias)) : undefined;
  const widen = byteWidener(f, decode, relaxed);
  // Where sums are fused and decoding binds, a load is cheaper than a shift; behind a header there is a byte before the codes.
  const above = (address: Local<"i32">, offset: number) =>
    fused && decode.kind === "minifloat" && decode.bits === 8 && headerBytes > 0
      ? v128.load(offset === 0 ? i32.sub(address, 1) : address, Math.max(0, offset - 1))
      : i16x8.shl(codes, 8);
  return {
    width: 4,
    parts: cellColumns(decode.bits) / 4,
    decode(address, offset, part, each) {
      f.set(codes, read(address, offset, part));
      if (bias) f.set(codes, i8x16.sub(codes, bias));
      if (order !== orderOf(decode)) f.set(codes, i8x16.shuffle(codes, codes, transpose4));
      widen(codes, each, above(address, offset));
    },
  };
}

/** `above`: every byte that stands second in a pair is the first one of the pair. */
type Widen = (codes: Local<"v128">, each: EachVector, above?: Expression<"v128">) => void;

type Widened = Exclude<Decode, { kind: "table" | "binary32" }>;

function byteWidener(f: FunctionBuilder, decode: Widened, relaxed: boolean): Widen {
  if (decode.kind === "lookup") return lookup(f, decode.values, relaxed);
  if (decode.kind === "bfloat") return wordWidener(f, decode);
  const [a, b] = f.locals("v128", 2);
  if (decode.kind === "integer") {
    const { signed } = decode;
    const toLow = signed ? i16x8.extend_low_i8x16_s : i16x8.extend_low_i8x16_u;
    const toHigh = signed ? i16x8.extend_high_i8x16_s : i16x8.extend_high_i8x16_u;
    return (codes, each) => {
      f.set(a, toLow(codes));
      f.set(b, toHigh(codes));
      each(0, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(a)));
      each(1, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(a)));
      each(2, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(b)));
      each(3, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(b)));
    };
  }
  // Codes stand left-aligned in their byte, those of a column in its lane. In the upper half of an f32 the exponent begins at
  // bit 7: two codes of a lane at a time move to where the halves of it have them, and then each to the upper half.
  const { exponentBits, significandBits } = decode;
  const magnitude = (2 ** (exponentBits + significandBits) - 1) << (7 - significandBits);
  const mask = f.let(i16x8.splat(0x8000 | magnitude));
  const upper = f.let(i32x4.splat(0xffff0000));
  const place = (bytes: Expression<"v128">) => v128.and(i16x8.shr_s(bytes, 8 - exponentBits), mask);
  return (codes, each, above) => {
    f.set(a, place(above ?? i16x8.shl(codes, 8)));
    f.set(b, place(codes));
    each(0, i32x4.shl(a, 16));
    each(1, i32x4.shl(b, 16));
    each(2, v128.and(a, upper));
    each(3, v128.and(b, upper));
  };
}

/** 16-bit codes: two of each column in a vector. */
function wordWidener(f: FunctionBuilder, decode: Widened): Widen {
  if (decode.kind === "bfloat") {
    return (codes, each) => {
      each(0, interleaveLow16(zero, codes));
      each(1, interleaveHigh16(zero, codes));
    };
  }
  if (decode.kind !== "minifloat") {
    return (codes, each) => {
      each(0, f32x4.convert_i32x4_s(i32x4.extend_low_i16x8_s(codes)));
      each(1, f32x4.convert_i32x4_s(i32x4.extend_high_i16x8_s(codes)));
    };
  }
  const { exponentBits, significandBits } = decode;
  const magnitude = (2 ** (exponentBits + significandBits) - 1) * 2 ** (23 - significandBits);
  const mask = f.let(i32x4.splat(0x80000000 | magnitude));
  const place = (half: Expression<"v128">) => v128.and(i32x4.shr_s(half, 8 - exponentBits), mask);
  return (codes, each) => {
    each(0, place(interleaveLow16(zero, codes)));
    each(1, place(interleaveHigh16(zero, codes)));
  };
}

/** Shuffles bytes by codes of 0..15, for which the relaxed instruction is the same and needs no clamp before it. */
export const pickBytes = (relaxed: boolean) => (relaxed ? i8x16.relaxed_swizzle : i8x16.swizzle);

/** Sixteen f32 values as four byte tables; codes are 0..15. */
function lookup(f: FunctionBuilder, values: readonly number[], relaxed: boolean): Widen {
  const pick = pickBytes(relaxed);
  const padded = Float32Array.from({ length: 16 }, (_, i) => values[i] ?? 0);
  const bytes = new Uint8Array(padded.buffer);
  const planes = [0, 1, 2, 3].map((plane) => {
    const table = Uint8Array.from({ length: 16 }, (_, i) => bytes[4 * i + plane]);
    return table.some((byte) => byte !== 0) ? f.let(v128.const(table)) : undefined;
  });
  const picked = (plane: number, codes: Expression<"v128">) => {
    const table = planes[plane];
    return table ? pick(table, codes) : zero;
  };
  const hasLowHalf = planes[0] !== undefined || planes[1] !== undefined;
  const [a, b, c, d, low, rest] = f.locals("v128", 6);
  return (codes, each) => {
    f.set(a, picked(2, codes));
    f.set(b, picked(3, codes));
    f.set(c, interleaveLow8(a, b));
    f.set(d, interleaveHigh8(a, b));
    if (!hasLowHalf) {
      each(0, interleaveLow16(zero, c));
      each(1, interleaveHigh16(zero, c));
      each(2, interleaveLow16(zero, d));
      each(3, interleaveHigh16(zero, d));
      return;
    }
    f.set(low, picked(0, codes));
    f.set(rest, picked(1, codes));
    f.set(a, interleaveLow8(low, rest));
    f.set(b, interleaveHigh8(low, rest));
    each(0, interleaveLow16(a, c));
    each(1, interleaveHigh16(a, c));
    each(2, interleaveLow16(b, d));
    each(3, interleaveHigh16(b, d));
  };
}

function tableDecoder(f: FunctionBuilder, order: Order, table: Local<"i32">): Decoder {
  const value = f.local("v128");
  const at = (k: number, column: number) => (order === "k major" ? 4 * k + column : 4 * column + k);
  return {
    width: 4,
    parts: 1,
    decode(address, offset, _, each) {
      for (let k = 0; k < 4; k++) {
        const entry = (column: number) => i32.add(table, i32.shl(i32.load8_u(address, offset + at(k, column)), 2));
        f.set(value, v128.load32_zero(entry(0)));
        for (let column = 1; column < 4; column++) f.set(value, v128.load32_lane(entry(column), value, column));
        each(k, value);
      }
    },
  };
}
