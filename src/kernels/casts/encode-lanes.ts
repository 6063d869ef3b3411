/** Four f32 lanes to four codes in i32 lanes, for each kind of plan (encode-plan.ts). */
import type { FunctionBuilder, Local } from "../wasm/emitter.js";
import { detectFeatures } from "../wasm/features.js";
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from "../wasm/instructions.js";
import type { ElementEncode, IntegerEncode, LadderEncode, MinifloatEncode, PrefixEncode } from "./encode-plan.js";
import { absMask, infinityBits, powerBits, type Vector, type VectorLocal, word } from "./lanes.js";

export interface LaneEncoder {
  /** The codes of four values, or their ranks where `finish` turns ranks into codes. */
  lanes(x: VectorLocal): Vector;
  /** Applied to sixteen codes narrowed to bytes. */
  finish(bytes: Vector): Vector;
  /** A faster way for sixteen values at once, to codes in bytes. */
  bytes?(x: readonly Vector[]): Vector;
}

export interface LaneContext {
  /** The values are known to be numbers. */
  readonly noNaN?: boolean;
  /** The values are known not to be negative. */
  readonly nonNegative?: boolean;
  /** Negative values that round to zero become +0. */
  readonly positiveZero?: boolean;
  /** Receives the largest magnitude bits seen where NaN has no code: beyond those of infinity, the reference must speak. */
  readonly worst?: VectorLocal;
  /** Where the words of an element table lie (`encodeTableWords`), for plans of that kind. */
  readonly table?: Local<"i32">;
}

const asIs = (bytes: Vector) => bytes;
const notByLane = (): Vector => {
  throw new Error("this plan encodes sixteen values at a time");
};

/** Emits code into `f` for each use. */
export function laneEncoder(f: FunctionBuilder, plan: ElementEncode, context: LaneContext = {}): LaneEncoder {
  switch (plan.kind) {
    case "table":
      if (!context.table) throw new Error("a table plan needs its table");
      return { lanes: tableLanes(f, context.table), finish: asIs };
    case "minifloat":
      return plan.bits <= 8 && !context.nonNegative
        ? { lanes: notByLane, finish: asIs, bytes: minifloatBytes(f, plan, context) }
        : { lanes: minifloatLanes(f, plan, context), finish: asIs };
    case "prefix":
      return { lanes: prefixLanes(f, plan, context), finish: asIs };
    case "integer":
      return { lanes: integerLanes(f, plan, context), finish: asIs };
    case "ladder":
      return { lanes: ladderLanes(f, plan, context), finish: ladderCodes(f, plan) };
  }
}

/** Replaces the codes of NaN, or records that there was one. */
function nanGuard(f: FunctionBuilder, nan: number | undefined, { noNaN, worst }: LaneContext) {
  if (noNaN) return (codes: Vector, _magnitude: Vector) => codes;
  const limit = word(f, infinityBits);
  if (nan === undefined) {
    return (codes: Vector, magnitude: Vector) => {
      if (worst) f.set(worst, i32x4.max_s(worst, magnitude));
      return codes;
    };
  }
  const code = word(f, nan);
  return (codes: Vector, magnitude: Vector) => v128.bitselect(code, codes, i32x4.gt_s(magnitude, limit));
}

/**
 * Adding 2^(e + 23 - M) to a magnitude with exponent e leaves the nearest multiple of 2^(e - M) in the last bits of the
 * sum, ties to even; below the least normal exponent the step stays what it is there, which rounds subnormals too. The
 * exponents above the least one then count in the code from bit M on.
 */
function minifloatLanes(f: FunctionBuilder, plan: MinifloatEncode, context: LaneContext) {
  const { bits, significandBits, minExponent, clamp, nan } = plan;
  const magnitudeMask = word(f, absMask);
  const limit = word(f, clamp);
  const exponentMask = word(f, infinityBits);
  const least = word(f, powerBits(minExponent));
  const toStep = word(f, (23 - significandBits) << 23);
  const guard = nanGuard(f, nan, context);
  const [a, cut, base, step, code] = f.locals("v128", 5);
  const withSign = signSetter(f, bits, plan.negativeZero && !context.positiveZero);
  return (x: VectorLocal): Vector => {
    f.set(a, context.nonNegative ? x : v128.and(x, magnitudeMask));
    f.set(cut, i32x4.min_s(a, limit));
    f.set(base, i32x4.max_s(v128.and(cut, exponentMask), least));
    f.set(step, i32x4.add(base, toStep));
    const significand = i32x4.sub(f32x4.add(cut, step), step);
    const exponent = i32x4.shr_u(i32x4.sub(base, least), 23 - significandBits);
    f.set(code, i32x4.add(significand, exponent));
    return guard(context.nonNegative ? code : withSign(code, x), a);
  };
}

/**
 * The same with signs and NaN handled in bytes. In the sum the upper half of a lane counts exponents in units of 2^7 and
 * the lower half steps; one dot product adds them up to code * 2^(7 - M) and a constant.
 */
function minifloatBytes(f: FunctionBuilder, plan: MinifloatEncode, context: LaneContext) {
  const { bits, significandBits, minExponent, clamp, nan } = plan;
  const magnitudeMask = word(f, absMask);
  const limit = word(f, clamp);
  const exponentMask = word(f, infinityBits);
  const least = word(f, powerBits(minExponent));
  const addStep = stepAdder(f, 23 - significandBits);
  const origin = f.let(i16x8.splat((powerBits(minExponent) + (addStep.shift << 23)) >>> 16));
  const units = word(f, (2 ** (7 - significandBits)) | (1 << 16));
  const signBit = f.let(i8x16.splat(2 ** (bits - 1)));
  const negativeZero = plan.negativeZero && !context.positiveZero;
  const [cut, base, first, upper, signs, magnitude, result] = f.locals("v128", 7);
  const cutCode = 2 ** significandBits + ((clamp - powerBits(minExponent)) >>> (23 - significandBits));
  const guard = byteGuard(f, nan, cutCode, context);
  const scaledCode = (value: Vector): Vector => {
    f.set(cut, i32x4.min_s(v128.and(value, magnitudeMask), limit));
    f.set(base, i32x4.max_s(v128.and(cut, exponentMask), least));
    return i32x4.dot_i16x8_s(addStep.sum(cut, base), units);
  };
  const pair = (x: Vector, y: Vector): Vector => {
    f.set(first, scaledCode(x));
    return i16x8.shr_u(i16x8.sub(i16x8.narrow_i32x4_s(first, scaledCode(y)), origin), 7 - significandBits);
  };
  return (x: readonly Vector[]): Vector => {
    f.set(upper, pair(x[0], x[1]));
    f.set(magnitude, i8x16.narrow_i16x8_u(upper, pair(x[2], x[3])));
    f.set(signs, v128.and(bits === 8 ? signBytes(x) : i16x8.shr_u(signBytes(x), 8 - bits), signBit));
    const sign = negativeZero ? signs : v128.andnot(signs, i8x16.eq(magnitude, i8x16.splat(0)));
    f.set(result, v128.or(magnitude, sign));
    guard(magnitude, result, x);
    return result;
  };
}

/**
 * Adds to a magnitude a power of two so much larger, by `bits`, that the last bits of the sum count its steps. Where there is a
 * multiply-add the magnitude is made smaller instead, which saves making the power larger: the product is exact (or
 * so small that it vanishes), so that it does not matter whether it is rounded before it is added.
 */
function stepAdder(f: FunctionBuilder, bits: number) {
  if (detectFeatures().relaxedSimd) {
    const unit = f.let(f32x4.splat(2 ** -bits));
    return { shift: 0, sum: (x: Vector, power: Vector) => f32x4.relaxed_madd(x, unit, power) };
  }
  const larger = word(f, bits << 23);
  return { shift: bits, sum: (x: Vector, power: Vector) => f32x4.add(x, i32x4.add(power, larger)) };
}

/** The sign of every value in the top bit of its byte: saturation keeps it where a free shuffle of bytes is slow. */
function signBytes([a, b, c, d]: readonly Vector[]): Vector {
  return i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(a, b), i16x8.narrow_i32x4_s(c, d));
}

/** As nanGuard, for sixteen codes: NaN is cut like all that is large, so only where something was is there a closer look. */
function byteGuard(f: FunctionBuilder, nan: number | undefined, cutCode: number, { noNaN, worst }: LaneContext) {
  if (noNaN) return () => {};
  const cut = f.let(i8x16.splat(cutCode));
  const magnitudeOf = (x: Vector) => v128.and(x, i32x4.splat(absMask));
  const nanLanes = (x: Vector) => i32x4.gt_s(magnitudeOf(x), i32x4.splat(infinityBits));
  return (magnitude: VectorLocal, codes: VectorLocal, x: readonly Vector[]) =>
    f.if(v128.any_true(i8x16.eq(magnitude, cut)), () => {
      if (nan === undefined) {
        for (const value of x) if (worst) f.set(worst, i32x4.max_s(worst, magnitudeOf(value)));
        return;
      }
      const words = (p: Vector, q: Vector) => i16x8.narrow_i32x4_s(nanLanes(p), nanLanes(q));
      const bytes = i8x16.narrow_i16x8_s(words(x[0], x[1]), words(x[2], x[3]));
      f.set(codes, v128.bitselect(i8x16.splat(nan), codes, bytes));
    });
}

/** The code with the sign of x in its top bit. */
function signSetter(f: FunctionBuilder, bits: number, negativeZero: boolean) {
  const top = word(f, 2 ** (bits - 1));
  const signOf = (x: Vector) => v128.and(bits === 32 ? x : i32x4.shr_u(x, 32 - bits), top);
  if (negativeZero) return (code: VectorLocal, x: Vector) => v128.or(code, signOf(x));
  const zero = word(f, 0);
  return (code: VectorLocal, x: Vector) => v128.or(code, v128.andnot(signOf(x), i32x4.eq(code, zero)));
}

/** Half a step less one bit, plus the last bit kept: carries exactly when nearest-even rounds up. */
function prefixLanes(f: FunctionBuilder, { significandBits, nan }: PrefixEncode, context: LaneContext) {
  const shift = 23 - significandBits;
  const half = word(f, 2 ** (shift - 1) - 1);
  const one = word(f, 1);
  const magnitudeMask = word(f, absMask);
  const guard = nanGuard(f, nan, context);
  return (x: VectorLocal): Vector => {
    const odd = v128.and(i32x4.shr_u(x, shift), one);
    const code = i32x4.shr_u(i32x4.add(i32x4.add(x, half), odd), shift);
    return guard(code, v128.and(x, magnitudeMask));
  };
}

/** Within [min, max], adding 3 * 2^22 leaves the nearest integer, ties to even, in the low bits of the sum. */
function integerLanes(f: FunctionBuilder, plan: IntegerEncode, context: LaneContext) {
  const { bits, min, max, offset, fractionBits, nan } = plan;
  const float = (value: number) => f.let(f32x4.splat(value));
  const [low, high, round] = [float(min), float(max), float(3 * 2 ** 22)];
  const unit = fractionBits !== 0 ? float(2 ** fractionBits) : undefined;
  const shift = offset === 0 ? undefined : word(f, offset);
  const mask = word(f, 2 ** bits - 1);
  const guard = nanGuard(f, nan, context);
  const magnitudeMask = context.noNaN ? undefined : word(f, absMask);
  return (x: VectorLocal): Vector => {
    const scaled = unit ? f32x4.mul(x, unit) : x;
    const sum = f32x4.add(f32x4.pmin(f32x4.pmax(scaled, low), high), round);
    const code = v128.and(shift ? i32x4.add(sum, shift) : sum, mask);
    return magnitudeMask ? guard(code, v128.and(x, magnitudeMask)) : code;
  };
}

function ladderLanes(f: FunctionBuilder, plan: LadderEncode, context: LaneContext) {
  const { signMagnitude, thresholds, nan, bits } = plan;
  const magnitudeMask = word(f, absMask);
  // rank = how many thresholds - 1 lie below the key.
  const below = thresholds.map((threshold) => word(f, threshold - 1));
  const guard = nanGuard(f, nan, context);
  const [key, magnitude, rank] = f.locals("v128", 3);
  const withSign = signMagnitude ? signSetter(f, bits, !context.positiveZero) : undefined;
  return (x: VectorLocal): Vector => {
    f.set(magnitude, v128.and(x, magnitudeMask));
    f.set(key, signMagnitude ? magnitude : v128.xor(x, v128.and(i32x4.shr_s(x, 31), magnitudeMask)));
    f.set(rank, i32x4.splat(0));
    for (const limit of below) f.set(rank, i32x4.sub(rank, i32x4.gt_s(key, limit)));
    return guard(withSign && !context.nonNegative ? withSign(rank, x) : rank, magnitude);
  };
}

/** Each lane by a load; the values are known to be numbers. */
function tableLanes(f: FunctionBuilder, table: Local<"i32">) {
  const [bits, entry] = f.locals("i32", 2);
  const codes = f.local("v128");
  return (x: VectorLocal): Vector => {
    for (let lane = 0; lane < 4; lane++) {
      f.set(bits, i32x4.extract_lane(x, lane));
      f.set(entry, i32.load(i32.add(table, i32.shl(i32.shr_u(bits, 16), 2))));
      f.set(codes, i32x4.replace_lane(codes, lane, tableCode(bits, entry)));
    }
    return codes;
  };
}

/** The code that a table's entry has for an f32 of these bits. */
export function tableCode(bits: Local<"i32">, entry: Local<"i32">) {
  const isHigh = i32.ge_u(i32.and(bits, 0xffff), i32.shr_u(entry, 16));
  return i32.and(i32.shr_u(entry, i32.shl(isHigh, 3)), 0xff);
}

/** From ranks (with the sign in the top bit of the code) to codes; nothing to do where they are the same. */
function ladderCodes(f: FunctionBuilder, { signMagnitude, codes, bits }: LadderEncode) {
  if (codes.every((code, rank) => code === rank)) return asIs;
  const half = 2 ** (bits - 1);
  const code = (rank: number) => codes[rank] ?? 0;
  const table = Uint8Array.from({ length: 16 }, (_, i) =>
    signMagnitude && i >= half ? code(i - half) | half : code(i),
  );
  const order = f.let(v128.const(table));
  return (bytes: Vector) => i8x16.swizzle(order, bytes);
}
