/** Kernels over whole arrays: f32 to unpacked codes and back, codes to bits and back, and the largest magnitude. */
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "../wasm/emitter.js";
import { i8x16, i16x8, i32, i32x4, i64, i64x2, v128 } from "../wasm/instructions.js";
import { codeBytes, laneDecoder } from "./decode-lanes.js";
import type { LaneDecode } from "./decode-plan.js";
import { type LaneEncoder, laneEncoder, tableCode } from "./encode-lanes.js";
import type { EncodePlan } from "./encode-plan.js";
import { absMask, infinityBits, largestLane, type VectorLocal, word } from "./lanes.js";

/** Kernels handle whole runs of this many elements; arrays are padded to them. */
export const run = 16;

const lowWords = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];

/** Emits the encoding of `run` values at `from` to unpacked codes at `to`; `before` may change each vector. */
export function encodeRun(
  f: FunctionBuilder,
  bits: number,
  { lanes, finish, bytes: sixteen }: LaneEncoder,
  before?: (x: VectorLocal) => void,
) {
  if (sixteen) {
    const values = before && f.locals("v128", 4);
    return (from: Local<"i32">, to: Local<"i32">, ahead = 0): void => {
      // Loading a value again where it is used again leaves registers to the constants.
      const loads = [0, 16, 32, 48].map((at) => v128.load(from, 4 * run * ahead + at));
      values?.forEach((value, i) => {
        f.set(value, loads[i]);
        before?.(value);
      });
      f.emit(v128.store(to, sixteen(values ?? loads), run * ahead));
    };
  }
  const x = f.local("v128");
  const codes = f.locals("v128", 4);
  return (from: Local<"i32">, to: Local<"i32">, ahead = 0): void => {
    const at = run * codeBytes(bits) * ahead;
    codes.forEach((code, i) => {
      f.set(x, v128.load(from, 4 * run * ahead + 16 * i));
      before?.(x);
      f.set(code, lanes(x));
    });
    const [a, b, c, d] = codes;
    if (codeBytes(bits) === 1) {
      const bytes = i8x16.narrow_i16x8_u(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
      f.emit(v128.store(to, finish(bytes), at));
    } else if (codeBytes(bits) === 2) {
      f.emit(v128.store(to, i8x16.shuffle(a, b, lowWords), at), v128.store(to, i8x16.shuffle(c, d, lowWords), at + 16));
    } else {
      codes.forEach((code, i) => {
        f.emit(v128.store(to, code, at + 16 * i));
      });
    }
  };
}

/** encode(from, to, count, table): 0, or 1 if there was a NaN that has no code. `count` is a positive multiple of `run`. */
export function defineEncode(m: ModuleBuilder, plan: Exclude<EncodePlan, { kind: "reference" | "copy" }>) {
  const parameters = { from: "i32", to: "i32", count: "i32", table: "i32" } as const;
  return m.func("encode", parameters, "i32", (f, { from, to, count, table }) => {
    const left = f.local("i32");
    if (plan.kind === "table") {
      const failed = f.local("i32");
      const one = tableEncode(f, table, failed);
      f.repeat(left, i32.div_u(count, 4), () => {
        for (let i = 0; i < 4; i++) one(from, to, i);
        f.advance(from, 16);
        f.advance(to, 4);
      });
      return failed;
    }
    const worst = f.local("v128");
    const encode = encodeRun(f, plan.bits, laneEncoder(f, plan, { worst }));
    f.for(left, 0, i32.div_u(count, 2 * run), 1, () => {
      encode(from, to);
      encode(from, to, 1);
      f.advance(from, 8 * run);
      f.advance(to, 2 * run * codeBytes(plan.bits));
    });
    f.if(i32.and(count, run), () => encode(from, to));
    return i32.gt_s(largestLane(f, worst), infinityBits);
  });
}

/**
 * A table entry for the upper half of an f32: low code, high code, and the lower half at which the high one takes over.
 * An entry of all ones refuses the value.
 */
export const refused = 0xffffffff | 0;

function tableEncode(f: FunctionBuilder, table: Local<"i32">, failed: Local<"i32">) {
  const [bits, entry] = f.locals("i32", 2);
  return (from: Local<"i32">, to: Local<"i32">, i: number): void => {
    f.set(bits, i32.load(from, 4 * i));
    f.set(entry, i32.load(i32.add(table, i32.shl(i32.shr_u(bits, 16), 2))));
    f.set(failed, i32.or(failed, i32.eq(entry, refused)));
    f.emit(i32.store8(to, tableCode(bits, entry), i));
  };
}

/** decode(from, to, count, table). `count` is a positive multiple of `run`. */
export function defineDecode(m: ModuleBuilder, plan: LaneDecode) {
  const parameters = { from: "i32", to: "i32", count: "i32", table: "i32" } as const;
  return m.func("decode", parameters, "void", (f, { from, to, count, table }) => {
    const decoder = laneDecoder(f, plan, table);
    f.repeat(f.local("i32"), i32.div_u(count, decoder.run), () => {
      decoder.decode(from, (index, value) => f.emit(v128.store(to, value, 16 * index)));
      f.advance(from, decoder.run * codeBytes(plan.bits));
      f.advance(to, 4 * decoder.run);
    });
  });
}

/** amax(from, count): the bits of the largest magnitude, NaN above all. `count` is a positive multiple of `run`. */
export function defineAmax(m: ModuleBuilder) {
  return m.func("amax", { from: "i32", count: "i32" }, "i32", (f, { from, count }) => {
    const mask = word(f, absMask);
    const most = f.locals("v128", 4);
    f.repeat(f.local("i32"), i32.div_u(count, run), () => {
      most.forEach((m4, i) => {
        f.set(m4, i32x4.max_s(m4, v128.and(v128.load(from, 16 * i), mask)));
      });
      f.advance(from, 4 * run);
    });
    const [a, b, c, d] = most;
    f.set(a, i32x4.max_s(i32x4.max_s(a, b), i32x4.max_s(c, d)));
    return largestLane(f, a);
  });
}

/**
 * pack(from, to, count): unpacked codes of `bits` < 8 bits to packed ones, and unpack(from, to, count) back. Eight codes
 * make `bits` bytes; `count` is a positive multiple of `run`.
 */
export function definePacking(m: ModuleBuilder, bits: number) {
  const parameters = { from: "i32", to: "i32", count: "i32" } as const;
  const pack = m.func("pack", parameters, "void", (f, { from, to, count }) => {
    if (bits === 4) packNibbles(f, from, to, count);
    else
      byEights(f, count, () => {
        storeBytes(f, to, packEight(f, from, bits), bits);
        f.advance(from, 8);
        f.advance(to, bits);
      });
  });
  const unpack = m.func("unpack", parameters, "void", (f, { from, to, count }) => {
    if (bits === 4) unpackNibbles(f, from, to, count);
    else
      byEights(f, count, () => {
        f.emit(i64.store(to, unpackEight(f, from, bits)));
        f.advance(from, bits);
        f.advance(to, 8);
      });
  });
  return { pack, unpack };
}

/** The lowest `count` bytes of a word, and no byte after them: another thread may be writing there. */
function storeBytes(f: FunctionBuilder, to: Local<"i32">, word: Local<"i64">, count: number): void {
  let at = 0;
  for (const [size, store] of [[4, i64.store32] as const, [2, i64.store16] as const, [1, i64.store8] as const]) {
    if ((count & size) === 0) continue;
    f.emit(store(to, at === 0 ? word : i64.shr_u(word, i64.const(8 * at)), at));
    at += size;
  }
}

function byEights(f: FunctionBuilder, count: Local<"i32">, body: () => void): void {
  f.repeat(f.local("i32"), i32.div_u(count, 8), body);
}

function packNibbles(f: FunctionBuilder, from: Local<"i32">, to: Local<"i32">, count: Local<"i32">): void {
  const low = f.let(i16x8.splat(0xff));
  const pairs = f.local("v128");
  f.repeat(f.local("i32"), i32.div_u(count, run), () => {
    f.set(pairs, v128.load(from));
    f.set(pairs, v128.and(v128.or(pairs, i16x8.shr_u(pairs, 4)), low));
    f.emit(v128.store64_lane(to, i8x16.narrow_i16x8_u(pairs, pairs), 0));
    f.advance(from, 16);
    f.advance(to, 8);
  });
}

function unpackNibbles(f: FunctionBuilder, from: Local<"i32">, to: Local<"i32">, count: Local<"i32">): void {
  const unpacked = runUnpacker(f, 4);
  f.repeat(f.local("i32"), i32.div_u(count, run), () => {
    f.emit(v128.store(to, unpacked(from)));
    f.advance(from, 8);
    f.advance(to, 16);
  });
}

/** Reads a run of codes of less than 8 bits, packed, as bytes. */
export function runUnpacker(f: FunctionBuilder, bits: number): (from: Local<"i32">) => Expression<"v128"> {
  if (bits === 4) {
    const mask = f.let(i8x16.splat(15));
    const pairs = f.local("v128");
    return (from) => {
      f.set(pairs, v128.load8x8_u(from));
      return v128.and(v128.or(pairs, i16x8.shl(pairs, 4)), mask);
    };
  }
  return (from) => {
    const low = unpackEight(f, from, bits);
    const high = unpackEight(f, f.let(i32.add(from, bits)), bits);
    return i64x2.replace_lane(i64x2.splat(low), 1, high);
  };
}

/** Masks of the lower half of every field of `width` bits, filled up to `used` bits. */
function fields(width: number, used: number): { low: bigint; high: bigint } {
  let low = 0n;
  const ones = (1n << BigInt(used)) - 1n;
  for (let at = 0; at < 64; at += 2 * width) low |= ones << BigInt(at);
  return { low, high: low << BigInt(width) };
}

/** Eight bytes of `bits` bits side by side: pairs, then pairs of pairs, then the two halves move together. */
function packEight(f: FunctionBuilder, from: Local<"i32">, bits: number) {
  const x = f.local("i64");
  f.set(x, i64.load(from));
  for (const [width, used] of [8, 16, 32].map((width, step) => [width, bits << step])) {
    const { low, high } = fields(width, used);
    f.set(x, i64.or(i64.and(x, i64.const(low)), i64.shr_u(i64.and(x, i64.const(high)), i64.const(width - used))));
  }
  return x;
}

function unpackEight(f: FunctionBuilder, from: Local<"i32">, bits: number) {
  const x = f.local("i64");
  f.set(x, i64.load(from));
  for (const [width, used] of [32, 16, 8].map((width, step) => [width, bits << (2 - step)])) {
    const { low } = fields(width, used);
    const high = low << BigInt(used);
    f.set(x, i64.or(i64.and(x, i64.const(low)), i64.shl(i64.and(x, i64.const(high)), i64.const(width - used))));
  }
  return x;
}
