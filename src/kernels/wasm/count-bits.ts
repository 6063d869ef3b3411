/**
 * Products of integers by counting bits. With u of W planes w and q of A planes b in two's complement, for a block
 *
 *     sum q u = sum over j, p of 2^j s_p popcount(w_j and b_p),  s_p = 2^p, but -2^p for the last plane
 *
 * and with one bit, q = 2 b - 1, sum q w_j = sum b - popcount(w_j xor b). Weights i = step u + low then make the I of int8.ts:
 *
 *     I = step (sum q u) + low X
 *
 * Umuroglu et al. 2018 (BISMO), arXiv:1806.08862, section II; Rastegari et al. 2016 (XNOR-Net), arXiv:1603.05279.
 *
 * A count of one vector is at most 8 in each byte, eight vectors are added up before counts are widened. A few quads are walked
 * at once, so that a word of activations is read once for all of them.
 */
import { largestLevel, smallestAmax } from "../int8.js";
import { type BitLayout, mostTogether } from "./bit-planes.js";
import { createModule, type Expression, type FunctionBuilder, type Local, type MemoryLimits } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, select, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { overLanes, storeLanes, totalOf, zeroVector } from "./lanes.js";
import { sharedReader } from "./shared.js";

type RoundField = "x" | "planes" | "scales" | "sums" | "ones" | "scratch" | "scratchBytes";

/** Items: blocks of rows. planes: for every 32 columns a word of each plane; scales, sums and ones: d, X, and sum b of each block. */
export const roundToPlanes: KernelSignature<RoundField> = {
  name: "roundToPlanes",
  fields: ["x", "planes", "scales", "sums", "ones", "scratch", "scratchBytes"],
  writes: ["planes", "scales", "sums", "ones", "scratch"],
  reads: ["x"],
};

type CountField = "out" | "weights" | "planes" | "scales" | "sums" | "ones" | "quadsPerItem";

/** Items: runs of quads, for one row of activations. */
export const countBits: KernelSignature<CountField> = {
  name: "countBits",
  fields: ["out", "weights", "planes", "scales", "sums", "ones", "quadsPerItem"],
  writes: ["out"],
  reads: ["planes", "scales", "sums", "ones"],
};

/** Items: ids of rows. scratch: 32 bytes for each thread. */
export const embedBits: KernelSignature<"out" | "ids" | "weights" | "scratch"> = {
  name: "embedBits",
  fields: ["out", "ids", "weights", "scratch"],
  writes: ["out", "scratch"],
  reads: ["ids"],
};

/** What the code depends on. */
export function bitsKey(layout: BitLayout): string {
  const { integers: _integers, why: _why, bytes: _bytes, ...rest } = layout;
  return `bits ${JSON.stringify(rest)}`;
}

/** Bytes of a row's planes. */
export const planesBytes = ({ blocks, words, bits }: BitLayout): number => 4 * blocks * words * bits;

export function bitsModule(layout: BitLayout, limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  defineKernel(m, roundToPlanes, (f, args, range) => emitRound(f, layout, args, range));
  defineKernel(m, countBits, (f, args, range) => emitProducts(f, layout, args, range));
  defineKernel(m, embedBits, (f, args, range) => emitRows(f, layout, args, range));
  return m.bytes();
}

function emitRound(f: FunctionBuilder, layout: BitLayout, args: Fields<RoundField>, { from, to, thread }: Range): void {
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

/** Vectors whose counts are added up in bytes: 8 * 8 of them fit, and i16 then hold all planes. */
const chunk = 8;

function emitProducts(f: FunctionBuilder, layout: BitLayout, args: Fields<CountField>, { from, to }: Range): void {
  const { rows, weightBits, bits, step, low, blocks, words, scale, offset, offsets, quads, quadBytes } = layout;
  const together = Math.max(1, Math.floor(mostTogether / bits));
  const [quad, end, plane, left] = f.locals("i32", 4);
  const readScale = sharedReader(f, scale);
  const readOffset = offsets && sharedReader(f, offsets);
  const members = Array.from({ length: together }, () => ({
    address: f.local("i32"),
    total: f.local("v128"),
    integer: f.local("v128"),
    stored: f.local("v128"),
    factor: f.local("v128"),
    shift: f.local("v128"),
    counts: f.locals("v128", bits),
  }));
  const [d, X] = f.locals("v128", 2);
  const activation = f.local("v128");
  const [block, sums, scales, ones] = f.locals("i32", 4);

  const countChunk = (vectors: number, j: number) => {
    for (const { counts } of members) for (const count of counts) f.set(count, zeroVector);
    for (let w = 0; w < vectors; w++) {
      for (const { stored, address } of members) f.set(stored, v128.load(address, 16 * w));
      for (let p = 0; p < bits; p++) {
        f.set(activation, v128.load32_splat(plane, 4 * (w * bits + p)));
        for (const { stored, counts } of members) {
          const met = bits === 1 ? v128.xor(stored, activation) : v128.and(stored, activation);
          f.set(counts[p], i8x16.add(counts[p], i8x16.popcnt(met)));
        }
      }
    }
    for (const { counts, integer, address } of members) {
      const wide = i32x4.extadd_pairwise_i16x8_s(weighted(counts));
      const moved = j === 0 ? wide : i32x4.shl(wide, j);
      f.set(integer, bits === 1 ? i32x4.sub(integer, moved) : i32x4.add(integer, moved));
      f.advance(address, 16 * vectors);
    }
    f.advance(plane, 4 * bits * vectors);
  };

  f.set(quad, i32.mul(from, args.quadsPerItem));
  f.set(end, i32.mul(to, args.quadsPerItem));
  f.if(i32.gt_u(end, quads), () => f.set(end, quads));
  f.for(quad, quad, end, together, () => {
    members.forEach(({ address, total }, i) => {
      f.set(address, i32.add(args.weights, i32.mul(i32.add(quad, i), quadBytes)));
      f.set(total, zeroVector);
    });
    f.set(block, args.planes);
    f.set(sums, args.sums);
    f.set(scales, args.scales);
    f.set(ones, args.ones);
    f.repeat(left, blocks, () => {
      f.set(d, v128.load32_splat(scales));
      f.set(X, v128.load32_splat(sums));
      for (const { address, factor, shift, integer } of members) {
        f.set(factor, f32x4.mul(readScale(address, 0), d));
        if (readOffset) f.set(shift, readOffset(address, scale.bytes));
        f.set(integer, bits === 1 ? i32x4.splat(i32.mul(i32.load(ones), 2 ** weightBits - 1)) : zeroVector);
        f.advance(address, layout.headerBytes);
      }
      for (let j = 0; j < weightBits; j++) {
        f.set(plane, block);
        const whole = Math.floor(words / chunk);
        if (whole > 1) f.repeat(f.local("i32"), whole, () => countChunk(chunk, j));
        else if (whole === 1) countChunk(chunk, j);
        if (words % chunk > 0) countChunk(words % chunk, j);
      }
      for (const { total, integer, factor, shift } of members) {
        const least = i32x4.splat(low);
        const base = offset === "zeroPoint" ? i32x4.sub(least, i32x4.trunc_sat_f32x4_s(shift)) : least;
        const sum = i32x4.add(step === 1 ? integer : i32x4.mul(integer, i32x4.splat(step)), i32x4.mul(X, base));
        f.set(total, f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(sum), factor)));
        if (offset === "min") {
          f.set(total, f32x4.add(total, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(X), d), shift)));
        }
      }
      f.advance(block, 4 * bits * words);
      for (const address of [sums, scales, ones]) f.advance(address, 4);
    });
    members.forEach(({ total }, i) => {
      const own = f.let(i32.add(quad, i));
      const target = f.let(i32.add(args.out, i32.shl(own, 4)));
      f.if(
        i32.lt_u(i32.shl(own, 2), rows - (rows % 4)),
        () => storeLanes(f, target, total),
        () => f.if(i32.lt_u(own, quads), () => storeLanes(f, target, total, f.let(i32.const(rows % 4)))),
      );
    });
  });
}

/** Sum of counts, each as its plane of two's complement weighs, in i16: at most 16 * 8 * 128. */
function weighted(counts: readonly Local<"v128">[]): Expression<"v128"> {
  return counts
    .map((count, p) => {
      const wide = i16x8.extadd_pairwise_i8x16_u(count);
      return p === 0 ? wide : i16x8.shl(wide, p);
    })
    .reduce((sum, term, p) => (p === counts.length - 1 ? i16x8.sub(sum, term) : i16x8.add(sum, term)));
}

/** out[i] = row ids[i], as weight-rows.ts defines it. */
function emitRows(
  f: FunctionBuilder,
  layout: BitLayout,
  { out, ids, weights, scratch }: Fields<"out" | "ids" | "weights" | "scratch">,
  { from, to, thread }: Range,
): void {
  const { columns, weightBits, step, low, blocks, blockColumns, blockBytes, quadBytes, headerBytes, words } = layout;
  const { scale, offset, offsets } = layout;
  const [readScale, readOffset] = [sharedReader(f, scale), offsets && sharedReader(f, offsets)];
  const [item, block, k, level, word] = f.locals("i32", 5);
  const [s, o] = f.locals("f32", 2);
  const own = f.let(i32.add(scratch, i32.shl(thread, 5)));
  f.for(item, from, to, 1, () => {
    const row = f.let(i32.load(i32.add(ids, i32.shl(item, 2))));
    const lane = f.let(i32.shl(i32.and(row, 3), 2));
    const header = f.let(i32.add(weights, i32.mul(i32.shr_u(row, 2), quadBytes)));
    const target = f.let(i32.add(out, i32.mul(item, 4 * columns)));
    f.for(block, 0, blocks, 1, () => {
      f.emit(v128.store(own, readScale(header, 0)));
      if (readOffset) f.emit(v128.store(own, readOffset(header, scale.bytes), 16));
      f.set(s, f32.load(i32.add(own, lane)));
      f.set(o, f32.load(i32.add(own, lane), 16));
      const count = f.let(i32.sub(columns, i32.mul(block, blockColumns)));
      f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
      f.for(k, 0, count, 1, () => {
        f.set(word, i32.add(i32.add(header, lane), i32.shl(i32.shr_u(k, 5), 4)));
        f.set(level, 0);
        for (let j = 0; j < weightBits; j++) {
          const bit = i32.and(i32.shr_u(i32.load(word, headerBytes + 16 * words * j), i32.and(k, 31)), 1);
          f.set(level, i32.or(level, i32.shl(bit, j)));
        }
        const integer = f32.convert_i32_s(i32.add(i32.mul(level, step), low));
        const value =
          offset === "zeroPoint"
            ? f32.mul(s, f32.sub(integer, o))
            : offset === "min"
              ? f32.add(f32.mul(s, integer), o)
              : f32.mul(s, integer);
        f.emit(f32.store(target, value));
        f.advance(target, 4);
      });
      f.advance(header, blockBytes);
    });
  });
}
