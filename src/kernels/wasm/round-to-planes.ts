/** Rounding activations to planes of bits, one block after another: what count-bits.ts reads. */
import { largestLevel, smallestAmax } from "../int8.js";
import type { BitLayout } from "./bit-planes.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, select, v128 } from "./instructions.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import { overLanes, totalOf, zeroVector } from "./lanes.js";

type RoundField = "x" | "planes" | "scales" | "sums" | "ones" | "scratch" | "scratchBytes";

/** Items: blocks of rows. planes: for every 32 columns a word of each plane; scales, sums and ones: d, X, and sum b of each block. */
export const roundToPlanes: KernelSignature<RoundField> = {
  name: "roundToPlanes",
  fields: ["x", "planes", "scales", "sums", "ones", "scratch", "scratchBytes"],
  writes: ["planes", "scales", "sums", "ones", "scratch"],
  reads: ["x"],
};

/** Bytes of a row's planes. */
export const planesBytes = ({ blocks, words, bits }: BitLayout): number => 4 * blocks * words * bits;

export function emitRoundToPlanes(
  f: FunctionBuilder,
  layout: BitLayout,
  args: Fields<RoundField>,
  { from, to, thread }: Range,
): void {
  const { columns, blocks, blockColumns, words, bits } = layout;
  const { x, planes, scales, sums, ones } = args;
  const [item, at, word] = f.locals("i32", 3);
  const codes = f.let(i32.add(args.scratch, i32.mul(thread, args.scratchBytes)));
  const block = { codes, sum: f.local("i32"), ones: f.local("i32"), scale: f.local("f32"), count: f.local("i32") };
  f.for(item, from, to, 1, () => {
    const row = f.let(i32.div_u(item, blocks));
    const start = f.let(i32.mul(i32.sub(item, i32.mul(row, blocks)), blockColumns));
    f.set(block.count, i32.sub(columns, start));
    f.if(i32.gt_u(block.count, blockColumns), () => f.set(block.count, blockColumns));
    const source = f.let(i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)));
    for (let i = 0; i < 2 * words; i++) f.emit(v128.store(codes, zeroVector, 16 * i));
    if (bits === 1) emitSigns(f, source, block);
    else emitLevels(f, largestLevel(bits), source, block);
    f.set(at, i32.shl(item, 2));
    f.emit(
      f32.store(i32.add(scales, at), block.scale),
      i32.store(i32.add(sums, at), block.sum),
      i32.store(i32.add(ones, at), block.ones),
    );
    const target = f.let(i32.add(planes, i32.mul(item, 4 * words * bits)));
    const read = f.let(codes);
    f.repeat(word, words, () => {
      for (let half = 0; half < 2; half++) {
        const bytes = f.let(v128.load(read, 16 * half));
        for (let plane = 0; plane < bits; plane++) {
          f.emit(i32.store16(target, i8x16.bitmask(i8x16.shl(bytes, 7 - plane)), 4 * plane + 2 * half));
        }
      }
      f.advance(read, 32);
      f.advance(target, 4 * bits);
    });
  });
}

interface RoundedBlock {
  /** Where the block's rounded numbers go, a byte each. */
  readonly codes: Local<"i32">;
  readonly count: Local<"i32">;
  readonly scale: Local<"f32">;
  readonly sum: Local<"i32">;
  readonly ones: Local<"i32">;
}

const narrow = (v: Expression<"v128">) => i8x16.narrow_i16x8_s(i16x8.narrow_i32x4_s(v, v), zeroVector);

const sumOf = (v: Local<"v128">) => {
  const lane = (i: number) => i32x4.extract_lane(v, i);
  return i32.add(i32.add(lane(0), lane(1)), i32.add(lane(2), lane(3)));
};

/** Calls `body` with the vectors of a block, zero beyond its end, and where their codes go. */
function overBlock(
  f: FunctionBuilder,
  source: Local<"i32">,
  { codes, count }: RoundedBlock,
  body: (value: Expression<"v128">, to: Expression<"i32">, mask?: Local<"v128">) => void,
): void {
  overLanes(f, count, (offset, mask) => {
    const loaded = v128.load(i32.add(source, offset));
    body(mask ? v128.and(loaded, mask) : loaded, i32.add(codes, i32.shr_u(offset, 2)), mask);
  });
}

/** d = amax / L, q = nearest(x L / amax). */
function emitLevels(f: FunctionBuilder, levels: number, source: Local<"i32">, block: RoundedBlock): void {
  const largest = f.let(zeroVector);
  overBlock(f, source, block, (value) => f.set(largest, f32x4.max(largest, f32x4.abs(value))));
  const lane = (i: number) => f32x4.extract_lane(largest, i);
  const amax = f.let(f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3))));
  const inverse = f.let(f32x4.splat(select(f32.div(levels, amax), f32.const(0), f32.gt(amax, smallestAmax))));
  const [v, total] = [f.local("v128"), f.let(zeroVector)];
  overBlock(f, source, block, (value, to) => {
    f.set(v, i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(value, inverse))));
    f.set(total, i32x4.add(total, v));
    f.emit(v128.store32_lane(to, f.let(narrow(v)), 0));
  });
  f.set(block.scale, f32.div(amax, levels));
  f.set(block.sum, sumOf(total));
}

/** d = mean |x|, b = 0 where x < 0, else 1. */
function emitSigns(f: FunctionBuilder, source: Local<"i32">, block: RoundedBlock): void {
  const [v, magnitudes, total] = [f.local("v128"), f.let(zeroVector), f.let(zeroVector)];
  const one = f.let(i32x4.splat(1));
  overBlock(f, source, block, (value, to, mask) => {
    f.set(v, value);
    f.set(magnitudes, f32x4.add(magnitudes, f32x4.abs(v)));
    const bit = i32x4.add(one, f32x4.lt(v, zeroVector));
    f.set(v, mask ? v128.and(bit, mask) : bit);
    f.set(total, i32x4.add(total, v));
    f.emit(v128.store32_lane(to, f.let(narrow(v)), 0));
  });
  f.set(block.scale, f32.div(totalOf(magnitudes), f32.convert_i32_u(block.count)));
  f.set(block.ones, sumOf(total));
  f.set(block.sum, i32.sub(i32.shl(block.ones, 1), block.count));
}
