/**
 * Kernels that quantize blocks of 32 f32 to packed codes and a scale, in one pass over memory: the largest magnitude, the
 * scale, the codes. Byte for byte what the scheme's own rule gives.
 */
import { bitsOfF32, f32OfBits } from "../../formats/binary64.js";
import type { Lowering, Scheme } from "../../formats/index.js";
import type { Expression, Func, FunctionBuilder, Local, ModuleBuilder } from "../wasm/emitter.js";
import { call } from "../wasm/emitter.js";
import { f32, f32x4, i8x16, i32, i32x4, select, v128 } from "../wasm/instructions.js";
import { laneEncoder, laneEncoding } from "./encode.js";
import { narrowBytes, packNibbles } from "./pack.js";

export const BLOCK = 32;

/** Whether there is a block kernel for the scheme: blocks of 32, codes of 4 or 8 bits, a known rule. */
export function hasBlockKernel(scheme: Scheme): boolean {
  const { lowering, element, scale } = scheme;
  if (!lowering || scale?.per !== BLOCK || (element.bits !== 4 && element.bits !== 8)) return false;
  if (lowering.kind === "extreme") return element.bits === 4;
  const known = laneEncoding(element, { overflow: "saturate", rounding: lowering.rounding });
  return known !== undefined && scale.format.name === "e8m0" && powerTable(lowering) !== undefined;
}

/**
 * For every exponent of f32: the scale's code at the start of its binade, and the trailing significand from which it is one
 * more, (code << 24) | threshold; undefined if the rule moves otherwise within a binade.
 */
export function powerTable({ scaleCode }: Extract<Lowering, { kind: "power-of-two" }>): Int32Array | undefined {
  const table = new Int32Array(256);
  for (let exponent = 0; exponent < 255; exponent++) {
    const at = (trailing: number) => scaleCode(f32OfBits(exponent * 2 ** 23 + trailing));
    const first = exponent === 0 ? at(1) : at(0);
    const last = at(0x7fffff);
    if (last !== first && last !== first + 1) return undefined;
    let [below, above] = [0, 0x800000];
    while (last !== first && above - below > 1) {
      const middle = (below + above) >> 1;
      if (at(middle) === first) below = middle;
      else above = middle;
    }
    // 0xffffff: never.
    table[exponent] = (first << 24) | (last === first ? 0xffffff : above);
  }
  return table;
}

/** Loads eight vectors and leaves their lanewise largest magnitude's bits in `amax`. */
function loadBlock(f: FunctionBuilder, from: Local<"i32">, lanes: readonly Local<"v128">[], amax: Local<"v128">): void {
  const magnitude = (x: Expression<"v128">) => v128.and(x, i32x4.splat(0x7fffffff));
  lanes.forEach((lane, i) => {
    f.set(lane, v128.load(from, 16 * i));
    // Magnitudes of f32 are ordered like their bits; NaN lies above infinity and is found by the caller.
    f.set(amax, i === 0 ? magnitude(lane) : i32x4.max_s(amax, magnitude(lane)));
  });
}

/** The largest of four i32 lanes. */
function largestLane(f: FunctionBuilder, lanes: Local<"v128">): Expression<"i32"> {
  f.set(lanes, i32x4.max_s(lanes, i8x16.shuffle(lanes, lanes, [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7])));
  f.set(lanes, i32x4.max_s(lanes, i8x16.shuffle(lanes, lanes, [4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11])));
  return i32x4.extract_lane(lanes, 0);
}

const parameters = { from: "i32", codes: "i32", scales: "i32", blocks: "i32", table: "i32" } as const;

/** Adds "quantize" for the scheme; it returns the number of blocks done before one that the rule itself must judge. */
export function defineBlockKernel(m: ModuleBuilder, scheme: Scheme): void {
  const { lowering, element } = scheme;
  if (lowering?.kind === "extreme") defineExtreme(m, lowering.half);
  else if (lowering?.kind === "power-of-two") definePowerOfTwo(m, scheme, lowering);
  else throw new Error(`${element.name} has no block kernel`);
}

function definePowerOfTwo(
  m: ModuleBuilder,
  { element }: Scheme,
  lowering: Extract<Lowering, { kind: "power-of-two" }>,
): void {
  const encoding = laneEncoding(element, { overflow: "saturate", rounding: lowering.rounding });
  if (!encoding) throw new Error(`${element.name} has no lane encoding`);
  m.func("quantize", parameters, "i32", (f, { from, codes, scales, blocks, table }) => {
    const [block, amaxBits, entry, code] = f.locals("i32", 4);
    const [amax, seen, inverse, x] = f.locals("v128", 4);
    const encodeLanes = laneEncoder(f, encoding, seen);
    const size = element.bits === 4 ? 16 : 32;
    f.for(block, 0, blocks, 1, () => {
      // The block is read twice rather than held in registers: there are too few, and it lies in the first cache.
      for (let i = 0; i < 8; i++) {
        const magnitude = v128.and(v128.load(from, 16 * i), i32x4.splat(0x7fffffff));
        f.set(amax, i === 0 ? magnitude : i32x4.max_s(amax, magnitude));
      }
      f.set(amaxBits, largestLane(f, amax));
      f.if(i32.ge_u(amaxBits, 0x7f800000), () => f.return(block));
      f.set(entry, i32.load(i32.add(table, i32.shl(i32.shr_u(amaxBits, 23), 2))));
      f.set(code, i32.shr_u(entry, 24));
      const steps = i32.ge_u(i32.and(amaxBits, 0x7fffff), i32.and(entry, 0xffffff));
      f.set(code, i32.add(code, steps));
      f.set(code, select(code as Expression<"i32">, i32.const(0), amaxBits));
      f.emit(i32.store8(scales, code));
      // 2^(127 - code); below code 254 a normal f32, and 2^-127 at 254; 2^127 twice would not be one number at code 0.
      const power = i32.shl(i32.sub(254, code), 23);
      f.set(
        inverse,
        f32x4.splat(f32.reinterpret_i32(select(power, i32.const(bitsOfF32(2 ** -127)), i32.ne(code, 254)))),
      );
      const scaled = (i: number) => {
        f.set(x, f32x4.mul(v128.load(from, 16 * i), inverse));
        return encodeLanes(x);
      };
      const bytes = (half: number) => narrowBytes(f, (i) => scaled(4 * half + i));
      emitCodes(f, element.bits, codes, bytes, lowering.positiveZero);
      f.advance(from, 4 * BLOCK);
      f.advance(codes, size);
      f.advance(scales, 1);
    });
    return blocks;
  });
}

/** Stores 32 codes given as two vectors of bytes. */
function emitCodes(
  f: FunctionBuilder,
  bits: number,
  to: Local<"i32">,
  bytes: (half: number) => Local<"v128">,
  positiveZero: boolean,
): void {
  const negativeZero = i8x16.splat(2 ** (bits - 1));
  const plain = (v: Local<"v128">) => (positiveZero ? v128.andnot(v, i8x16.eq(v, negativeZero)) : v);
  const low = f.let(plain(bytes(0)));
  const high = f.let(plain(bytes(1)));
  if (bits === 4) f.emit(v128.store(to, packNibbles(low, high)));
  else f.emit(v128.store(to, low), v128.store(to, high, 16));
}

function defineExtreme(m: ModuleBuilder, half: number): void {
  const f16 = defineF16(m);
  m.func("quantize", parameters, "i32", (f, { from, codes, scales, blocks }) => {
    const [block, highest, lowest, code] = f.locals("i32", 4);
    const [d, inverse, extreme] = f.locals("f32", 3);
    const [low, high, factor, x, a] = f.locals("v128", 5);
    const lanes = f.locals("v128", 8);
    f.for(block, 0, blocks, 1, () => {
      loadBlock(f, from, lanes, a);
      f.set(highest, largestLane(f, a));
      f.if(i32.ge_u(highest, 0x7f800000), () => f.return(block));
      // The largest magnitude with its sign; where both signs reach it, the first element that does.
      f.set(low, lanes[0]);
      f.set(high, lanes[0]);
      for (const lane of lanes.slice(1)) {
        f.set(low, f32x4.min(low, lane));
        f.set(high, f32x4.max(high, lane));
      }
      f.set(extreme, f32.reinterpret_i32(highest));
      f.set(lowest, i32.const(0));
      const reaches = (v: Expression<"v128">, magnitude: Expression<"f32">) =>
        v128.any_true(f32x4.eq(v, f32x4.splat(magnitude)));
      const positive = f.let(reaches(high, extreme));
      const negative = f.let(reaches(low, f32.neg(extreme)));
      f.if(
        i32.and(positive, negative),
        () => {
          const at = f.local("i32");
          f.set(at, from);
          f.loop((next) => {
            f.set(lowest, i32.load(at));
            f.advance(at, 4);
            f.branchIf(next, i32.ne(i32.and(lowest, 0x7fffffff), highest));
          });
          f.set(extreme, f32.reinterpret_i32(lowest));
        },
        () => f.if(negative, () => f.set(extreme, f32.neg(extreme))),
      );
      f.set(d, f32.mul(extreme, -1 / half));
      f.set(inverse, f32.div(1, d));
      // Where 1 / d is no number that ggml could use (d = 0 or tiny) it counts as 0.
      f.if(i32.eqz(f32.lt(f32.abs(inverse), Infinity)), () => f.set(inverse, 0));
      f.set(code, call(f16, { bits: i32.reinterpret_f32(d) }));
      f.if(i32.eq(i32.and(code, 0x7fff), 0x7c00), () => f.return(block));
      f.emit(i32.store16(scales, code));
      f.set(factor, f32x4.splat(inverse));
      const rounded = (i: number) => {
        f.set(x, f32x4.add(f32x4.mul(lanes[i], factor), f32x4.splat(half + 0.5)));
        return i32x4.min_s(i32x4.trunc_sat_f32x4_s(x), i32x4.splat(2 * half - 1));
      };
      emitCodes(f, 4, codes, (part) => narrowBytes(f, (i) => rounded(4 * part + i)), false);
      f.advance(from, 4 * BLOCK);
      f.advance(codes, 16);
      f.advance(scales, 2);
    });
    return blocks;
  });
}

/** Nearest-even from the bits of a number that is not NaN to f16; as f16OfF32Bits in formats/casts.ts. */
function defineF16(m: ModuleBuilder): Func<{ readonly bits: "i32" }, "i32"> {
  return m.func("$f16", { bits: "i32" }, "i32", (f, { bits }) => {
    const sign = f.let(i32.and(i32.shr_u(bits, 16), 0x8000));
    const a = f.let(i32.and(bits, 0x7fffffff));
    f.if(i32.ge_u(a, 0x477ff000), () => f.return(i32.or(sign, 0x7c00)));
    f.if(i32.ge_u(a, 0x38800000), () => {
      const odd = i32.and(i32.shr_u(a, 13), 1);
      f.return(i32.or(sign, i32.shr_u(i32.add(i32.add(i32.sub(a, 0x38000000), 0xfff), odd), 13)));
    });
    // Below the normal range f32's own rounding at 2^-24: adding 1/2 puts its last bit there.
    const magic = bitsOfF32(0.5);
    return i32.or(sign, i32.sub(i32.reinterpret_f32(f32.add(f32.reinterpret_i32(a), 0.5)), magic));
  });
}
