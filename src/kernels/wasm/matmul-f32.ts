/**
 * The kernels that multiply f32 activations with weights of one layout: `gemv` decodes weights on the fly for a single
 * row of activations, `gemm` decodes a panel of columns once and multiplies it with many rows, `embed` decodes
 * one row of a table. All of them sum over k in order with a rounded product and a rounded sum, so one row of a batch
 * and the same row alone give the same bits.
 */

import { cellBytes, cellColumns } from "./cells.js";
import { decoder } from "./decode.js";
import { createModule, type Expression, type FunctionBuilder, type Local, type MemoryLimits } from "./emitter.js";
import { f32x4, i32, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import type { Layout } from "./layout.js";
import { defineInt8, isInt8 } from "./matmul-int8.js";
import { quadPlace } from "./places.js";
import { sharedReader } from "./shared.js";
import { overQuads, streamsOf } from "./streams.js";
import { overTiles, type Tiling } from "./tile.js";

/** out: address of the output row. Items: runs of `quadsPerItem` quads. */
export const gemv: KernelSignature<
  "out" | "x" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | "blocks" | "cells" | "table"
> = {
  name: "gemv",
  fields: ["out", "x", "weights", "quadBytes", "quads", "quadsPerItem", "blocks", "cells", "table"],
  writes: ["out"],
  reads: ["x"],
};

/** Items: runs of `panelsPerItem` panels. xBytes, outBytes: from one row to the next. */
export const gemm: KernelSignature<
  | ("out" | "outBytes" | "x" | "xBytes" | "batch" | "weights" | "quadBytes" | "panels" | "panelsPerItem")
  | ("blocks" | "cells" | "table" | "scratch" | "scratchBytes" | keyof Tiling)
> = {
  name: "gemm",
  fields: [
    ...(["out", "outBytes", "x", "xBytes", "batch", "weights", "quadBytes", "panels", "panelsPerItem"] as const),
    ...(["blocks", "cells", "table", "scratch", "scratchBytes", "height", "tallRows"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["x"],
};

/** Items: single ids; row ids[i] of the table goes to out + i * columns. */
export const embed: KernelSignature<
  | "out"
  | "ids"
  | "columns"
  | "weights"
  | "quadBytes"
  | "blocks"
  | "cells"
  | "blockColumns"
  | "table"
  | "scratch"
  | "scratchBytes"
> = {
  name: "embed",
  fields: [
    ...(["out", "ids", "columns", "weights", "quadBytes", "blocks", "cells", "blockColumns", "table"] as const),
    ...(["scratch", "scratchBytes"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["ids"],
};

/** k of a panel that are decoded at a time: 16 KiB of f32, so that panel and activations stay in the L1 cache. */
export const panelColumns = 256;

/** Bytes of scratch memory that one thread needs for a layout. */
export function scratchBytes({ paddedBlock, blocks, paddedColumns, tile }: Layout): number {
  const panel = Math.max(panelColumns, blocks > 1 ? paddedBlock : 0) * tile.quads * 16;
  return Math.max(panel, paddedColumns * 16);
}

/** The bytes of the module for a layout; `key` below says which layouts share it. */
export function matmulModule(layout: Layout, memory: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(memory);
  if (isInt8(layout)) defineInt8(m, layout);
  else {
    defineKernel(m, gemv, (f, args, range) => emitGemv(f, layout, args, range));
    defineKernel(m, gemm, (f, args, range) => emitGemm(f, layout, args, range));
  }
  defineKernel(m, embed, (f, args, range) => emitEmbed(f, layout, args, range));
  return m.bytes();
}

/** Layouts with the same key run the same code. */
export function layoutKey(layout: Layout): string {
  const { decode, order, factor, scale, offset, offsets, blocks, blockCells, blockColumns, dot, fused, relaxed } =
    layout;
  // A single block's length is an argument; several blocks' is part of the code.
  const block = blocks > 1 || dot ? [blockCells, blockColumns, blocks > 1] : "row";
  return JSON.stringify([decode, order, factor, scale, offset, offsets, block, dot, fused, relaxed]);
}

/** The weights of a block: raw values times scale, with the offset. */
interface Block {
  readonly scale?: Local<"v128">;
  /** Loads the header at `address` (and moves on to the codes) into this block's registers. */
  enter(address: Local<"i32">): void;
  weight(raw: Expression<"v128">): Expression<"v128">;
}

function blockOf(f: FunctionBuilder, layout: Layout): Block {
  const { scale: scaleForm, offsets: offsetForm, offset, factor, headerBytes, fused } = layout;
  const readScale = scaleForm && sharedReader(f, scaleForm);
  const readOffset = offsetForm && sharedReader(f, offsetForm);
  const constant = !readScale && factor !== 1 ? f.let(f32x4.splat(factor)) : undefined;
  const scale = readScale ? f.local("v128") : constant;
  const M = readOffset && f.local("v128");
  return {
    scale,
    enter(address) {
      if (readScale && scale) f.set(scale, readScale(address, 0));
      if (readOffset && M) f.set(M, readOffset(address, scaleForm?.bytes ?? 0));
      f.advance(address, headerBytes);
    },
    weight(raw) {
      if (M && offset === "min" && scale) return multiplyAdd(fused, raw, scale, M);
      const shifted = M && offset === "zeroPoint" ? f32x4.sub(raw, M) : raw;
      const scaled = scale ? f32x4.mul(shifted, scale) : shifted;
      return M && offset === "min" ? f32x4.add(scaled, M) : scaled;
    },
  };
}

type Vector = Expression<"v128">;

/** a b + c: two roundings in a fixed order, or as the host likes. */
function multiplyAdd(fused: boolean, a: Vector, b: Vector, c: Vector): Vector {
  return fused ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

/** Runs `body` for every unrolled group of cells of a block. */
function overCells(f: FunctionBuilder, layout: Layout, runtimeCells: Local<"i32">, body: (group: number) => void) {
  const { blocks, blockCells } = layout;
  const counter = f.local("i32");
  const group = unrolled(layout);
  if (blocks <= 1) {
    f.repeat(counter, i32.div_u(runtimeCells, group), () => body(group));
  } else if (blockCells === group) body(group);
  else f.repeat(counter, blockCells / group, () => body(group));
}

/** Cells handled by one round of the inner loop: about 8 columns, more would only lengthen the code. */
function unrolled({ blocks, blockCells, decode }: Layout): number {
  const wanted = Math.max(1, 8 / cellColumns(decode.bits));
  return blocks <= 1 || blockCells % wanted === 0 ? wanted : 1;
}

function emitGemv(f: FunctionBuilder, layout: Layout, args: Fields<(typeof gemv.fields)[number]>, range: Range): void {
  overQuads(f, streamsOf(layout), args, range, (quads) => emitQuads(f, layout, args, quads));
}

/** Dot products of one row of activations with some quads at once. */
function emitQuads(
  f: FunctionBuilder,
  layout: Layout,
  { out, x, weights, quadBytes, blocks, cells, table }: Fields<(typeof gemv.fields)[number]>,
  quads: readonly Local<"i32">[],
): void {
  const at = f.let(x);
  const streams = quads.map((quad) => ({
    quad,
    address: f.let(i32.add(weights, i32.mul(quad, quadBytes))),
    sum: f.local("v128"),
    block: blockOf(f, layout),
    part: f.local("v128"),
  }));
  // Unless every product's rounding is fixed, a block's sum can be scaled once instead of every weight.
  const { fused } = layout;
  const factored = fused && layout.offset === "none" && streams[0].block.scale !== undefined;
  const decode = decoder(f, layout, table);
  const { width, parts } = decode;
  const bytes = cellBytes(layout.decode.bits);
  const activations = f.locals("v128", width);
  for (const { sum } of streams) f.set(sum, v128.const(new Uint8Array(16)));
  f.repeat(f.local("i32"), blocks, () => {
    for (const { block, address, part } of streams) {
      block.enter(address);
      if (factored) f.set(part, v128.const(new Uint8Array(16)));
    }
    overCells(f, layout, cells, (group) => {
      for (let part = 0; part < group * parts; part++) {
        activations.forEach((activation, k) => {
          f.set(activation, v128.load32_splat(at, 4 * (part * width + k)));
        });
        for (const { address, sum, block, part: inBlock } of streams) {
          decode.decode(address, bytes * Math.floor(part / parts), part % parts, (k, raw) => {
            if (factored) f.set(inBlock, multiplyAdd(fused, activations[k], raw, inBlock));
            else f.set(sum, multiplyAdd(fused, activations[k], block.weight(raw), sum));
          });
        }
      }
      for (const { address } of streams) f.advance(address, bytes * group);
      f.advance(at, 4 * group * parts * width);
    });
    for (const { sum, block, part } of streams) {
      if (factored && block.scale) f.set(sum, multiplyAdd(fused, part, block.scale, sum));
    }
  });
  for (const { sum, quad } of streams) f.emit(v128.store(i32.add(out, i32.shl(quad, 4)), sum));
}

/**
 * Decodes `count` blocks (or one block of `cells` cells) of a quad into a panel: k after k, `stride` bytes apart.
 * `header` is where the first header stands, `codes` where its codes begin.
 */
function emitPanel(
  f: FunctionBuilder,
  layout: Layout,
  { header, codes, count, cells, table, to, stride }: PanelSource,
): void {
  const block = blockOf(f, layout);
  const decode = decoder(f, layout, table);
  const { width, parts } = decode;
  const { beside, blocks, blockBytes, headerBytes } = layout;
  const bytes = beside * cellBytes(layout.decode.bits);
  f.repeat(f.local("i32"), count, () => {
    block.enter(header);
    overCells(f, layout, cells, (group) => {
      for (let part = 0; part < group * parts; part++) {
        decode.decode(codes, bytes * Math.floor(part / parts), part % parts, (k, raw) =>
          f.emit(v128.store(to, block.weight(raw), (part * width + k) * stride)),
        );
      }
      f.advance(codes, bytes * group);
      f.advance(to, group * parts * width * stride);
    });
    if (blocks > 1) f.advance(header, beside * blockBytes - headerBytes);
    f.advance(codes, beside * headerBytes);
  });
}

interface PanelSource {
  readonly header: Local<"i32">;
  readonly codes: Local<"i32">;
  readonly count: Local<"i32">;
  readonly cells: Local<"i32">;
  readonly table: Local<"i32">;
  readonly to: Local<"i32">;
  readonly stride: number;
}

function emitGemm(f: FunctionBuilder, layout: Layout, args: Fields<(typeof gemm.fields)[number]>, range: Range): void {
  const { weights, quadBytes, panels, panelsPerItem, blocks, cells, table, scratch, scratchBytes } = args;
  const { headerBytes, blockBytes, paddedBlock, tile } = layout;
  const { bits } = layout.decode;
  const [first, end, panel, columnsDone, left, count, chunkCells, chunkColumns] = f.locals("i32", 8);
  const [header, codes, to, start] = f.locals("i32", 4);
  const whole = layout.blocks <= 1;
  const chunkBlocks = Math.max(1, Math.floor(panelColumns / paddedBlock));
  f.set(first, i32.mul(range.from, panelsPerItem));
  f.set(end, i32.mul(range.to, panelsPerItem));
  f.if(i32.gt_u(end, panels), () => f.set(end, panels));
  const mine = f.let(i32.add(scratch, i32.mul(range.thread, scratchBytes)));
  f.set(left, whole ? cells : blocks);
  f.set(columnsDone, 0);
  f.block((done) =>
    f.loop((next) => {
      f.branchIf(done, i32.eqz(left));
      if (whole) {
        minimum(f, chunkCells, left, panelColumns / cellColumns(bits));
        f.set(count, 1);
        f.set(chunkColumns, i32.mul(chunkCells, cellColumns(bits)));
      } else {
        minimum(f, count, left, chunkBlocks);
        f.set(chunkColumns, i32.mul(count, paddedBlock));
      }
      f.for(panel, first, end, 1, () => {
        for (let quad = 0; quad < tile.quads; quad++) {
          f.set(start, i32.add(weights, i32.mul(i32.add(i32.mul(panel, tile.quads), quad), quadBytes)));
          if (whole) {
            f.set(header, start);
            const cellsDone = i32.div_u(columnsDone, cellColumns(bits));
            f.set(codes, i32.add(i32.add(start, headerBytes), i32.mul(cellsDone, cellBytes(bits))));
          } else {
            f.set(header, i32.add(start, i32.mul(i32.div_u(columnsDone, paddedBlock), blockBytes)));
            f.set(codes, i32.add(header, headerBytes));
          }
          f.set(to, i32.add(mine, quad * 16));
          const stride = tile.quads * 16;
          emitPanel(f, layout, { header, codes, count, cells: chunkCells, table, to, stride });
        }
        const place = { panel, columnsDone, chunkColumns, panelAt: mine };
        overTiles(f, tile, args, (row, height) => emitTile(f, layout, args, place, row, height));
      });
      f.advance(columnsDone, chunkColumns);
      f.set(left, i32.sub(left, whole ? chunkCells : count));
      f.branch(next);
    }),
  );
}

function minimum(f: FunctionBuilder, out: Local<"i32">, a: Local<"i32">, b: number): void {
  f.set(out, b);
  f.if(i32.lt_u(a, b), () => f.set(out, a));
}

interface TilePlace {
  readonly panel: Local<"i32">;
  readonly columnsDone: Local<"i32">;
  readonly chunkColumns: Local<"i32">;
  readonly panelAt: Local<"i32">;
}

/** Rows of activations times one decoded panel. */
function emitTile(
  f: FunctionBuilder,
  { fused, tile }: Layout,
  { out, outBytes, x, xBytes }: Fields<(typeof gemm.fields)[number]>,
  { panel, columnsDone, chunkColumns, panelAt }: TilePlace,
  row: Local<"i32">,
  height: number,
): void {
  const activation = f.local("v128");
  const weights = f.locals("v128", tile.quads);
  const at = f.let(panelAt);
  const rows = Array.from({ length: height }, (_, i) => {
    const m = i32.add(row, i);
    return {
      from: f.let(i32.add(i32.add(x, i32.mul(m, xBytes)), i32.shl(columnsDone, 2))),
      to: f.let(i32.add(i32.add(out, i32.mul(m, outBytes)), i32.mul(panel, tile.quads * 16))),
      sums: f.locals("v128", tile.quads),
    };
  });
  const every = (each: (to: Local<"i32">, sum: Local<"v128">, offset: number) => void) => {
    for (const { to, sums } of rows) {
      sums.forEach((sum, quad) => {
        each(to, sum, 16 * quad);
      });
    }
  };
  // Sums of earlier columns wait in `out`; f32 in memory is the same f32, so the order of sums is not broken.
  f.if(
    i32.eqz(columnsDone),
    () => every((_, sum) => f.set(sum, v128.const(new Uint8Array(16)))),
    () => every((to, sum, offset) => f.set(sum, v128.load(to, offset))),
  );
  f.repeat(f.local("i32"), chunkColumns, () => {
    weights.forEach((weight, quad) => {
      f.set(weight, v128.load(at, 16 * quad));
    });
    for (const { from, sums } of rows) {
      f.set(activation, v128.load32_splat(from));
      sums.forEach((sum, quad) => {
        f.set(sum, multiplyAdd(fused, activation, weights[quad], sum));
      });
      f.advance(from, 4);
    }
    f.advance(at, tile.quads * 16);
  });
  every((to, sum, offset) => f.emit(v128.store(to, sum, offset)));
}

function emitEmbed(
  f: FunctionBuilder,
  layout: Layout,
  args: Fields<(typeof embed.fields)[number]>,
  { from, to: end, thread }: Range,
): void {
  const { out, ids, columns, weights, quadBytes, blocks, cells, blockColumns, table, scratch, scratchBytes } = args;
  const { paddedBlock } = layout;
  const [i, id, header, codes, to, k, source, target, inBlock] = f.locals("i32", 9);
  const mine = f.let(i32.add(scratch, i32.mul(thread, scratchBytes)));
  f.for(i, from, end, 1, () => {
    f.set(id, i32.load(i32.add(ids, i32.shl(i, 2))));
    const place = quadPlace(f, layout, { weights, quadBytes }, i32.shr_u(id, 2));
    f.set(header, place.header);
    f.set(codes, place.codes);
    f.set(to, mine);
    emitPanel(f, layout, { header, codes, count: blocks, cells, table, to, stride: 16 });
    // Pick this row's lane, and leave the padding of blocks out.
    f.set(source, i32.add(mine, i32.shl(i32.and(id, 3), 2)));
    f.set(target, i32.add(out, i32.shl(i32.mul(i, columns), 2)));
    f.set(inBlock, blockColumns);
    f.for(k, 0, columns, 1, () => {
      f.emit(i32.store(target, i32.load(source)));
      f.advance(target, 4);
      f.advance(source, 16);
      if (layout.blocks > 1 && paddedBlock !== layout.blockColumns) {
        f.set(inBlock, i32.sub(inBlock, 1));
        f.if(i32.eqz(inBlock), () => {
          f.set(inBlock, blockColumns);
          f.advance(source, 16 * (paddedBlock - layout.blockColumns));
        });
      }
    });
  });
}
