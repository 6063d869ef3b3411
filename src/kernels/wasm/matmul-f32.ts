/**
 * The kernels that multiply f32 activations with weights of one layout: `gemv` decodes weights on the fly for a single
 * row of activations, `gemm` decodes a panel of columns once and multiplies it with many rows, `embed` decodes
 * one row of a table. All of them sum over k in order with a rounded product and a rounded sum, so one row of a batch
 * and the same row alone give the same bits.
 */
import { embed, emitEmbed } from "./embed.js";
import { createModule, type MemoryLimits } from "./emitter.js";
import { emitGemm, gemm, panelColumns } from "./gemm-f32.js";
import { emitGemv, gemv } from "./gemv-f32.js";
import { defineKernel } from "./kernel.js";
import type { Layout } from "./layout.js";
import { defineInt8, isInt8 } from "./matmul-int8.js";

export { embed } from "./embed.js";
export { gemm } from "./gemm-f32.js";
export { gemv } from "./gemv-f32.js";

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
