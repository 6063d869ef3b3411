/** The kernel for many rows of f32 activations: panels of weights are decoded once and multiplied in tiles. */
import { cellBytes, cellColumns } from "./cells.js";
import type { FunctionBuilder, Local } from "./emitter.js";
import { emitPanel, multiplyAdd } from "./f32-blocks.js";
import { i32, v128 } from "./instructions.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import type { Layout } from "./layout.js";
import { overTiles, type Tiling } from "./tile.js";

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

/** k of a panel that are decoded at a time: 16 KiB of f32, so that panel and activations stay in the L1 cache. */
export const panelColumns = 256;

export function emitGemm(
  f: FunctionBuilder,
  layout: Layout,
  args: Fields<(typeof gemm.fields)[number]>,
  range: Range,
): void {
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
