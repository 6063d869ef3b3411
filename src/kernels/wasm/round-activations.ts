/**
 * Rounding activations to int8 as int8.ts defines it. The rows of a tile lie side by side: first the 32 bits of the first k of
 * every row, then those of the next k, and so on, and likewise the scales and sums of each block. A tile then reads one
 * sequential stream. Rows to be read alone are tiles of height 1.
 *
 * Blocks that fill whole vectors and are finite go fast: the largest magnitude is found among bits, whose order is that of the
 * numbers, and adding 1.5 * 2^23 rounds to the nearest integer, ties to even, and leaves it in the low bits. Others (a short
 * block at a row's end, NaN, infinity) take the long way, which leaves 0 for what is no number.
 */
import { smallestAmax } from "../int8.js";
import type { ByteDot } from "./byte-dot.js";
import type { Expression, FunctionBuilder, Label, Local } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, select, v128 } from "./instructions.js";
import { sumFactor } from "./int8-layout.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import { overLanes, totalOf, zeroVector } from "./lanes.js";
import type { Layout } from "./layout.js";
import { type Tiling, tilePlace } from "./tile.js";

/** Items: blocks of rows. q: rounded activations; scales and sums: d and X of each block, X times sumFactor. */
export const roundRows: KernelSignature<
  "x" | "columns" | "blocks" | "blockColumns" | "paddedBlock" | "q" | "scales" | "sums" | keyof Tiling
> = {
  name: "roundRows",
  fields: ["x", "columns", "blocks", "blockColumns", "paddedBlock", "q", "scales", "sums", "height", "tallRows"],
  writes: ["q", "scales", "sums"],
  reads: ["x"],
};

/** Bytes of one rounded activation. */
export function activationBytes({ arithmetic }: ByteDot): number {
  return arithmetic === "relaxed" ? 1 : 2;
}

/** What the kernel is made for: blocks of so many columns, stored as so many, and the arithmetic that meets them. */
interface Blocks {
  readonly blockColumns: number;
  readonly paddedBlock: number;
  readonly offset: Layout["offset"];
  readonly dot: ByteDot;
}

/** A block in hand. */
interface Block {
  /** Where it is read, and where its words go, `stride` bytes apart. */
  readonly source: Local<"i32">;
  readonly target: Local<"i32">;
  readonly stride: Local<"i32">;
  /** Results: the largest magnitude (the mean one of signs), and the sum of the rounded numbers. */
  readonly amax: Local<"f32">;
  readonly sum: Local<"i32">;
}

export function emitRoundRows(
  f: FunctionBuilder,
  layout: Blocks,
  args: Fields<(typeof roundRows.fields)[number]>,
  { from, to }: Range,
): void {
  const { x, columns, blocks, q, scales, sums } = args;
  const { blockColumns, paddedBlock, dot } = layout;
  const factor = sumFactor(layout);
  const fours = (paddedBlock / 4) * wordsOf(dot);
  const [item, row, block, count, target, at, source, stride, sum] = f.locals("i32", 9);
  const amax = f.local("f32");
  const place = tilePlace(f, args, row);
  const hand: Block = { source, target, stride, amax, sum };
  const whole = blockColumns % 16 === 0 && blockColumns === paddedBlock && !dot.signs;
  f.set(row, i32.div_u(from, blocks));
  f.set(block, i32.sub(from, i32.mul(row, blocks)));
  const { first, height, within } = place();
  f.for(item, from, to, 1, () => {
    f.if(i32.eq(block, blocks), () => {
      f.set(block, 0);
      f.advance(row, 1);
      place();
    });
    const start = f.let(i32.mul(block, blockColumns));
    f.set(count, i32.sub(columns, start));
    f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
    f.set(source, i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)));
    // Blocks of the same height and row before this one, in the tile.
    f.set(at, i32.add(i32.mul(first, blocks), i32.mul(block, height)));
    f.set(target, i32.add(q, i32.shl(i32.add(i32.mul(at, fours), within), 2)));
    f.set(stride, i32.shl(height, 2));
    f.block((done) => {
      if (whole) f.if(i32.eq(count, blockColumns), () => emitWholeBlock(f, layout, hand, done));
      emitBlock(f, layout, hand, count);
    });
    f.set(at, i32.shl(i32.add(at, within), 2));
    f.emit(f32.store(i32.add(scales, at), f32.div(amax, dot.levels)));
    f.emit(i32.store(i32.add(sums, at), factor === 1 ? sum : i32.mul(sum, factor)));
    f.advance(block, 1);
  });
}

/** Words of 32 bits that hold four activations of a row. */
const wordsOf = (dot: ByteDot) => activationBytes(dot);

const inverseOf = (amax: Local<"f32">, { levels }: ByteDot) =>
  select(f32.div(levels, amax), f32.const(0), f32.gt(amax, smallestAmax));

/** A block of any length, of any numbers. */
function emitBlock(f: FunctionBuilder, { paddedBlock, dot }: Blocks, hand: Block, count: Local<"i32">): void {
  const { source, target, stride, amax, sum } = hand;
  const [v, largest, total] = f.locals("v128", 3);
  const inverse = f.local("f32");
  const left = f.local("i32");
  const relaxed = dot.arithmetic === "relaxed";
  const values = (offset: Local<"i32">, mask?: Local<"v128">) => {
    const loaded = v128.load(i32.add(source, offset));
    return mask ? v128.and(loaded, mask) : loaded;
  };
  const words = (emit: (word: number) => void) => {
    for (let word = 0; word < wordsOf(dot); word++) {
      emit(word);
      f.advance(target, stride);
    }
  };
  f.set(largest, zeroVector);
  const gathered = dot.signs ? f32x4.add : f32x4.max;
  overLanes(f, count, (offset, mask) => f.set(largest, gathered(largest, f32x4.abs(values(offset, mask)))));
  const lane = (i: number) => f32x4.extract_lane(largest, i);
  if (dot.signs) f.set(amax, f32.div(totalOf(largest), f32.convert_i32_u(count)));
  else f.set(amax, f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3))));
  f.set(inverse, inverseOf(amax, dot));
  f.set(total, zeroVector);
  const rounded = (value: Expression<"v128">, mask?: Local<"v128">) => {
    if (!dot.signs) return i32x4.trunc_sat_f32x4_s(f32x4.nearest(f32x4.mul(value, f32x4.splat(inverse))));
    const sign = v128.or(f32x4.lt(value, zeroVector), i32x4.splat(1));
    return mask ? v128.and(sign, mask) : sign;
  };
  overLanes(f, count, (offset, mask) => {
    f.set(v, rounded(values(offset, mask), mask));
    f.set(total, i32x4.add(total, v));
    f.set(v, i16x8.narrow_i32x4_s(v, v));
    f.set(v, relaxed ? i8x16.narrow_i16x8_s(v, v) : pairsApart(v));
    words((word) => f.emit(v128.store32_lane(target, v, word)));
  });
  f.for(left, i32.shr_u(i32.add(count, 3), 2), i32.const(paddedBlock / 4), 1, () =>
    words(() => f.emit(i32.store(target, 0))),
  );
  f.set(sum, sumOfLanes(total));
}

/** i16 as products of pairs want them: k0 k2 k1 k3, of each four. */
function pairsApart(v: Local<"v128">): Expression<"v128"> {
  return i8x16.shuffle(v, v, [0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15]);
}

function sumOfLanes(total: Local<"v128">): Expression<"i32"> {
  const part = (i: number) => i32x4.extract_lane(total, i);
  return i32.add(i32.add(part(0), part(1)), i32.add(part(2), part(3)));
}

/** A block of whole vectors, 16 columns at a time; branches to `done` unless a number is not finite. */
function emitWholeBlock(f: FunctionBuilder, { blockColumns, dot }: Blocks, hand: Block, done: Label): void {
  const { source, target, stride, amax, sum } = hand;
  const groups = blockColumns / 16;
  // Few vectors stay in registers between the two passes.
  const held = groups <= 2 ? f.locals("v128", 4 * groups) : undefined;
  const [largest, magnitude, factor, magic, magicBits, total] = f.locals("v128", 6);
  const at = f.local("i32");
  const bits = f.local("i32");
  const four = f.locals("v128", 4);
  const value = (group: number, i: number) => held?.[4 * group + i] ?? v128.load(at, 16 * i);
  const each = (body: (group: number) => void) => {
    if (held) {
      for (let group = 0; group < groups; group++) body(group);
      return;
    }
    f.set(at, source);
    f.repeat(f.local("i32"), groups, () => {
      body(0);
      f.advance(at, 64);
    });
  };
  const shuffled = (by: number) =>
    i8x16.shuffle(
      largest,
      largest,
      Array.from({ length: 16 }, (_, i) => (i + by) % 16),
    );

  held?.forEach((vector, i) => {
    f.set(vector, v128.load(source, 16 * i));
  });
  f.set(magnitude, i32x4.splat(0x7fffffff));
  f.set(largest, zeroVector);
  each((group) => {
    for (let i = 0; i < 4; i++) f.set(largest, i32x4.max_s(largest, v128.and(value(group, i), magnitude)));
  });
  f.set(largest, i32x4.max_s(largest, shuffled(8)));
  f.set(bits, i32x4.extract_lane(i32x4.max_s(largest, shuffled(4)), 0));
  f.if(i32.lt_u(bits, 0x7f800000), () => {
    f.set(amax, f32.reinterpret_i32(bits));
    f.set(factor, f32x4.splat(inverseOf(amax, dot)));
    f.set(magic, f32x4.splat(12582912));
    f.set(magicBits, i32x4.splat(0x4b400000));
    f.set(total, zeroVector);
    each((group) => {
      four.forEach((v, i) => {
        f.set(v, i32x4.sub(f32x4.add(f32x4.mul(value(group, i), factor), magic), magicBits));
      });
      const [a, b, c, d] = four;
      f.set(total, i32x4.add(total, i32x4.add(i32x4.add(a, b), i32x4.add(c, d))));
      f.set(a, i16x8.narrow_i32x4_s(a, b));
      f.set(c, i16x8.narrow_i32x4_s(c, d));
      const relaxed = dot.arithmetic === "relaxed";
      for (const vector of relaxed ? [f.let(i8x16.narrow_i16x8_s(a, c))] : [a, c].map((v) => f.let(pairsApart(v)))) {
        for (let word = 0; word < 4; word++) {
          f.emit(v128.store32_lane(target, vector, word));
          f.advance(target, stride);
        }
      }
    });
    f.set(sum, sumOfLanes(total));
    f.branch(done);
  });
}
