/** The kernel for one row of activations rounded to int8: some quads at once, decoded on the fly. */
import type { ByteDot } from "./byte-dot.js";
import { cellBytes, cellColumns, planesOf } from "./cells.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";
import { blockArithmetic, type Int8Layout } from "./int8-layout.js";
import type { Fields, KernelSignature } from "./kernel.js";
import { zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";
import { groupFields, type QuadInHand } from "./streams.js";
import { weightReader } from "./weight-bytes.js";

export const gemvInt8: KernelSignature<
  | ("out" | "q" | "scales" | "sums" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | "blocks")
  | (typeof groupFields)[number]
> = {
  name: "gemvInt8",
  fields: [
    ...(["out", "q", "scales", "sums", "weights", "quadBytes", "quads", "quadsPerItem", "blocks"] as const),
    ...groupFields,
  ],
  writes: ["out", "out1", "out2"],
  reads: ["q", "scales", "sums"],
};

type Vector = Expression<"v128">;

/** Some quads at once with one row of activations. */
export function emitQuads(
  f: FunctionBuilder,
  layout: Int8Layout,
  { q, scales, sums, blocks }: Fields<(typeof gemvInt8.fields)[number]>,
  quads: readonly QuadInHand[],
): void {
  const { dot, headerBytes, blockCells } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const step = inPlace(dot) ? (dot.step ?? 1) : 1;
  const block = blockArithmetic(f, layout);
  const [sum, d, Xd] = f.locals("v128", 3);
  const at = f.let(q);
  const index = f.let(i32.const(0));
  const streams = quads.map(({ address, to }) => ({
    address,
    to,
    integers: f.locals("v128", dot.sums),
    total: f.let(zeroVector),
  }));
  const size = cellBytes(dot.bits);
  const columns = cellColumns(dot.bits);
  const group = divisor(blockCells, 4);
  const cell = emitCell(f, dot, at, streams);
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, block.prepare(i32.add(sums, index)));
    const headers = streams.map(({ address }) => f.let(address));
    for (const { integers, address } of streams) {
      integers.forEach((integer, i) => {
        f.set(integer, i === 0 && step === 1 ? block.start(block.zero(address), sum) : zeroVector);
      });
    }
    const rounds = blockCells / group;
    const activation = relaxed ? 1 : 2;
    const round = () => {
      for (let g = 0; g < group; g++) cell(headerBytes + size * g, g * columns);
      for (const { address } of streams) f.advance(address, size * group);
      f.advance(at, group * columns * activation);
    };
    if (rounds === 1) round();
    else f.repeat(f.local("i32"), rounds, round);
    f.set(d, v128.load32_splat(i32.add(scales, index)));
    if (layout.offset === "min") f.set(Xd, block.scaledSum(i32.add(sums, index), 0, d));
    streams.forEach(({ address, integers, total }, s) => {
      const codes = integers.reduce<Vector>(
        (low, high, i) => (i === 0 ? high : i32x4.add(low, i32x4.shr_s(high, i * dot.bits))),
        zeroVector,
      );
      const start = block.start(block.zero(headers[s]), sum);
      const integer = step === 1 ? codes : i32x4.add(i32x4.shl(codes, Math.log2(step)), start);
      f.set(total, block.finish(total, integer, block.scale(headers[s]), d, block.min(headers[s]), Xd));
      f.advance(address, headerBytes);
    });
    f.advance(index, 4);
  });
  for (const { total, to } of streams) f.emit(v128.store(to, total));
}

interface Stream {
  readonly address: Local<"i32">;
  readonly integers: readonly Local<"v128">[];
}

/** Emits the products of a cell: its codes `offset` bytes from each stream's address, its activations `k` from `at`. */
function emitCell(f: FunctionBuilder, dot: ByteDot, at: Local<"i32">, streams: readonly Stream[]) {
  const { parts, bytes, toBytes, halves } = weightReader(f, dot);
  const relaxed = dot.arithmetic === "relaxed";
  const rounds = relaxed && planesOf(dot.bits).length === 1 && dot.bits < 8 ? roundsOf(f, dot) : [];
  const decoded = inPlace(dot) ? (codes: Vector) => codes : toBytes;
  const [x, y, stored] = f.locals("v128", 3);
  const multiply = (integer: Local<"v128">, activation: Local<"v128">, weight: Vector) =>
    f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(activation, weight, integer));
  return (offset: number, k: number) => {
    for (const { shift, codes } of rounds) {
      codes.forEach(({ part }, i) => {
        f.set([x, y][i], v128.load32_splat(at, k + 4 * part));
      });
      for (const { address, integers } of streams) {
        f.set(stored, moved(v128.load(address, offset), shift));
        codes.forEach(({ sum, down, mask }, i) => {
          multiply(integers[sum], [x, y][i], decoded(v128.and(moved(stored, down), mask)));
        });
      }
    }
    for (let part = 0; part < (rounds.length > 0 ? 0 : parts); part++) {
      const step = k + 4 * part;
      f.set(x, v128.load32_splat(at, relaxed ? step : 2 * step));
      if (!relaxed) f.set(y, v128.load32_splat(at, 2 * step + 4));
      for (const { address, integers } of streams) {
        const [integer] = integers;
        if (relaxed) multiply(integer, x, bytes(address, offset, part));
        else {
          halves(address, offset, part).forEach((half, odd) => {
            f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(half, odd ? y : x)));
          });
        }
      }
    }
  };
}

const moved = (codes: Vector, shift: number) => (shift === 0 ? codes : i16x8.shr_u(codes, shift));

/** Two codes of each byte of a stored vector that is moved down by `shift`: moved on, masked and added to one of the sums. */
interface Round {
  readonly shift: number;
  readonly codes: readonly {
    readonly part: number;
    readonly sum: number;
    readonly down: number;
    readonly mask: Local<"v128">;
  }[];
}

/** Whether codes are multiplied as they stand, masked out of their bytes. */
function inPlace({ bits, step, arithmetic }: ByteDot): boolean {
  return arithmetic === "relaxed" && step !== undefined && (bits === 2 || bits === 4);
}

/** The rounds of a vector of codes of 1, 2 or 4 bits. With two sums the upper codes of a round stay where they are. */
function roundsOf(f: FunctionBuilder, { bits, sums }: ByteDot): readonly Round[] {
  const maskAt = (bit: number) => f.let(i8x16.splat(((2 ** bits - 1) << bit) & 0xff));
  const masks = Array.from({ length: sums }, (_, i) => maskAt(i * bits));
  return Array.from({ length: 4 / bits }, (_, round) => ({
    shift: 2 * round * bits,
    codes: [0, 1].map((i) => ({
      part: 2 * round + i,
      ...(sums === 2 ? { sum: i, down: 0, mask: masks[i] } : { sum: 0, down: i * bits, mask: masks[0] }),
    })),
  }));
}
