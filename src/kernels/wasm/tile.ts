/**
 * Tiles of a product of many rows: so many rows of activations times so many quads of columns, whose sums stay in
 * registers. Engines have 15 vector registers to give. Where product and sum are one instruction, 6 rows by 2 quads (12
 * sums, 2 weights, 1 activation) fill them best; where they are two, each product needs a register in between, wider
 * tiles spill (6 x 2 runs at half its speed in Node 24), and 2 rows by 4 quads are best.
 */
import type { FunctionBuilder, Local } from "./emitter.js";
import { i32 } from "./instructions.js";

export interface Tile {
  /** Rows of tiles, tallest first; what one height leaves over the next takes. */
  readonly heights: readonly number[];
  readonly quads: number;
}

export function tileOf({ fused, dot }: { fused: boolean; dot?: { arithmetic: "relaxed" | "plain" } }): Tile {
  const single = dot ? dot.arithmetic === "relaxed" : fused;
  return single ? { heights: [6, 2, 1], quads: 2 } : { heights: [2, 1], quads: 4 };
}

/** Calls `body` for every tile of `batch` rows. */
export function overTiles(
  f: FunctionBuilder,
  { heights }: Tile,
  batch: Local<"i32">,
  body: (row: Local<"i32">, height: number) => void,
): void {
  const row = f.local("i32");
  f.set(row, 0);
  for (const height of heights) {
    f.block((done) =>
      f.loop((next) => {
        f.branchIf(done, i32.lt_s(i32.sub(batch, row), height));
        body(row, height);
        f.advance(row, height);
        f.branch(next);
      }),
    );
  }
}
