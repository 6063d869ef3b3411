/**
 * Tiles of a product of many rows: so many rows of activations times so many quads of columns, whose sums stay in
 * registers. Engines have 15 vector registers to give. Where product and sum are one instruction, 6 rows by 2 quads (12
 * sums, 2 weights, 1 activation) fill them best; where they are two, each product needs a register in between, wider
 * tiles spill (6 x 2 runs at half its speed in Node 24), and 2 rows by 4 quads are best.
 *
 * A batch is divided into tiles of two heights that differ by one, so that no tile is low: 128 rows are 18 tiles of 6
 * rows and 4 of 5, where 21 of 6 and one of 2 would leave that last one waiting for its sums.
 */
import type { FunctionBuilder, Local } from "./emitter.js";
import { i32, select } from "./instructions.js";

export interface Tile {
  /** Heights that occur, the tallest first. */
  readonly heights: readonly number[];
  readonly quads: number;
}

/** Batches below this decode weights on the fly for every row, those from it on decode panels once for all rows. */
export const gemmFrom = 4;

export function tileOf({ fused, dot }: { fused: boolean; dot?: { arithmetic: "relaxed" | "plain" } }): Tile {
  const single = dot ? dot.arithmetic === "relaxed" : fused;
  return single ? { heights: [6, 5, 4, 3], quads: 2 } : { heights: [2, 1], quads: 4 };
}

/** How a batch is divided: rows 0 to tallRows - 1 in tiles of `height` rows, the others in tiles of one row less. */
export interface Tiling {
  readonly height: number;
  readonly tallRows: number;
}

export function tilingOf(batch: number, { heights }: Tile): Tiling {
  const tiles = Math.ceil(batch / heights[0]);
  const low = Math.floor(batch / tiles);
  const tall = batch - low * tiles;
  return tall === 0 ? { height: low, tallRows: batch } : { height: low + 1, tallRows: tall * (low + 1) };
}

type TilingLocals = Readonly<Record<keyof Tiling, Local<"i32">>>;

/** Calls `body` for every tile of `batch` rows. */
export function overTiles(
  f: FunctionBuilder,
  { heights }: Tile,
  { height, tallRows, batch }: TilingLocals & { readonly batch: Local<"i32"> },
  body: (row: Local<"i32">, height: number) => void,
): void {
  const [row, end] = f.locals("i32", 2);
  for (const fixed of heights) {
    const tall = f.let(i32.eq(height, fixed));
    const low = i32.eq(height, fixed + 1);
    f.set(row, select(i32.const(0), tallRows, tall));
    f.set(end, select(tallRows, select(batch, tallRows, low), tall));
    f.if(i32.lt_u(row, end), () =>
      f.loop((next) => {
        body(row, fixed);
        f.advance(row, fixed);
        f.branchIf(next, i32.lt_u(row, end));
      }),
    );
  }
}

/** Where a row lies: its tile's first row and height, and its place in the tile. Set anew whenever the result is called. */
export function tilePlace(f: FunctionBuilder, { height, tallRows }: TilingLocals, row: Local<"i32">) {
  const [first, tall, within] = f.locals("i32", 3);
  return () => {
    const low = f.let(i32.ge_u(row, tallRows));
    f.set(tall, i32.sub(height, low));
    f.set(within, i32.rem_u(i32.sub(row, select(tallRows, i32.const(0), low)), tall));
    f.set(first, i32.sub(row, within));
    return { first, height: tall, within };
  };
}
