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
import { type CodeReader, cellBytes, cellColumns, codeReader, planesOf } from "./cells.js";
import { pickBytes } from "./decode.js";
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, memory, select, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { overLanes, zeroVector } from "./lanes.js";
import type { ByteDot, Layout } from "./layout.js";
import { overTiles } from "./tile.js";

/** Items: blocks of rows. q: rounded activations; scales and sums: d and X of each block, in order. */
export const roundRows: KernelSignature<
  "x" | "columns" | "blocks" | "blockColumns" | "paddedBlock" | "q" | "scales" | "sums"
> = {
  name: "roundRows",
  fields: ["x", "columns", "blocks", "blockColumns", "paddedBlock", "q", "scales", "sums"],
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

/** Items: runs of panels. Activations are [batch][blocks][block], scales and sums [batch][blocks]. */
export const gemmInt8: KernelSignature<
  | ("out" | "outBytes" | "q" | "qBytes" | "scales" | "sums" | "batch" | "weights" | "quadBytes" | "panels")
  | ("panelsPerItem" | "blocks" | "scratch" | "scratchBytes")
> = {
  name: "gemmInt8",
  fields: [
    ...(["out", "outBytes", "q", "qBytes", "scales", "sums", "batch", "weights", "quadBytes", "panels"] as const),
    ...(["panelsPerItem", "blocks", "scratch", "scratchBytes"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "scales", "sums"],
};

type Int8Layout = Layout & { readonly dot: ByteDot };

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
  defineKernel(m, roundRows, (f, args, range) => emitRoundRows(f, layout.dot, args, range));
  defineKernel(m, gemvInt8, (f, args, range) => emitGemv(f, layout, args, range));
  defineKernel(m, gemmInt8, (f, args, range) => emitGemm(f, layout, args, range));
}

function emitRoundRows(
  f: FunctionBuilder,
  { arithmetic }: ByteDot,
  args: Fields<(typeof roundRows.fields)[number]>,
  { from, to }: Range,
): void {
  const { x, columns, blocks, blockColumns, paddedBlock, q, scales, sums } = args;
  const bytes = arithmetic === "relaxed" ? 1 : 2;
  const [item, row, count] = f.locals("i32", 3);
  const [v, largest, total] = f.locals("v128", 3);
  const [amax, inverse] = f.locals("f32", 2);
  f.for(item, from, to, 1, () => {
    f.set(row, i32.div_u(item, blocks));
    const start = f.let(i32.mul(i32.sub(item, i32.mul(row, blocks)), blockColumns));
    f.set(count, i32.sub(columns, start));
    f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
    const source = f.let(i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)));
    const target = f.let(i32.add(q, i32.mul(item, i32.mul(paddedBlock, bytes))));
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
    const clear = i32.mul(i32.sub(paddedBlock, i32.and(count, -4)), bytes);
    f.if(i32.ne(count, paddedBlock), () =>
      f.emit(memory.fill(i32.add(target, i32.mul(i32.and(count, -4), bytes)), 0, clear)),
    );
    overLanes(f, count, (offset, mask) => {
      const scaled = f32x4.mul(values(offset, mask), f32x4.splat(inverse));
      f.set(v, i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled)));
      f.set(total, i32x4.add(total, v));
      f.set(v, i16x8.narrow_i32x4_s(v, v));
      if (arithmetic === "relaxed") {
        const at = i32.add(target, i32.shr_u(offset, 2));
        f.emit(v128.store32_lane(at, i8x16.narrow_i16x8_s(v, v), 0));
      } else {
        const order = [0, 1, 4, 5, 2, 3, 6, 7];
        const at = i32.add(target, i32.shr_u(offset, 1));
        f.emit(v128.store64_lane(at, i8x16.shuffle(v, v, [...order, ...order]), 0));
      }
    });
    const part = (i: number) => i32x4.extract_lane(total, i);
    const place = f.let(i32.shl(item, 2));
    f.emit(f32.store(i32.add(scales, place), f32.div(amax, 127)));
    f.emit(i32.store(i32.add(sums, place), i32.add(i32.add(part(0), part(1)), i32.add(part(2), part(3)))));
  });
}

/** How a block's integer sum begins and how it becomes part of the result; `header` is the block's address. */
function blockArithmetic({ offset, dot }: Int8Layout) {
  return {
    /** What `start` needs of the activations of a block, whose X stands at `address`: for all columns alike. */
    prepare(address: Expression<"i32">): Expression<"v128"> {
      if (offset === "zeroPoint") return v128.load32_splat(address);
      return dot.bias === 0 ? zeroVector : i32x4.splat(i32.mul(i32.load(address), -dot.bias));
    },
    /** -(bias + Z) X: where the integer sum begins, so that it ends as the sum of q (i - Z). */
    start(header: Expression<"i32">, prepared: Expression<"v128">): Expression<"v128"> {
      if (offset !== "zeroPoint") return prepared;
      return i32x4.mul(prepared, i32x4.sub(i32x4.splat(-dot.bias), i32x4.trunc_sat_f32x4_s(v128.load(header, 16))));
    },
    /** X d, which offsets of the kind "min" multiply; unused otherwise. */
    scaledSum(address: Expression<"i32">, scale: Expression<"v128">): Expression<"v128"> {
      return f32x4.mul(f32x4.convert_i32x4_s(v128.load32_splat(address)), scale);
    },
    /** `total` with the block's contribution. `scale`: d, `scaledSum`: X d, splatted. */
    finish(
      header: Expression<"i32">,
      total: Expression<"v128">,
      integer: Expression<"v128">,
      scale: Expression<"v128">,
      scaledSum: Expression<"v128">,
    ): Expression<"v128"> {
      const product = f32x4.mul(f32x4.convert_i32x4_s(integer), f32x4.mul(v128.load(header), scale));
      const main = f32x4.add(total, product);
      return offset === "min" ? f32x4.add(main, f32x4.mul(scaledSum, v128.load(header, 16))) : main;
    },
  };
}

/** Weights out of cells, four k at a time: as bytes, or as i16 split into even and odd bytes. */
function weightReader(f: FunctionBuilder, { bits, lookup, arithmetic }: ByteDot) {
  const parts = cellColumns(bits) / 4;
  const read = codeReader(f, bits);
  const table = lookup && f.let(v128.const(Uint8Array.from({ length: 16 }, (_, i) => lookup[i] ?? 0)));
  const bytes: CodeReader = (address, offset, part) => {
    const codes = read(address, offset, part);
    return table ? pickBytes(arithmetic === "relaxed")(table, codes) : codes;
  };
  const split = f.local("v128");
  const simple = !table && planesOf(bits).length === 1;
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

/** The largest divisor of `count` that is at most `limit`. */
function divisor(count: number, limit: number): number {
  let best = 1;
  for (let d = 1; d <= limit; d++) if (count % d === 0) best = d;
  return best;
}

function emitGemv(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemvInt8.fields)[number]>,
  range: Range,
) {
  // The plain arithmetic needs registers for more than sums; spilling them costs more than streams gain.
  const streams = layout.dot.arithmetic === "relaxed" ? 6 : 2;
  const { quads, quadsPerItem } = args;
  const [quad, end, run, i] = f.locals("i32", 4);
  f.set(quad, i32.mul(range.from, quadsPerItem));
  f.set(end, i32.mul(range.to, quadsPerItem));
  f.if(i32.gt_u(end, quads), () => f.set(end, quads));
  f.if(i32.ge_u(quad, end), () => f.return());
  f.set(run, i32.div_u(i32.sub(end, quad), streams));
  // Each stream walks its own run of quads, so that memory is read in several places at once.
  f.for(i, 0, run, 1, () => {
    const starts = Array.from({ length: streams }, (_, s) => f.let(i32.add(quad, i32.add(i, i32.mul(run, s)))));
    emitQuads(f, layout, args, starts);
  });
  f.set(quad, i32.add(quad, i32.mul(run, streams)));
  f.for(i, quad, end, 1, () => emitQuads(f, layout, args, [i]));
}

function emitQuads(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, q, scales, sums, weights, quadBytes, blocks }: Fields<(typeof gemvInt8.fields)[number]>,
  quads: readonly Local<"i32">[],
): void {
  const { dot, headerBytes, blockCells } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const { parts, bytes, halves } = weightReader(f, dot);
  const { prepare, start, scaledSum, finish } = blockArithmetic(layout);
  const [x, y, sum, scale] = f.locals("v128", 4);
  const at = f.let(q);
  const index = f.let(i32.const(0));
  const streams = quads.map((quad) => ({
    quad,
    address: f.let(i32.add(weights, i32.mul(quad, quadBytes))),
    integer: f.local("v128"),
    total: f.let(zeroVector),
  }));
  const size = cellBytes(dot.bits);
  const group = divisor(blockCells, 4);
  const cell = (g: number) => {
    for (let part = 0; part < parts; part++) {
      const k = (g * parts + part) * 4;
      f.set(x, v128.load32_splat(at, relaxed ? k : 2 * k));
      if (!relaxed) f.set(y, v128.load32_splat(at, 2 * k + 4));
      for (const { address, integer } of streams) {
        const offset = headerBytes + size * g;
        if (relaxed) {
          f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, bytes(address, offset, part), integer));
        } else {
          halves(address, offset, part).forEach((half, odd) => {
            f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(half, odd ? y : x)));
          });
        }
      }
    }
  };
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, prepare(i32.add(sums, index)));
    const headers = streams.map(({ address }) => f.let(address));
    for (const { integer, address } of streams) f.set(integer, start(address, sum));
    const rounds = blockCells / group;
    const round = () => {
      for (let g = 0; g < group; g++) cell(g);
      for (const { address } of streams) f.advance(address, size * group);
      f.advance(at, group * parts * (relaxed ? 4 : 8));
    };
    if (rounds === 1) round();
    else f.repeat(f.local("i32"), rounds, round);
    f.set(scale, v128.load32_splat(i32.add(scales, index)));
    if (layout.offset === "min") f.set(sum, scaledSum(i32.add(sums, index), scale));
    streams.forEach(({ address, integer, total }, s) => {
      f.set(total, finish(headers[s], total, integer, scale, sum));
      f.advance(address, headerBytes);
    });
    f.advance(index, 4);
  });
  for (const { total, quad } of streams) f.emit(v128.store(i32.add(out, i32.shl(quad, 4)), total));
}

function emitGemm(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemmInt8.fields)[number]>,
  range: Range,
) {
  const { weights, quadBytes, panels, panelsPerItem, scratch, scratchBytes, batch, blocks } = args;
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
      overTiles(f, layout.tile, batch, (row, height) => emitTile(f, layout, args, place, row, height));
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
  const { prepare, start, scaledSum, finish } = blockArithmetic(layout);
  const weights = f.locals("v128", tile.quads);
  const [x, sum] = f.locals("v128", 2);
  const b = f.let(mine);
  const headers = Array.from({ length: tile.quads }, (_, i) => f.let(i32.add(quad, i32.mul(quadBytes, i))));
  const rows = Array.from({ length: height }, (_, i) => {
    const m = i32.add(row, i);
    return {
      from: f.let(i32.add(i32.add(q, i32.mul(m, qBytes)), i32.mul(block, paddedBlock * width))),
      to: f.let(i32.add(i32.add(out, i32.mul(m, outBytes)), i32.mul(panel, tile.quads * 16))),
      index: f.let(i32.shl(i32.add(i32.mul(m, blocks), block), 2)),
      integers: f.locals("v128", tile.quads),
    };
  });
  f.if(i32.eqz(block), () => {
    for (const { to } of rows) {
      for (let i = 0; i < tile.quads; i++) f.emit(v128.store(to, zeroVector, 16 * i));
    }
  });
  // One 32-bit word of activations: four bytes, or two i16.
  const step = (g: number) => {
    weights.forEach((weight, i) => {
      f.set(weight, v128.load(b, 16 * (tile.quads * g + i)));
    });
    for (const { from, integers } of rows) {
      f.set(x, v128.load32_splat(from, 4 * g));
      integers.forEach((integer, i) => {
        if (relaxed) f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, weights[i], integer));
        else f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(weights[i], x)));
      });
    }
  };
  f.repeat(f.local("i32"), count, () => {
    for (const { integers, index } of rows) {
      f.set(sum, prepare(i32.add(sums, index)));
      integers.forEach((integer, i) => {
        f.set(integer, start(headers[i], sum));
      });
    }
    f.repeat(f.local("i32"), steps / group, () => {
      for (let g = 0; g < group; g++) step(g);
      for (const { from } of rows) f.advance(from, 4 * group);
      f.advance(b, 16 * tile.quads * group);
    });
    for (const { to, integers, index } of rows) {
      f.set(x, v128.load32_splat(i32.add(scales, index)));
      if (layout.offset === "min") f.set(sum, scaledSum(i32.add(sums, index), x));
      integers.forEach((integer, i) => {
        f.emit(v128.store(to, finish(headers[i], v128.load(to, 16 * i), integer, x, sum), 16 * i));
      });
      f.advance(index, 4);
    }
    for (const header of headers) f.advance(header, blockBytes);
  });
}
