/** The kernel that decodes single rows of a matrix. */
import type { FunctionBuilder } from "./emitter.js";
import { emitPanel } from "./f32-blocks.js";
import { i32 } from "./instructions.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import type { Layout } from "./layout.js";
import { quadPlace } from "./places.js";

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

export function emitEmbed(
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
    const shift = place.shift && f.let(place.shift);
    f.set(to, mine);
    emitPanel(f, layout, { header, codes, count: blocks, cells, table, to, stride: 16, shift });
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
