/**
 * Weights of one bit times one row of activations by lookup (T-MAC, Wei et al. 2024, arXiv:2407.00088, section 3). Four
 * weights are an index into the 16 sums that four activations can make; `lookupTables` makes these tables once for all
 * rows, and one byte shuffle then serves 16 rows. Where there is no relaxed dot that takes less than half the instructions
 * of products of i16 pairs.
 *
 * A sum of four int8 has 10 bits. Tables hold the 6 low ones, of which four can be added in a byte, and the 4 high ones
 * with sign, of which 16 can. Sums are therefore the same exact integers. 128 columns fit i16; then they are widened.
 */
import { cellBytes, cellColumns } from "./cells.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import { zeroVector } from "./lanes.js";

/** Items: fours of activations, as `roundRows` leaves them for rows to be read alone. */
export const lookupTables: KernelSignature<"q" | "tables"> = {
  name: "lookupTables",
  fields: ["q", "tables"],
  writes: ["tables"],
  reads: ["q"],
};

/** Bytes of tables for each activation: 16 low and 16 high parts for four. */
export const tableBytes = 8;

export function emitTables(
  f: FunctionBuilder,
  { q, tables }: Fields<(typeof lookupTables.fields)[number]>,
  { from, to }: Range,
): void {
  const item = f.local("i32");
  const sums = f.locals("v128", 2);
  const masks = [0, 1, 2].map((bit) => {
    return f.let(v128.const(Array.from({ length: 16 }, (_, byte) => ((byte >> (1 + bit)) & 1) * 255)));
  });
  const low = f.let(i16x8.splat(63));
  f.for(item, from, to, 1, () => {
    const source = f.let(i32.add(q, i32.shl(item, 3)));
    const target = f.let(i32.add(tables, i32.shl(item, 5)));
    // The order is k0 k2 k1 k3.
    const activation = (k: number) => v128.load16_splat(source, 2 * [0, 2, 1, 3][k]);
    const chosen = masks.map((mask, bit) => v128.and(activation(bit), mask));
    f.set(sums[0], i16x8.add(i16x8.add(chosen[0], chosen[1]), chosen[2]));
    f.set(sums[1], i16x8.add(sums[0], activation(3)));
    const [first, second] = sums;
    f.emit(v128.store(target, i8x16.narrow_i16x8_u(v128.and(first, low), v128.and(second, low))));
    f.emit(v128.store(target, i8x16.narrow_i16x8_s(i16x8.shr_s(first, 6), i16x8.shr_s(second, 6)), 16));
  });
}

interface Stream {
  readonly address: Local<"i32">;
  readonly integers: readonly Local<"v128">[];
}

const fours = (...words: number[]) => words.flatMap((word) => [0, 1, 2, 3].map((byte) => 4 * word + byte));
const lows = { pairs: fours(0, 4, 1, 5), quads: fours(0, 1, 4, 5) };
const highs = { pairs: fours(2, 6, 3, 7), quads: fours(2, 3, 6, 7) };
const interleaved = [0, 8].map((half) =>
  Array.from({ length: 16 }, (_, i) => half + (i >> 2) * 2 + (i & 1) + ((i >> 1) & 1) * 16),
);

/** What adds the products of a block to the first integers of the streams, with tables from `at` on; both advance past its cells. */
export function emitLookups(
  f: FunctionBuilder,
  at: Local<"i32">,
  streams: readonly Stream[],
  { headerBytes, cells }: { readonly headerBytes: number; readonly cells: number },
): () => void {
  const mask = f.let(i8x16.splat(15));
  const [lowTable, highTable, index, left, right] = f.locals("v128", 5);
  const width = streams.length % 4 === 0 ? 4 : 1;
  const groups = Array.from({ length: streams.length / width }, (_, g) => ({
    members: streams.slice(g * width, (g + 1) * width),
    words: f.locals("v128", 2),
    ...{ low: f.local("v128"), high: f.local("v128") },
    // Of even and odd bytes; the low parts of even ones with those of odd ones 256 times, which the end takes away.
    ...{ lows: f.locals("v128", 2), highs: f.locals("v128", 2) },
  }));
  const together = cells % 4 === 0 ? 4 : cells % 2 === 0 ? 2 : 1;
  /** The weights of 16 k, 8 in a vector: byte 4 s + c is column c of the group's quad s. */
  const read = ({ members, words }: (typeof groups)[number], half: number) => {
    const offset = headerBytes + 16 * (half >> 1);
    if (width === 1) {
      words.forEach((word, i) => {
        f.set(word, v128.load32_zero(members[0].address, offset + 4 * (2 * (half & 1) + i)));
      });
      return;
    }
    const pairs = half % 2 === 0 ? lows.pairs : highs.pairs;
    const [a, b, c, d] = members.map(({ address }) => v128.load(address, offset));
    f.set(left, i8x16.shuffle(a, b, pairs));
    f.set(right, i8x16.shuffle(c, d, pairs));
    f.set(words[0], i8x16.shuffle(left, right, lows.quads));
    f.set(words[1], i8x16.shuffle(left, right, highs.quads));
  };
  const segment = () => {
    for (const group of groups) for (const sum of [...group.lows, ...group.highs]) f.set(sum, zeroVector);
    for (let half = 0; half < 2 * together; half++) {
      const wholeHigh = half % 4 === 3 || half === 2 * together - 1;
      for (const group of groups) read(group, half);
      for (let i = 0; i < 4; i++) {
        f.set(lowTable, v128.load(at, 32 * (4 * half + i)));
        f.set(highTable, v128.load(at, 32 * (4 * half + i) + 16));
        for (const { words, low, high } of groups) {
          const word = words[i >> 1];
          const added = (sum: Local<"v128">, fresh: boolean, part: Expression<"v128">) =>
            f.set(sum, fresh ? part : i8x16.add(sum, part));
          f.set(index, v128.and(i % 2 === 0 ? word : i16x8.shr_u(word, 4), mask));
          added(low, i === 0, i8x16.swizzle(lowTable, index));
          added(high, i === 0 && half % 4 === 0, i8x16.swizzle(highTable, index));
        }
      }
      for (const { low, high, lows, highs } of groups) {
        f.set(lows[0], i16x8.add(lows[0], low));
        f.set(lows[1], i16x8.add(lows[1], i16x8.shr_u(low, 8)));
        if (!wholeHigh) continue;
        f.set(highs[0], i16x8.add(highs[0], i16x8.shr_s(i16x8.shl(high, 8), 8)));
        f.set(highs[1], i16x8.add(highs[1], i16x8.shr_s(high, 8)));
      }
    }
    for (const { members, lows, highs } of groups) {
      f.set(lows[0], i16x8.sub(lows[0], i16x8.shl(lows[1], 8)));
      lows.forEach((sum, odd) => {
        f.set(sum, i16x8.add(sum, i16x8.shl(highs[odd], 6)));
      });
      members.forEach(({ integers: [integer] }, s) => {
        const half = i8x16.shuffle(lows[0], lows[1], interleaved[s >> 1]);
        f.set(
          integer,
          i32x4.add(integer, s % 2 === 0 ? i32x4.extend_low_i16x8_s(half) : i32x4.extend_high_i16x8_s(half)),
        );
      });
    }
    for (const { address } of streams) f.advance(address, cellBytes(1) * together);
    f.advance(at, cellColumns(1) * together * tableBytes);
  };
  return () => {
    if (cells === together) segment();
    else f.repeat(f.local("i32"), cells / together, segment);
  };
}
