/**
 * The kernels that multiply activations rounded to int8 with small-integer weights, as int8.ts defines it: `roundRows`
 * rounds activations, `gemvInt8` takes one row of them, `gemmInt8` unpacks panels once for many rows.
 * Sums within a block are exact integers, so the relaxed dot, the i16 dot and the reference agree to the bit.
 *
 * With the relaxed dot activations are bytes, four k in a 32-bit word that is splatted over the four columns. Without
 * it they are i16 in the order k0 k2 k1 k3: the even bytes of a weight vector, as i16, meet (k0, k2), the odd ones
 * (k1, k3), and `i32x4.dot_i16x8_s` leaves one sum for each column in its lane.
 */
import { smallestAmax } from "../int8.js";
import { type ByteDot, byLookup } from "./byte-dot.js";
import { type CodeReader, cellBytes, cellColumns, codeReader, planesOf } from "./cells.js";
import { pickBytes } from "./decode.js";
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, select, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { overLanes, zeroVector } from "./lanes.js";
import { divisor, type Layout } from "./layout.js";
import { emitLookups, emitTables, lookupTables } from "./lookup-sums.js";
import { type SharedForm, sharedReader } from "./shared.js";
import { overQuads, streamsOf } from "./streams.js";
import { overTiles, type Tiling, tilePlace } from "./tile.js";

/**
 * Items: blocks of rows. q: rounded activations; scales and sums: d and X of each block. The rows of a tile lie side by
 * side: first the 32 bits of the first k of every row, then those of the next k, and so on, and likewise the scales and
 * sums of each block. A tile then reads one sequential stream. Rows to be read alone are tiles of height 1.
 */
export const roundRows: KernelSignature<
  "x" | "columns" | "blocks" | "blockColumns" | "paddedBlock" | "q" | "scales" | "sums" | keyof Tiling
> = {
  name: "roundRows",
  fields: ["x", "columns", "blocks", "blockColumns", "paddedBlock", "q", "scales", "sums", "height", "tallRows"],
  writes: ["q", "scales", "sums"],
  reads: ["x"],
};

export const gemvInt8: KernelSignature<
  "out" | "q" | "scales" | "sums" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | "blocks"
> = {
  name: "gemvInt8",
  fields: ["out", "q", "scales", "sums", "weights", "quadBytes", "quads", "quadsPerItem", "blocks"],
  writes: ["out"],
  reads: ["q", "scales", "sums"],
};

/** Items: runs of panels. Activations, scales and sums lie by tiles, as `roundRows` leaves them. */
export const gemmInt8: KernelSignature<
  | ("out" | "outBytes" | "q" | "qBytes" | "scales" | "sums" | "batch" | "weights" | "quadBytes" | "panels")
  | ("panelsPerItem" | "blocks" | "scratch" | "scratchBytes" | keyof Tiling)
> = {
  name: "gemmInt8",
  fields: [
    ...(["out", "outBytes", "q", "qBytes", "scales", "sums", "batch", "weights", "quadBytes", "panels"] as const),
    ...(["panelsPerItem", "blocks", "scratch", "scratchBytes", "height", "tallRows"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "scales", "sums"],
};

/** A layout for activations rounded to int8: it always has scales. */
export type Int8Layout = Layout & { readonly dot: ByteDot; readonly scale: SharedForm };

export function isInt8(layout: Layout): layout is Int8Layout {
  return layout.dot !== undefined && layout.scale !== undefined;
}

/** Bytes of one rounded activation. */
export function activationBytes({ arithmetic }: ByteDot): number {
  return arithmetic === "relaxed" ? 1 : 2;
}

/** Blocks of a panel that are unpacked at a time: about 32 KiB, which stay in the L1 cache. */
function chunkBlocks({ paddedBlock, dot, tile }: Int8Layout): number {
  return Math.max(1, Math.floor(32768 / (paddedBlock * 4 * tile.quads * activationBytes(dot))));
}

/** Bytes of scratch memory that one thread needs: a chunk of a panel. */
export function panelBytes(layout: Int8Layout): number {
  return chunkBlocks(layout) * layout.paddedBlock * 4 * layout.tile.quads * activationBytes(layout.dot);
}

export function defineInt8(m: ModuleBuilder, layout: Int8Layout): void {
  defineKernel(m, roundRows, (f, args, range) => emitRoundRows(f, layout, args, range));
  if (byLookup(layout.dot)) {
    defineKernel(m, lookupTables, (f, args, range) => emitTables(f, args, range));
  }
  defineKernel(m, gemvInt8, (f, args, range) => {
    overQuads(f, streamsOf(layout), args, range, (quads) => emitQuads(f, layout, args, quads));
  });
  defineKernel(m, gemmInt8, (f, args, range) => emitGemm(f, layout, args, range));
}

function emitRoundRows(
  f: FunctionBuilder,
  { dot: { arithmetic } }: Int8Layout,
  args: Fields<(typeof roundRows.fields)[number]>,
  { from, to }: Range,
): void {
  const { x, columns, blocks, blockColumns, paddedBlock, q, scales, sums } = args;
  // Words of 32 bits that hold four activations of a row.
  const words = arithmetic === "relaxed" ? 1 : 2;
  const [item, row, block, count, target, at] = f.locals("i32", 6);
  const [v, largest, total] = f.locals("v128", 3);
  const [amax, inverse] = f.locals("f32", 2);
  const place = tilePlace(f, args, row);
  f.for(item, from, to, 1, () => {
    f.set(row, i32.div_u(item, blocks));
    f.set(block, i32.sub(item, i32.mul(row, blocks)));
    const { first, height, within } = place();
    const start = f.let(i32.mul(block, blockColumns));
    f.set(count, i32.sub(columns, start));
    f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
    const source = f.let(i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)));
    const fours = i32.shr_u(paddedBlock, 2);
    const wordsBefore = i32.mul(i32.mul(i32.add(i32.mul(first, blocks), i32.mul(block, height)), fours), words);
    f.set(target, i32.add(q, i32.shl(i32.add(wordsBefore, within), 2)));
    const stride = f.let(i32.shl(height, 2));
    const values = (offset: Local<"i32">, mask?: Local<"v128">) => {
      const loaded = v128.load(i32.add(source, offset));
      return mask ? v128.and(loaded, mask) : loaded;
    };

    f.set(largest, zeroVector);
    overLanes(f, count, (offset, mask) => f.set(largest, f32x4.max(largest, f32x4.abs(values(offset, mask)))));
    const lane = (i: number) => f32x4.extract_lane(largest, i);
    f.set(amax, f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3))));
    f.set(inverse, select(f32.div(127, amax), f32.const(0), f32.gt(amax, smallestAmax)));

    f.set(total, zeroVector);
    overLanes(f, count, (offset, mask) => {
      const scaled = f32x4.mul(values(offset, mask), f32x4.splat(inverse));
      f.set(v, i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled)));
      f.set(total, i32x4.add(total, v));
      f.set(v, i16x8.narrow_i32x4_s(v, v));
      if (arithmetic === "relaxed") f.set(v, i8x16.narrow_i16x8_s(v, v));
      else f.set(v, i8x16.shuffle(v, v, [0, 1, 4, 5, 2, 3, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7]));
      for (let word = 0; word < words; word++) {
        f.emit(v128.store32_lane(target, v, word));
        f.advance(target, stride);
      }
    });
    f.for(at, i32.shr_u(i32.add(count, 3), 2), fours, 1, () => {
      for (let word = 0; word < words; word++) {
        f.emit(i32.store(target, 0));
        f.advance(target, stride);
      }
    });
    const part = (i: number) => i32x4.extract_lane(total, i);
    f.set(at, i32.add(i32.mul(first, blocks), i32.add(i32.mul(block, height), within)));
    f.set(at, i32.shl(at, 2));
    f.emit(f32.store(i32.add(scales, at), f32.div(amax, 127)));
    f.emit(i32.store(i32.add(sums, at), i32.add(i32.add(part(0), part(1)), i32.add(part(2), part(3)))));
  });
}

/** How a block's integer sum begins and how it becomes part of the result. */
function blockArithmetic(f: FunctionBuilder, { offset, offsets, scale: scaleForm, dot }: Int8Layout) {
  const readOffset = offsets && sharedReader(f, offsets);
  const bias = offset === "zeroPoint" ? f.let(i32x4.splat(-dot.bias)) : undefined;
  const offsetOf = (header: Local<"i32">) => readOffset?.(header, scaleForm.bytes) ?? zeroVector;
  return {
    /** S of the block whose header is at an address. */
    scale: (
      (read) => (header: Local<"i32">) =>
        read(header, 0)
    )(sharedReader(f, scaleForm)),
    /** M of the block; unused but with offsets of the kind "min". */
    min: offsetOf,
    /** What `start` needs of a block: -(bias + Z). */
    zero: (header: Local<"i32">) => (bias ? i32x4.sub(bias, i32x4.trunc_sat_f32x4_s(offsetOf(header))) : zeroVector),
    /** What `start` needs of the activations of a block, whose X stands at `address`: for all columns alike. */
    prepare(address: Expression<"i32">, at = 0): Expression<"v128"> {
      if (bias) return v128.load32_splat(address, at);
      return dot.bias === 0 ? zeroVector : i32x4.splat(i32.mul(i32.load(address, at), -dot.bias));
    },
    /** -(bias + Z) X: where the integer sum begins, so that it ends as the sum of q (i - Z). */
    start: (zero: Expression<"v128">, prepared: Expression<"v128">) => (bias ? i32x4.mul(prepared, zero) : prepared),
    /** X d, which offsets of the kind "min" multiply; unused otherwise. */
    scaledSum(address: Expression<"i32">, at: number, d: Expression<"v128">): Expression<"v128"> {
      return f32x4.mul(f32x4.convert_i32x4_s(v128.load32_splat(address, at)), d);
    },
    /** `total` with the block's contribution: I (S d), and M (X d) where there is a minimum. */
    finish(
      total: Expression<"v128">,
      integer: Expression<"v128">,
      S: Vector,
      d: Vector,
      M: Vector,
      Xd: Vector,
    ): Vector {
      const main = f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(integer), f32x4.mul(S, d)));
      return offset === "min" ? f32x4.add(main, f32x4.mul(Xd, M)) : main;
    },
  };
}

type Vector = Expression<"v128">;

/** Weights out of cells, four k at a time: as bytes, or as i16 split into even and odd bytes. */
function weightReader(f: FunctionBuilder, dot: ByteDot) {
  const { bits, lookup, arithmetic } = dot;
  const parts = cellColumns(bits) / 4;
  const read = codeReader(f, bits, { byEight: byLookup(dot) });
  const table = lookup && f.let(v128.const(Uint8Array.from({ length: 16 }, (_, i) => lookup[i] ?? 0)));
  const bytes: CodeReader = (address, offset, part) => {
    const codes = read(address, offset, part);
    return table ? pickBytes(arithmetic === "relaxed")(table, codes) : codes;
  };
  const split = f.local("v128");
  const simple = !table && planesOf(bits).length === 1 && !byLookup(dot);
  const mask = arithmetic === "relaxed" ? undefined : f.let(i16x8.splat(simple ? 2 ** bits - 1 : 0xff));
  const halves = (address: Local<"i32">, offset: number, part: number) => {
    if (!mask) return [];
    if (!simple) {
      f.set(split, bytes(address, offset, part));
      return [v128.and(split, mask), i16x8.shr_u(split, 8)];
    }
    // Codes go from the stored vector to their i16 in one step; the topmost need no mask.
    const stored = v128.load(address, offset);
    const at = (shift: number) => {
      const moved = shift === 0 ? stored : i16x8.shr_u(stored, shift);
      return shift + bits === 16 ? moved : v128.and(moved, mask);
    };
    return [at(part * bits), at(8 + part * bits)];
  };
  return { parts, bytes, halves };
}

/** Codes of one stored vector that are read together: moved down by `shift`, then masked, each into the sum of its height. */
interface Round {
  readonly shift: number;
  readonly codes: readonly { readonly part: number; readonly sum: number; readonly mask?: Local<"v128"> }[];
}

/** Whether codes are multiplied as they stand, masked out of their bytes. */
function inPlace({ bits, step, arithmetic }: ByteDot): boolean {
  return arithmetic === "relaxed" && step !== undefined && (bits === 1 || bits === 2 || bits === 4);
}

/** The rounds of a stored vector of codes that are multiplied in place. */
function roundsOf(f: FunctionBuilder, { bits, sums }: ByteDot): readonly Round[] {
  const masks = Array.from({ length: sums }, (_, i) => f.let(i8x16.splat(((2 ** bits - 1) << (i * bits)) & 0xff)));
  return Array.from({ length: 8 / bits / sums }, (_, round) => ({
    shift: round * sums * bits,
    codes: masks.map((mask, sum) => ({ part: round * sums + sum, sum, mask })),
  }));
}

/** Some quads at once with one row of activations, or with tables of their sums (`lookupTables`) as `q`. */
function emitQuads(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, q, scales, sums, weights, quadBytes, blocks }: Fields<(typeof gemvInt8.fields)[number]>,
  quads: readonly Local<"i32">[],
): void {
  const { dot, headerBytes, blockCells } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const lookup = byLookup(dot);
  const step = inPlace(dot) || lookup ? (dot.step ?? 1) : 1;
  const block = blockArithmetic(f, layout);
  const [sum, d, Xd] = f.locals("v128", 3);
  const at = f.let(q);
  const index = f.let(i32.const(0));
  const streams = quads.map((quad) => ({
    quad,
    address: f.let(i32.add(weights, i32.mul(quad, quadBytes))),
    integers: f.locals("v128", dot.sums),
    total: f.let(zeroVector),
  }));
  const size = cellBytes(dot.bits);
  const columns = cellColumns(dot.bits);
  const group = divisor(blockCells, 4);
  const cell = lookup ? undefined : emitCell(f, dot, at, streams);
  const lookUp = lookup ? emitLookups(f, at, streams, { headerBytes, cells: blockCells }) : undefined;
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, block.prepare(i32.add(sums, index)));
    const headers = streams.map(({ address }) => f.let(address));
    for (const { integers, address } of streams) {
      integers.forEach((integer, i) => {
        f.set(integer, i === 0 && step === 1 ? block.start(block.zero(address), sum) : zeroVector);
      });
    }
    const rounds = blockCells / group;
    const round = () => {
      for (let g = 0; g < group; g++) cell?.(headerBytes + size * g, g * columns);
      for (const { address } of streams) f.advance(address, size * group);
      f.advance(at, group * columns * (relaxed ? 1 : 2));
    };
    if (lookUp) lookUp();
    else if (rounds === 1) round();
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
  for (const { total, quad } of streams) f.emit(v128.store(i32.add(out, i32.shl(quad, 4)), total));
}

interface Stream {
  readonly address: Local<"i32">;
  readonly integers: readonly Local<"v128">[];
}

/** Emits the products of a cell: its codes `offset` bytes from each stream's address, its activations `k` from `at`. */
function emitCell(f: FunctionBuilder, dot: ByteDot, at: Local<"i32">, streams: readonly Stream[]) {
  const { parts, bytes, halves } = weightReader(f, dot);
  const rounds = inPlace(dot) ? roundsOf(f, dot) : [];
  const [x, y, stored] = f.locals("v128", 3);
  const raised = f.locals("v128", dot.sums);
  const multiply = (integer: Local<"v128">, activation: Local<"v128">, weight: Expression<"v128">) =>
    f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(activation, weight, integer));
  return (offset: number, k: number) => {
    if (rounds.length > 0) {
      for (const { shift, codes } of rounds) {
        codes.forEach(({ part }, i) => {
          f.set(raised[i], v128.load32_splat(at, k + 4 * part));
        });
        for (const { address, integers } of streams) {
          const loaded = v128.load(address, offset);
          f.set(stored, shift === 0 ? loaded : i16x8.shr_u(loaded, shift));
          codes.forEach(({ sum, mask }, i) => {
            multiply(integers[sum], raised[i], mask ? v128.and(stored, mask) : stored);
          });
        }
      }
      return;
    }
    for (let part = 0; part < parts; part++) {
      const step = k + 4 * part;
      const relaxed = dot.arithmetic === "relaxed";
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

function emitGemm(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemmInt8.fields)[number]>,
  range: Range,
) {
  const { weights, quadBytes, panels, panelsPerItem, scratch, scratchBytes, blocks } = args;
  const [panel, end, block, count, quad] = f.locals("i32", 5);
  f.set(end, i32.mul(range.to, panelsPerItem));
  f.if(i32.gt_u(end, panels), () => f.set(end, panels));
  const mine = f.let(i32.add(scratch, i32.mul(range.thread, scratchBytes)));
  const chunk = chunkBlocks(layout);
  f.for(block, 0, blocks, chunk, () => {
    f.set(count, i32.sub(blocks, block));
    f.if(i32.gt_u(count, chunk), () => f.set(count, chunk));
    f.for(panel, i32.mul(range.from, panelsPerItem), end, 1, () => {
      const first = i32.mul(i32.mul(panel, layout.tile.quads), quadBytes);
      f.set(quad, i32.add(i32.add(weights, first), i32.mul(block, layout.blockBytes)));
      emitUnpack(f, layout, quadBytes, { quad, count, panel: mine });
      const place = { panel, quad, block, count, mine };
      overTiles(f, layout.tile, args, (row, height) => emitTile(f, layout, args, place, row, height));
    });
  });
}

/** Unpacks `count` blocks of a panel: for each four k the vectors of its quads (as i16: all even, then all odd bytes). */
function emitUnpack(
  f: FunctionBuilder,
  layout: Int8Layout,
  quadBytes: Local<"i32">,
  { quad, count, panel }: { quad: Local<"i32">; count: Local<"i32">; panel: Local<"i32"> },
): void {
  const { dot, blockCells, headerBytes, tile } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const { parts, bytes, halves } = weightReader(f, dot);
  const to = f.local("i32");
  const source = f.local("i32");
  const stride = tile.quads * 16 * activationBytes(dot);
  for (let i = 0; i < tile.quads; i++) {
    f.set(to, i32.add(panel, 16 * i));
    f.set(source, i32.add(quad, i32.mul(quadBytes, i)));
    f.repeat(f.local("i32"), count, () => {
      f.advance(source, headerBytes);
      f.repeat(f.local("i32"), blockCells, () => {
        for (let part = 0; part < parts; part++) {
          if (relaxed) f.emit(v128.store(to, bytes(source, 0, part), part * stride));
          halves(source, 0, part).forEach((half, odd) => {
            f.emit(v128.store(to, half, part * stride + 16 * tile.quads * odd));
          });
        }
        f.advance(source, cellBytes(dot.bits));
        f.advance(to, parts * stride);
      });
    });
  }
}

interface TilePlace {
  readonly panel: Local<"i32">;
  /** The panel's first quad at the chunk's first block, that block, and the blocks of the chunk. */
  readonly quad: Local<"i32">;
  readonly block: Local<"i32">;
  readonly count: Local<"i32">;
  readonly mine: Local<"i32">;
}

/** `height` rows times a panel. Sums of finished blocks wait in `out`: registers are needed for integers. */
function emitTile(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, outBytes, q, qBytes, scales, sums, quadBytes, blocks }: Fields<(typeof gemmInt8.fields)[number]>,
  { panel, quad, block, count, mine }: TilePlace,
  row: Local<"i32">,
  height: number,
): void {
  const { dot, blockBytes, paddedBlock, tile } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const width = activationBytes(dot);
  const steps = (paddedBlock / 4) * width;
  const group = divisor(steps, relaxed ? 4 : 1);
  const arithmetic = blockArithmetic(f, layout);
  const [zeros, S, M] = [0, 1, 2].map(() => f.locals("v128", tile.quads));
  const weights = f.locals("v128", tile.quads);
  const [x, sum] = f.locals("v128", 2);
  const b = f.let(mine);
  const headers = Array.from({ length: tile.quads }, (_, i) => f.let(i32.add(quad, i32.mul(quadBytes, i))));
  const from = f.let(i32.add(i32.add(q, i32.mul(row, qBytes)), i32.mul(block, paddedBlock * width * height)));
  const index = f.let(i32.shl(i32.add(i32.mul(row, blocks), i32.mul(block, height)), 2));
  const [scaleAt, sumAt] = [f.let(i32.add(scales, index)), f.let(i32.add(sums, index))];
  const rows = Array.from({ length: height }, (_, i) => ({
    to: f.let(i32.add(i32.add(out, i32.mul(i32.add(row, i), outBytes)), i32.mul(panel, tile.quads * 16))),
    integers: f.locals("v128", tile.quads),
  }));
  f.if(i32.eqz(block), () => {
    for (const { to } of rows) {
      for (let i = 0; i < tile.quads; i++) f.emit(v128.store(to, zeroVector, 16 * i));
    }
  });
  // One 32-bit word of activations of each row: four bytes, or two i16.
  const step = (g: number) => {
    weights.forEach((weight, i) => {
      f.set(weight, v128.load(b, 16 * (tile.quads * g + i)));
    });
    rows.forEach(({ integers }, r) => {
      f.set(x, v128.load32_splat(from, 4 * (g * height + r)));
      integers.forEach((integer, i) => {
        if (relaxed) f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, weights[i], integer));
        else f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(weights[i], x)));
      });
    });
  };
  f.repeat(f.local("i32"), count, () => {
    headers.forEach((header, i) => {
      if (layout.offset === "zeroPoint") f.set(zeros[i], arithmetic.zero(header));
    });
    rows.forEach(({ integers }, r) => {
      f.set(sum, arithmetic.prepare(sumAt, 4 * r));
      integers.forEach((integer, i) => {
        f.set(integer, arithmetic.start(zeros[i], sum));
      });
    });
    f.repeat(f.local("i32"), steps / group, () => {
      for (let g = 0; g < group; g++) step(g);
      f.advance(from, 4 * height * group);
      f.advance(b, 16 * tile.quads * group);
    });
    headers.forEach((header, i) => {
      f.set(S[i], arithmetic.scale(header));
      if (layout.offset === "min") f.set(M[i], arithmetic.min(header));
      f.advance(header, blockBytes);
    });
    rows.forEach(({ to, integers }, r) => {
      f.set(x, v128.load32_splat(scaleAt, 4 * r));
      if (layout.offset === "min") f.set(sum, arithmetic.scaledSum(sumAt, 4 * r, x));
      integers.forEach((integer, i) => {
        const total = arithmetic.finish(v128.load(to, 16 * i), integer, S[i], x, M[i], sum);
        f.emit(v128.store(to, total, 16 * i));
      });
    });
    f.advance(scaleAt, 4 * height);
    f.advance(sumAt, 4 * height);
  });
}
