/**
 * Attention of several queries that share a key-value head, in tiles: the heads of a group, the rows of a prompt. Keys and
 * values are read once for a tile and each load serves several products; every number is computed as attention.ts does for a
 * query alone, in the same order. Code is made for one head size.
 *
 * The queries of a key-value head are numbered row by row, head by head within a row, so the later ones of a tile see as much as
 * the earlier ones or a few positions more. attention-steps.ts has the steps
 * of a tile.
 *
 * One item is a tile. Tiles of a head are taken from both ends by turns, because late rows of a prompt see more than early ones:
 * any run of items is then about as much work as any other of its length.
 */
import { emitTile } from "./attention-steps.js";
import { createModule, type MemoryLimits } from "./emitter.js";
import { i32, select } from "./instructions.js";
import { defineKernel, type KernelSignature } from "./kernel.js";
import { expLanes } from "./lanes.js";

type Field =
  | ("out" | "q" | "keys" | "values" | "seen" | "seenStep" | "rows" | "heads" | "kvHeads")
  | ("tileQueries" | "tiles" | "scratch" | "scratchBytes");

/**
 * Row b sees seen + b * seenStep positions, as in attention.ts. tileQueries: 1 to 4; tiles: of a key-value head. scratch: room
 * for tileScratchBytes, for each thread.
 */
export const attentionTiles: KernelSignature<Field> = {
  name: "attentionTiles",
  fields: [
    ...(["out", "q", "keys", "values", "seen", "seenStep", "rows", "heads", "kvHeads"] as const),
    ...(["tileQueries", "tiles", "scratch", "scratchBytes"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "keys", "values"],
  moves: ["seen"],
};

const mostTileQueries = 4;

/**
 * Queries of a tile, of the `queries` that each key-value head has: the most, unless that leaves threads with unequal shares of
 * so few tiles that it matters.
 */
export function tileQueriesOf(queries: number, kvHeads: number, threads: number): number {
  const most = Math.min(queries, mostTileQueries);
  const tiles = kvHeads * Math.ceil(queries / most);
  return tiles % threads === 0 || tiles >= 4 * threads ? most : Math.min(most, 2);
}

/** Head sizes that tiles are made for: whole vectors. */
export const fitsTiles = (headSize: number) => headSize > 0 && headSize % 4 === 0;

/** The module for heads of that many columns. */
export function attentionModule(headSize: number, limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  defineKernel(m, attentionTiles, (f, args, { from, to, thread }) => {
    const { out, q, keys, values, seen, seenStep, rows, heads, kvHeads } = args;
    const { tileQueries, tiles, scratch, scratchBytes } = args;
    const headBytes = 4 * headSize;
    const item = f.local("i32");
    const scores = f.let(i32.add(scratch, i32.mul(thread, scratchBytes)));
    const rowBytes = f.let(i32.mul(kvHeads, headBytes));
    const group = f.let(i32.div_u(heads, kvHeads));
    const queries = f.let(i32.mul(rows, group));
    const exp = expLanes(f);
    f.for(item, from, to, 1, () => {
      const kvHead = f.let(i32.div_u(item, tiles));
      const turn = f.let(i32.sub(item, i32.mul(kvHead, tiles)));
      const half = f.let(i32.shr_u(turn, 1));
      const tile = select(i32.sub(i32.sub(tiles, 1), half), half, i32.and(turn, 1));
      const first = f.let(i32.mul(tile, tileQueries));
      const left = f.let(i32.sub(queries, first));
      f.if(i32.gt_u(left, tileQueries), () => f.set(left, tileQueries));
      const inCache = f.let(i32.mul(kvHead, headBytes));
      const place = { scores, rowBytes, keys: f.let(i32.add(keys, inCache)), values: f.let(i32.add(values, inCache)) };
      for (let height = 1; height <= mostTileQueries; height++) {
        f.if(i32.eq(left, height), () => {
          const each = Array.from({ length: height }, (_, i) => {
            const row = f.let(i32.div_u(i32.add(first, i), group));
            const head = i32.add(i32.mul(kvHead, group), i32.sub(i32.add(first, i), i32.mul(row, group)));
            const at = f.let(i32.mul(i32.add(i32.mul(row, heads), head), headBytes));
            const count = f.let(i32.add(seen, i32.mul(row, seenStep)));
            return { query: f.let(i32.add(q, at)), target: f.let(i32.add(out, at)), count };
          });
          emitTile(f, headSize, { ...place, each, exp, oneRow: i32.eq(rows, 1) });
        });
      }
    });
  });
  return m.bytes();
}
