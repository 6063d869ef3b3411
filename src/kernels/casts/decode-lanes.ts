/** Codes in bytes or 16-bit words to vectors of four f32, for each kind of plan (decode-plan.ts). */
import type { Expression, FunctionBuilder, Local } from "../wasm/emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, v128 } from "../wasm/instructions.js";
import type { IntegerDecode, LaneDecode, MinifloatDecode } from "./decode-plan.js";
import { type Vector, type VectorLocal, word, zero } from "./lanes.js";

/** Reads a run of codes and calls `each` with vectors of four values, the first codes first. */
export interface LaneDecoder {
  /** Codes of a run. */
  readonly run: 16 | 8 | 4;
  decode(address: Local<"i32">, each: (index: number, value: Vector) => void): void;
}

const low8 = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
const high8 = low8.map((lane) => lane + 8);
const low16 = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
const high16 = low16.map((lane) => lane + 8);
const interleave = (a: Vector, b: Vector, lanes: readonly number[]) => i8x16.shuffle(a, b, lanes);
type Each = (index: number, value: Vector) => void;

/** Bytes of a code in unpacked arrays. */
export const codeBytes = (bits: number): 1 | 2 | 4 => (bits <= 8 ? 1 : bits <= 16 ? 2 : 4);

type Read = (address: Local<"i32">) => Vector;
const load: Read = (address) => v128.load(address);

/**
 * A decoder inside `f`; `table` is the address of the format's f32 values where the plan may need it (`needsTable`). `read`
 * says how a run of codes of at most 8 bits comes to stand in bytes, where no table is needed.
 */
export function laneDecoder(f: FunctionBuilder, plan: LaneDecode, table: Expression<"i32">, read = load): LaneDecoder {
  switch (plan.kind) {
    case "lookup":
      return byteRuns(f, lookup(f, plan.values), read);
    case "minifloat":
      return plan.bits <= 8
        ? byteRuns(f, byteMinifloat(f, plan), read, table, special(f, plan))
        : wordMinifloat(f, plan, table);
    case "integer":
      return plan.bits <= 8 ? byteRuns(f, byteInteger(f, plan), read) : wordInteger(f, plan);
    case "prefix":
      return wordRuns(f, (codes, each) => {
        each(0, interleave(zero, codes, low16));
        each(1, interleave(zero, codes, high16));
      });
    case "shift":
      return { run: 4, decode: (address, each) => each(0, i32x4.shl(v128.load(address), plan.by)) };
    case "copy":
      return { run: 4, decode: (address, each) => each(0, v128.load(address)) };
    case "table":
      return tableRuns(f, codeBytes(plan.bits), table);
  }
}

export const needsTable = (plan: LaneDecode): boolean =>
  plan.kind === "table" || (plan.kind === "minifloat" && (plan.maxMagnitude !== undefined || plan.nanAtNegativeZero));

type Widen = (codes: VectorLocal, each: Each) => void;

function byteRuns(
  f: FunctionBuilder,
  widen: Widen,
  read: Read,
  table?: Expression<"i32">,
  isSpecial?: (codes: VectorLocal) => Vector,
): LaneDecoder {
  const codes = f.local("v128");
  const slow = isSpecial && table && tableRuns(f, 1, table);
  return {
    run: 16,
    decode(address, each) {
      f.set(codes, read(address));
      if (!slow) widen(codes, each);
      else
        f.if(
          v128.any_true(isSpecial(codes)),
          () => slow.decode(address, each),
          () => widen(codes, each),
        );
    },
  };
}

function wordRuns(f: FunctionBuilder, widen: Widen): LaneDecoder {
  const codes = f.local("v128");
  return {
    run: 8,
    decode(address, each) {
      f.set(codes, v128.load(address));
      widen(codes, each);
    },
  };
}

/** Any code by a load from a table of f32. */
function tableRuns(f: FunctionBuilder, size: 1 | 2 | 4, table: Expression<"i32">): LaneDecoder {
  const value = f.local("v128");
  const load = size === 1 ? i32.load8_u : i32.load16_u;
  return {
    run: 16,
    decode(address, each) {
      for (let v = 0; v < 4; v++) {
        const entry = (i: number) => i32.add(table, i32.shl(load(address, size * (4 * v + i)), 2));
        f.set(value, v128.load32_zero(entry(0)));
        for (let i = 1; i < 4; i++) f.set(value, v128.load32_lane(entry(i), value, i));
        each(v, value);
      }
    },
  };
}

/** Sixteen f32 values as four byte tables; a table whose bytes are all zero costs nothing. */
function lookup(f: FunctionBuilder, values: readonly number[]): Widen {
  const padded = Float32Array.from({ length: 16 }, (_, i) => values[i] ?? 0);
  const bytes = new Uint8Array(padded.buffer);
  const tables = [0, 1, 2, 3].map((plane) => {
    const table = Uint8Array.from({ length: 16 }, (_, i) => bytes[4 * i + plane]);
    return table.some((byte) => byte !== 0) ? f.let(v128.const(table)) : undefined;
  });
  const [b0, b1, b2, b3, lower, upper] = f.locals("v128", 6);
  const hasLowHalf = tables[0] !== undefined || tables[1] !== undefined;
  const pick = (plane: number, codes: VectorLocal) => {
    const table = tables[plane];
    return table ? i8x16.swizzle(table, codes) : zero;
  };
  return (codes, each) => {
    f.set(b2, pick(2, codes));
    f.set(b3, pick(3, codes));
    if (hasLowHalf) {
      f.set(b0, pick(0, codes));
      f.set(b1, pick(1, codes));
    }
    [low8, high8].forEach((half, h) => {
      f.set(upper, interleave(b2, b3, half));
      if (hasLowHalf) f.set(lower, interleave(b0, b1, half));
      each(2 * h, interleave(hasLowHalf ? lower : zero, upper, low16));
      each(2 * h + 1, interleave(hasLowHalf ? lower : zero, upper, high16));
    });
  };
}

/** In the upper half of an f32 the exponent begins at bit 7. */
function byteMinifloat(f: FunctionBuilder, plan: MinifloatDecode): Widen {
  const { bits, exponentBits, significandBits, signed } = plan;
  const magnitude = (2 ** (exponentBits + significandBits) - 1) * 2 ** (7 - significandBits);
  const mask = f.let(i16x8.splat(signed ? 0x8000 | magnitude : magnitude));
  const [left, half] = f.locals("v128", 2);
  const place = (bytes: Vector) =>
    v128.and(signed ? i16x8.shr_s(bytes, 8 - exponentBits) : i16x8.shr_u(bytes, 9 - exponentBits), mask);
  const { prepare, rebias, finish } = plan.subnormals
    ? addedBias(f, plan, plan.subnormals)
    : { prepare: () => {}, rebias: (x: Vector) => x, finish: multipliedBias(f, plan) };
  return (codes, each) => {
    prepare(codes);
    // No bit leaves its byte: codes have `bits` bits.
    f.set(left, bits === 8 ? codes : i16x8.shl(codes, 8 - bits));
    [low8, high8].forEach((lanes, h) => {
      f.set(half, rebias(place(interleave(zero, left, lanes)), lanes));
      each(2 * h, finish(interleave(zero, half, low16)));
      each(2 * h + 1, finish(interleave(zero, half, high16)));
    });
  };
}

/** A multiplication changes the bias, of subnormal numbers too. */
function multipliedBias(f: FunctionBuilder, { factor }: MinifloatDecode): (x: Vector) => Vector {
  const scale = word(f, factor);
  return (x) => f32x4.mul(x, scale);
}

/** An addition changes the bias as of a normal number; a 16-entry table, zero for all other codes, corrects the rest. */
function addedBias(f: FunctionBuilder, plan: MinifloatDecode, subnormals: readonly number[]) {
  const { bits, significandBits, signed, factor } = plan;
  const base = (factor >>> 16) - (127 << 7);
  const corrections = subnormals.map((half, code) => half ^ (base + (code << (7 - significandBits))));
  const plane = (shift: number) =>
    f.let(v128.const(Uint8Array.from({ length: 16 }, (_, i) => (corrections[i] ?? 0) >>> shift)));
  const [lowTable, highTable] = [plane(0), plane(8)];
  const bias = f.let(i16x8.splat(base));
  const magnitudes = signed ? f.let(i8x16.splat(2 ** (bits - 1) - 1)) : undefined;
  const [index, low, high] = f.locals("v128", 3);
  return {
    prepare(codes: VectorLocal) {
      if (magnitudes) f.set(index, v128.and(codes, magnitudes));
      f.set(low, i8x16.swizzle(lowTable, magnitudes ? index : codes));
      f.set(high, i8x16.swizzle(highTable, magnitudes ? index : codes));
    },
    rebias: (placed: Vector, lanes: readonly number[]): Vector =>
      v128.xor(i16x8.add(placed, bias), interleave(low, high, lanes)),
    finish: (x: Vector): Vector => x,
  };
}

/** Which bytes are codes of infinities and NaN. */
function special(f: FunctionBuilder, plan: MinifloatDecode): ((codes: VectorLocal) => Vector) | undefined {
  const { bits, signed, maxMagnitude, nanAtNegativeZero } = plan;
  const signBit = signed ? 2 ** (bits - 1) : 0;
  const tests: ((codes: VectorLocal) => Vector)[] = [];
  if (maxMagnitude !== undefined) {
    const mask = f.let(i8x16.splat(2 ** (bits - Number(signed)) - 1));
    const most = f.let(i8x16.splat(maxMagnitude));
    tests.push((codes) => i8x16.gt_u(v128.and(codes, mask), most));
  }
  if (nanAtNegativeZero) {
    const nan = f.let(i8x16.splat(signBit));
    tests.push((codes) => i8x16.eq(codes, nan));
  }
  if (tests.length === 0) return undefined;
  return (codes) => tests.map((test) => test(codes)).reduce((a, b) => v128.or(a, b));
}

/** 16-bit codes in i32 lanes to values; special codes are not handled. */
export function wideMinifloat(f: FunctionBuilder, plan: MinifloatDecode): (codes: Vector) => Vector {
  const { bits, exponentBits, significandBits, signed, factor } = plan;
  const magnitude = (2 ** (exponentBits + significandBits) - 1) * 2 ** (23 - significandBits);
  const mask = word(f, signed ? 0x80000000 + magnitude : magnitude);
  const scale = word(f, factor);
  return (codes) => {
    const left = i32x4.shl(codes, 32 - bits);
    const moved = signed ? i32x4.shr_s(left, 8 - exponentBits) : i32x4.shr_u(left, 9 - exponentBits);
    return f32x4.mul(v128.and(moved, mask), scale);
  };
}

function wordMinifloat(f: FunctionBuilder, plan: MinifloatDecode, table: Expression<"i32">): LaneDecoder {
  const { bits, signed, maxMagnitude = 2 ** (bits - Number(signed)), nanAtNegativeZero } = plan;
  const value = wideMinifloat(f, plan);
  const slow = tableRuns(f, 2, table);
  const magnitudeMask = word(f, 2 ** (bits - Number(signed)) - 1);
  const most = word(f, maxMagnitude);
  const negativeZero = word(f, 2 ** (bits - 1));
  const [a, b] = f.locals("v128", 2);
  const words = f.locals("v128", 4);
  const isSpecial = (codes: VectorLocal) => {
    const beyond = i32x4.gt_s(v128.and(codes, magnitudeMask), most);
    return nanAtNegativeZero ? v128.or(beyond, i32x4.eq(codes, negativeZero)) : beyond;
  };
  return {
    run: 16,
    decode(address, each) {
      f.set(a, v128.load(address));
      f.set(b, v128.load(address, 16));
      f.set(words[0], i32x4.extend_low_i16x8_u(a));
      f.set(words[1], i32x4.extend_high_i16x8_u(a));
      f.set(words[2], i32x4.extend_low_i16x8_u(b));
      f.set(words[3], i32x4.extend_high_i16x8_u(b));
      f.if(
        v128.any_true(words.map(isSpecial).reduce<Vector>((x, y) => v128.or(x, y), zero)),
        () => slow.decode(address, each),
        () => {
          words.forEach((codes, i) => {
            each(i, value(codes));
          });
        },
      );
    },
  };
}

function byteInteger(f: FunctionBuilder, plan: IntegerDecode): Widen {
  const { bits, signed, offset, fractionBits } = plan;
  const sign = signed && bits < 8 ? f.let(i8x16.splat(2 ** (bits - 1))) : undefined;
  const finish = integerValue(f, offset, fractionBits);
  const [whole, half] = f.locals("v128", 2);
  const widenLow = signed ? i16x8.extend_low_i8x16_s : i16x8.extend_low_i8x16_u;
  const widenHigh = signed ? i16x8.extend_high_i8x16_s : i16x8.extend_high_i8x16_u;
  return (codes, each) => {
    f.set(whole, sign ? i8x16.sub(v128.xor(codes, sign), sign) : codes);
    [widenLow, widenHigh].forEach((widen, h) => {
      f.set(half, widen(whole));
      each(2 * h, finish(i32x4.extend_low_i16x8_s(half)));
      each(2 * h + 1, finish(i32x4.extend_high_i16x8_s(half)));
    });
  };
}

function wordInteger(f: FunctionBuilder, plan: IntegerDecode): LaneDecoder {
  const { bits, signed, offset, fractionBits } = plan;
  const sign = signed && bits < 16 ? f.let(i16x8.splat(2 ** (bits - 1))) : undefined;
  const finish = integerValue(f, offset, fractionBits);
  const whole = f.local("v128");
  const [low, high] = signed
    ? [i32x4.extend_low_i16x8_s, i32x4.extend_high_i16x8_s]
    : [i32x4.extend_low_i16x8_u, i32x4.extend_high_i16x8_u];
  return wordRuns(f, (codes, each) => {
    f.set(whole, sign ? i16x8.sub(v128.xor(codes, sign), sign) : codes);
    each(0, finish(low(whole)));
    each(1, finish(high(whole)));
  });
}

function integerValue(f: FunctionBuilder, offset: number, fractionBits: number): (q: Vector) => Vector {
  const zeroPoint = offset === 0 ? undefined : word(f, offset);
  const unit = fractionBits === 0 ? undefined : f.let(f32x4.splat(f32.const(2 ** -fractionBits)));
  return (q) => {
    const value = f32x4.convert_i32x4_s(zeroPoint ? i32x4.sub(q, zeroPoint) : q);
    return unit ? f32x4.mul(value, unit) : value;
  };
}
