/**
 * Moments of columns in WebAssembly, bit for bit those of moments.ts. Rows are first brought into panels of 16 columns, row after
 * row (a row of a panel is a cache line), because rows themselves lie a multiple of some power of two apart, where caches hold
 * few of them. The products of two panels make a tile of 16 x 16 sums; only tiles on and below the diagonal are made, and threads
 * share them out, so that no sum depends on how many threads there are.
 */
import { MOMENT_ROWS } from "../moments.js";
import { createModule, type FunctionBuilder, type Local, type MemoryLimits } from "./emitter.js";
import { f32x4, f64x2, i8x16, i32, i32x4, i32x4Const, select, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { zeroVector } from "./lanes.js";

/** Columns of a panel, and the bytes of one of its rows. */
export const PANEL = 16;
const LINE = 4 * PANEL;
export const QUADS = PANEL / 4;
/** Bytes of a panel, and of a tile of products in binary64. */
export const PANEL_BYTES = MOMENT_ROWS * LINE;
export const TILE_BYTES = 8 * PANEL * PANEL;

/** What is held for four columns: three sums in binary64, the smallest and the largest in f32. */
export const STATE_BYTES = 128;
export const STATE = { sum: 0, absolute: 32, square: 64, smallest: 96, largest: 112 } as const;

/** Rows into panels; items are panels. */
export const pack: KernelSignature<"panels" | "x" | "rows" | "columns"> = {
  name: "pack",
  fields: ["panels", "x", "rows", "columns"],
  reads: ["x"],
  writes: ["panels"],
};

/** Sums over the columns; items are fours of columns. */
export const columnSums: KernelSignature<"panels" | "rows" | "state"> = {
  name: "columnSums",
  fields: ["panels", "rows", "state"],
  reads: ["panels"],
  writes: ["state"],
};

/** Sums of products of columns; items are tiles, (0, 0), (1, 0), (1, 1), (2, 0) and so on. */
export const products: KernelSignature<"panels" | "rows" | "tiles"> = {
  name: "products",
  fields: ["panels", "rows", "tiles"],
  reads: ["panels"],
  writes: ["tiles"],
};

export function momentsModule(limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  defineKernel(m, pack, emitPack);
  defineKernel(m, columnSums, emitColumnSums);
  defineKernel(m, products, emitProducts);
  return m.bytes();
}

function emitPack(f: FunctionBuilder, args: Fields<(typeof pack.fields)[number]>, { from, to }: Range): void {
  const { panels, x, rows, columns } = args;
  const [panel, left] = f.locals("i32", 2);
  f.for(panel, from, to, 1, () => {
    const source = f.let(i32.add(x, i32.mul(panel, LINE)));
    const target = f.let(i32.add(panels, i32.mul(panel, PANEL_BYTES)));
    const rest = f.let(i32.sub(columns, i32.mul(panel, PANEL)));
    const over = (line: (quad: number) => ReturnType<typeof v128.load>) =>
      f.repeat(left, rows, () => {
        for (let quad = 0; quad < QUADS; quad++) f.emit(v128.store(target, line(quad), 16 * quad));
        f.advance(source, i32.shl(columns, 2));
        f.advance(target, LINE);
      });
    f.if(
      i32.ge_s(rest, PANEL),
      () => over((quad) => v128.load(source, 16 * quad)),
      () => {
        // Beyond the last column stand zeros, and nothing beyond the spare vector after a block of memory is read.
        const masks = Array.from({ length: QUADS }, (_, quad) => {
          return f.let(i32x4.gt_s(i32x4.splat(i32.sub(rest, 4 * quad)), i32x4Const([0, 1, 2, 3])));
        });
        const offsets = masks.map((_, quad) =>
          f.let(select(i32.const(16 * quad), i32.const(0), i32.gt_s(rest, 4 * quad))),
        );
        over((quad) => v128.and(v128.load(i32.add(source, offsets[quad])), masks[quad]));
      },
    );
  });
}

/** Two f32 as binary64: lanes 0 and 1, or 2 and 3. */
const lowHalf = (x: Local<"v128">) => f64x2.promote_low_f32x4(x);
const highHalf = (x: Local<"v128">) =>
  f64x2.promote_low_f32x4(i8x16.shuffle(x, x, [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15]));

function emitColumnSums(
  f: FunctionBuilder,
  { panels, rows, state }: Fields<(typeof columnSums.fields)[number]>,
  { from, to }: Range,
): void {
  const [quad, left] = f.locals("i32", 2);
  const x = f.local("v128");
  f.for(quad, from, to, 1, () => {
    const panel = i32.mul(i32.shr_u(quad, 2), PANEL_BYTES);
    const source = f.let(i32.add(panels, i32.add(panel, i32.shl(i32.and(quad, 3), 4))));
    const own = f.let(i32.add(state, i32.mul(quad, STATE_BYTES)));
    const held = (offset: number) => f.let(v128.load(own, offset));
    const [sum, absolute, square] = [STATE.sum, STATE.absolute, STATE.square].map((at) => [held(at), held(at + 16)]);
    const [smallest, largest] = [held(STATE.smallest), held(STATE.largest)];
    const half = f.local("v128");
    f.repeat(left, rows, () => {
      f.set(x, v128.load(source));
      f.set(smallest, f32x4.pmin(smallest, x));
      f.set(largest, f32x4.pmax(largest, x));
      for (const [at, part] of [lowHalf, highHalf].entries()) {
        f.set(half, part(x));
        f.set(sum[at], f64x2.add(sum[at], half));
        f.set(absolute[at], f64x2.add(absolute[at], f64x2.abs(half)));
        f.set(square[at], f64x2.add(square[at], f64x2.mul(half, half)));
      }
      f.advance(source, LINE);
    });
    const keep = (values: readonly Local<"v128">[], offset: number) => {
      for (const [i, value] of values.entries()) f.emit(v128.store(own, value, offset + 16 * i));
    };
    keep(sum, STATE.sum);
    keep(absolute, STATE.absolute);
    keep(square, STATE.square);
    keep([smallest, largest], STATE.smallest);
  });
}

function emitProducts(
  f: FunctionBuilder,
  { panels, rows, tiles }: Fields<(typeof products.fields)[number]>,
  { from, to }: Range,
): void {
  const [item, i, j] = f.locals("i32", 3);
  // Tile `from` is (i, j): rows of tiles have 1, 2, 3 .. members.
  f.set(j, from);
  f.set(i, 0);
  f.block((found) =>
    f.loop((next) => {
      f.branchIf(found, i32.le_u(j, i));
      f.advance(i, 1);
      f.set(j, i32.sub(j, i));
      f.branch(next);
    }),
  );
  f.for(item, from, to, 1, () => {
    const left = f.let(i32.add(panels, i32.mul(i, PANEL_BYTES)));
    const right = f.let(i32.add(panels, i32.mul(j, PANEL_BYTES)));
    const tile = f.let(i32.add(tiles, i32.mul(item, TILE_BYTES)));
    const end = f.let(i32.add(left, LINE));
    f.loop((next) => {
      emitTwoRows(f, left, right, rows, tile);
      f.advance(left, 8);
      f.advance(tile, 2 * 8 * PANEL);
      f.branchIf(next, i32.lt_u(left, end));
    });
    f.advance(j, 1);
    f.if(i32.gt_u(j, i), () => {
      f.advance(i, 1);
      f.set(j, 0);
    });
  });
}

/** Two rows of a tile: two columns of the left panel times all of the right one, summed over the rows of inputs. */
function emitTwoRows(
  f: FunctionBuilder,
  left: Local<"i32">,
  right: Local<"i32">,
  rows: Local<"i32">,
  tile: Local<"i32">,
): void {
  const [a, b] = [f.let(left), f.let(right)];
  const columns = f.locals("v128", QUADS);
  const one = f.local("v128");
  const sums = [0, 1].map(() => columns.map(() => f.let(zeroVector)));
  f.repeat(f.local("i32"), rows, () => {
    for (const [quad, column] of columns.entries()) f.set(column, v128.load(b, 16 * quad));
    for (const [row, some] of sums.entries()) {
      f.set(one, v128.load32_splat(a, 4 * row));
      for (const [quad, sum] of some.entries()) f.set(sum, f32x4.add(sum, f32x4.mul(one, columns[quad])));
    }
    f.advance(a, LINE);
    f.advance(b, LINE);
  });
  for (const [row, some] of sums.entries()) {
    for (const [quad, sum] of some.entries()) {
      for (const [half, part] of [lowHalf, highHalf].entries()) {
        const place = 8 * (row * PANEL + 4 * quad + 2 * half);
        f.emit(v128.store(tile, f64x2.add(v128.load(tile, place), part(sum)), place));
      }
    }
  }
}
