/**
 * Weights of one or two bits times one row of activations by lookup (T-MAC, Wei et al. 2024, arXiv:2407.00088, section 3). Four
 * weights are an index into the 16 sums that four activations can make; `lookupTables` makes these tables once for all
 * rows, and one byte shuffle then serves 16 rows, whose codes lie side by side (places.ts). That takes fewer instructions
 * than a mask and a byte product for every 16 weights, and less than half of those of i16 pairs.
 *
 * A sum of four int8 has 10 bits. Tables hold the 6 low ones, of which four can be added in a byte, and the 4 high ones
 * plus 8, of which 16 can. Bytes are added to sums of i16, even ones with the odd ones 256 times, and odd ones alone; the
 * end takes the latter from the former. That is arithmetic modulo 2^16, and up to 256 columns (64 of two bits) stay within
 * it, so the integers are exact. Of two bits the upper ones come first; their sums are doubled before the lower ones are added.
 *
 * Activations of at most 6 bits, q from -L to L, need no high parts: a sum of four plus 4 L fits a byte, and so do as many of
 * these as 8 L fits into 255. Half of the shuffles and additions go then.
 */
import type { ByteDot } from "./byte-dot.js";
import { cellBytes, cellColumns } from "./cells.js";
import { pickBytes } from "./decode.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import type { gemvInt8 } from "./gemv-int8.js";
import { i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";
import { blockArithmetic, type Int8Layout } from "./int8-layout.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import { zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";
import { overQuads, streamsOf } from "./streams.js";

/** Items: fours of activations, as `roundRows` leaves them for rows to be read alone. */
export const lookupTables: KernelSignature<"q" | "tables"> = {
  name: "lookupTables",
  fields: ["q", "tables"],
  writes: ["tables"],
  reads: ["q"],
};

/** Whether sums of four activations take more than a byte. */
const hasHighParts = ({ levels }: ByteDot) => 8 * levels > 255;

/** Bytes of tables for each activation: 16 low and 16 high parts for four, or 16 whole sums. */
export const tableBytes = (dot: ByteDot): number => (hasHighParts(dot) ? 8 : 4);

/**
 * Columns whose high parts fit a byte, and whose sums fit i16, both in lookups of four columns. (16 of two bits
 * would fit; engines without relaxed SIMD, which alone look two bits up, run shorter code faster.)
 */
const [highLookups, wordLookups] = [16, { 1: 64, 2: 8 }];

/** Lookups whose low parts, or whole sums, fit a byte: a power of two. */
const lowLookups = (dot: ByteDot) =>
  hasHighParts(dot) ? 4 : Math.min(highLookups, 2 ** Math.floor(Math.log2(255 / (8 * dot.levels))));

export function emitTables(
  f: FunctionBuilder,
  { dot }: Int8Layout,
  { q, tables }: Fields<(typeof lookupTables.fields)[number]>,
  { from, to }: Range,
): void {
  const item = f.local("i32");
  const sums = f.locals("v128", 2);
  const masks = [0, 1, 2].map((bit) => {
    return f.let(v128.const(Array.from({ length: 16 }, (_, byte) => ((byte >> (1 + bit)) & 1) * 255)));
  });
  const high = hasHighParts(dot);
  const [low, eight] = high ? [f.let(i16x8.splat(63)), f.let(i8x16.splat(8))] : [];
  const least = i16x8.splat(4 * dot.levels);
  const bytes = dot.arithmetic === "relaxed";
  const fours = f.local("v128");
  f.for(item, from, to, 1, () => {
    const source = f.let(i32.add(q, i32.shl(item, bytes ? 2 : 3)));
    const target = f.let(i32.add(tables, i32.shl(item, high ? 5 : 4)));
    if (bytes) f.set(fours, i16x8.extend_low_i8x16_s(v128.load32_zero(source)));
    // The order of i16 is k0 k2 k1 k3.
    const activation = (k: number) =>
      bytes
        ? i8x16.shuffle(
            fours,
            fours,
            Array.from({ length: 16 }, (_, i) => 2 * k + (i & 1)),
          )
        : v128.load16_splat(source, 2 * [0, 2, 1, 3][k]);
    const chosen = masks.map((mask, bit) => v128.and(activation(bit), mask));
    f.set(sums[0], i16x8.add(i16x8.add(chosen[0], chosen[1]), chosen[2]));
    f.set(sums[1], i16x8.add(sums[0], activation(3)));
    const [first, second] = sums;
    if (!low || !eight) {
      f.emit(v128.store(target, i8x16.narrow_i16x8_u(i16x8.add(first, least), i16x8.add(second, least))));
      return;
    }
    f.emit(v128.store(target, i8x16.narrow_i16x8_u(v128.and(first, low), v128.and(second, low))));
    const upper = i8x16.narrow_i16x8_s(i16x8.shr_s(first, 6), i16x8.shr_s(second, 6));
    f.emit(v128.store(target, i8x16.add(upper, eight), 16));
  });
}

type Args = Fields<(typeof gemvInt8.fields)[number]>;

/** One row of activations, whose tables are `q`, times some groups of 16 rows of weights at once. */
export function emitLookups(f: FunctionBuilder, layout: Int8Layout, args: Args, range: Range): void {
  const quads = f.let(i32.shr_u(i32.add(args.quads, 3), 2));
  const quadsPerItem = f.let(i32.shr_u(args.quadsPerItem, 2));
  overQuads(f, streamsOf(layout), { quads, quadsPerItem }, range, (groups) => emitGroups(f, layout, args, groups));
}

function emitGroups(f: FunctionBuilder, layout: Int8Layout, args: Args, members: readonly Local<"i32">[]): void {
  const { out, q, scales, sums, weights, quadBytes, quads, blocks } = args;
  const { headerBytes, blockCells, dot } = layout;
  const bits = dot.bits === 1 ? 1 : 2;
  const block = blockArithmetic(f, layout);
  const [sum, d, Xd] = f.locals("v128", 3);
  const [at, index] = [f.let(q), f.let(i32.const(0))];
  const groups = members.map((group) => ({
    group,
    address: f.let(i32.add(weights, i32.mul(group, i32.shl(quadBytes, 2)))),
    totals: [0, 1, 2, 3].map(() => f.let(zeroVector)),
    integers: [0, 1, 2, 3].map(() => f.local("v128")),
    words: f.locals("v128", 2),
  }));
  const segmentCells = divisor(blockCells, (wordLookups[bits] * 4) / cellColumns(bits));
  const addSegment = emitSegment(f, layout, at, { bits, cells: segmentCells }, groups);
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, block.prepare(i32.add(sums, index)));
    const headers = groups.map(({ address }) => f.let(address));
    for (const { address } of groups) f.advance(address, 4 * headerBytes);
    if (blockCells === segmentCells) addSegment(false);
    else {
      for (const { integers } of groups) for (const integer of integers) f.set(integer, zeroVector);
      f.repeat(f.local("i32"), blockCells / segmentCells, () => addSegment(true));
    }
    f.set(d, v128.load32_splat(i32.add(scales, index)));
    if (layout.offset === "min") f.set(Xd, block.scaledSum(i32.add(sums, index), 0, d));
    groups.forEach(({ totals, integers }, g) => {
      totals.forEach((total, s) => {
        const header = headers[g];
        const at = s * headerBytes;
        const integer = i32x4.add(integers[s], block.start(block.zero(header, at), sum));
        f.set(total, block.finish(total, integer, block.scale(header, at), d, block.min(header, at), Xd));
      });
    });
    f.advance(index, 4);
  });
  for (const { group, totals } of groups) {
    totals.forEach((total, s) => {
      const quad = f.let(i32.add(i32.shl(group, 2), s));
      f.if(i32.lt_u(quad, quads), () => f.emit(v128.store(i32.add(out, i32.shl(quad, 4)), total)));
    });
  }
}

interface Group {
  readonly address: Local<"i32">;
  /** Sums of a block, of four quads. */
  readonly integers: readonly Local<"v128">[];
  /** Sums of even and of odd bytes. */
  readonly words: readonly Local<"v128">[];
}

/** What sets the integers of the groups to the sums of the next cells, or adds them; `at` and addresses advance past these. */
function emitSegment(
  f: FunctionBuilder,
  { dot, relaxed }: Int8Layout,
  at: Local<"i32">,
  { bits, cells }: { readonly bits: 1 | 2; readonly cells: number },
  groups: readonly Group[],
): (add: boolean) => void {
  const lookupsOfCell = cellColumns(bits) / 4;
  const pick = pickBytes(relaxed);
  const mask = f.let(i8x16.splat(15));
  const [lowTable, highTable, index] = f.locals("v128", 3);
  const parts = groups.map(() => ({ low: f.local("v128"), high: f.local("v128"), highs: f.locals("v128", 2) }));
  const high = hasHighParts(dot);
  // The bias of the high parts, in units of 64, or of whole sums; half of it where it will be doubled.
  const bias = ((high ? 8 * 64 : 4 * dot.levels) * cells * lookupsOfCell * (2 ** bits - 1)) / bits;
  const start = f.let(i16x8.splat(-bias));
  // Sums of even bytes lose those of odd ones 256 times, which have it too; 256 times the first is nothing modulo 2^16.
  const starts = [high ? start : f.let(i16x8.splat(-257 * bias)), start];
  const lanes = [f.let(i32x4.splat(dot.step ?? 1)), f.let(i32x4.splat((dot.step ?? 1) << 16))];
  const stepCells = divisor(cells, highLookups / lookupsOfCell);
  const [stepLookups, lows] = [stepCells * lookupsOfCell, lowLookups(dot)];
  const widen = (sums: readonly Local<"v128">[], bytes: Local<"v128">) => {
    f.set(sums[0], i16x8.add(sums[0], bytes));
    f.set(sums[1], i16x8.add(sums[1], i16x8.shr_u(bytes, 8)));
  };
  const step = (plane: number) => {
    for (let lookup = 0; lookup < stepLookups; lookup++) {
      f.set(lowTable, v128.load(at, 4 * tableBytes(dot) * lookup));
      if (high) f.set(highTable, v128.load(at, 32 * lookup + 16));
      groups.forEach(({ address, words }, g) => {
        const part = parts[g];
        const stored = v128.load(address, 16 * (bits * (lookup >> 1) + plane));
        const added = (to: Local<"v128">, fresh: boolean, sum: Expression<"v128">) =>
          f.set(to, fresh ? sum : i8x16.add(to, sum));
        f.set(index, v128.and(lookup % 2 === 0 ? stored : i16x8.shr_u(stored, 4), mask));
        added(part.low, lookup % lows === 0, pick(lowTable, index));
        if (high) added(part.high, lookup === 0, pick(highTable, index));
        if (lookup % lows === lows - 1 || lookup === stepLookups - 1) widen(words, part.low);
      });
    }
    if (high) for (const part of parts) widen(part.highs, part.high);
    if (plane > 0) return;
    for (const { address } of groups) f.advance(address, 4 * cellBytes(bits) * stepCells);
    f.advance(at, cellColumns(bits) * stepCells * tableBytes(dot));
  };
  return (add) => {
    groups.forEach(({ words }, g) => {
      words.forEach((word, odd) => {
        f.set(word, starts[odd]);
      });
      for (const upper of high ? parts[g].highs : []) f.set(upper, zeroVector);
    });
    if (bits === 2) {
      // A segment of two bits is one step.
      step(1);
      groups.forEach(({ words }, g) => {
        for (const sum of [...words, ...(high ? parts[g].highs : [])]) f.set(sum, i16x8.add(sum, sum));
      });
    }
    if (cells === stepCells) step(0);
    else f.repeat(f.local("i32"), cells / stepCells, () => step(0));
    groups.forEach(({ words, integers }, g) => {
      const { highs } = parts[g];
      words.forEach((word, odd) => {
        if (high) f.set(word, i16x8.add(word, i16x8.shl(highs[odd], 6)));
      });
      f.set(words[0], i16x8.sub(words[0], i16x8.shl(words[1], 8)));
      integers.forEach((integer, s) => {
        const part = i32x4.dot_i16x8_s(words[s & 1], lanes[s >> 1]);
        f.set(integer, add ? i32x4.add(integer, part) : part);
      });
    });
  };
}
