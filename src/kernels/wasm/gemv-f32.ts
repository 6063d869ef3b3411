/** The kernel for one row of f32 activations: some quads at once, decoded on the fly. */
import { cellBytes } from "./cells.js";
import { decoder } from "./decode.js";
import type { FunctionBuilder } from "./emitter.js";
import { blockOf, multiplyAdd, overCells } from "./f32-blocks.js";
import { v128 } from "./instructions.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import type { Layout } from "./layout.js";
import { groupFields, overGroup, type QuadInHand } from "./streams.js";

/** out: address of the output row. Items: runs of `quadsPerItem` quads. */
export const gemv: KernelSignature<
  | ("out" | "x" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | "blocks" | "cells" | "table")
  | (typeof groupFields)[number]
> = {
  name: "gemv",
  fields: [
    ...(["out", "x", "weights", "quadBytes", "quads", "quadsPerItem", "blocks", "cells", "table"] as const),
    ...groupFields,
  ],
  writes: ["out", "out1", "out2"],
  reads: ["x"],
};

export function emitGemv(
  f: FunctionBuilder,
  layout: Layout,
  args: Fields<(typeof gemv.fields)[number]>,
  range: Range,
): void {
  overGroup(f, layout, args, range, (quads) => emitQuads(f, layout, args, quads));
}

/** Dot products of one row of activations with some quads at once. */
function emitQuads(
  f: FunctionBuilder,
  layout: Layout,
  { x, blocks, cells, table }: Fields<(typeof gemv.fields)[number]>,
  quads: readonly QuadInHand[],
): void {
  const at = f.let(x);
  const streams = quads.map(({ address, to }) => ({
    address,
    to,
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
  for (const { sum, to } of streams) f.emit(v128.store(to, sum));
}
