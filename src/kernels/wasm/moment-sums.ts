/** The sums that the kernels of moments.ts add to, in the engine's memory, and how they are read. */
import { MOMENT_ROWS, type MomentSums, type Moments } from "../moments.js";
import { check } from "../shapes.js";
import type { Engine } from "./engine.js";
import {
  columnSums,
  momentsModule,
  PANEL,
  PANEL_BYTES,
  pack,
  products,
  QUADS,
  STATE,
  STATE_BYTES,
  TILE_BYTES,
} from "./moments.js";

/** Moments whose sums lie in the engine's memory. `addressOf`: of a buffer that holds so many numbers. */
export function openMoments(
  engine: Engine,
  columns: number,
  withProducts: boolean,
  addressOf: (x: Parameters<MomentSums["add"]>[0]) => number,
): MomentSums {
  const count = Math.ceil(columns / PANEL);
  const tileCount = withProducts ? (count * (count + 1)) / 2 : 0;
  const module = engine.module("moments", momentsModule);
  const state = engine.heap.allocate(count * QUADS * STATE_BYTES, "moments");
  const tiles = engine.heap.allocate(tileCount * TILE_BYTES, "products of columns");
  const numbers = <T>(
    Kind: new (memory: ArrayBufferLike, at: number, length: number) => T,
    at: number,
    length: number,
  ) => new Kind(engine.memory.buffer, at, length);
  numbers(Float64Array, tiles, (tileCount * TILE_BYTES) / 8).fill(0);
  clearState(numbers(Float64Array, state, (count * QUADS * STATE_BYTES) / 8));
  return {
    columns,
    add(x, rows) {
      check.addMoments(x, rows, columns);
      const from = addressOf(x);
      const panels = engine.scratch("panels of columns", count * PANEL_BYTES);
      for (let row = 0; row < rows; row += MOMENT_ROWS) {
        const some = { panels, rows: Math.min(MOMENT_ROWS, rows - row) };
        const work = some.rows * columns;
        engine.run(module, pack, { ...some, x: from + 4 * row * columns, columns }, count, work);
        engine.run(module, columnSums, { ...some, state }, count * QUADS, 3 * work);
        if (withProducts) engine.run(module, products, { ...some, tiles }, tileCount, (work * columns) / 2);
      }
    },
    read() {
      engine.finish();
      const held = numbers(Float64Array, state, (count * QUADS * STATE_BYTES) / 8);
      const sums = readState(held, columns);
      if (!withProducts) return sums;
      return { ...sums, products: fromTiles(numbers(Float64Array, tiles, (tileCount * TILE_BYTES) / 8), columns) };
    },
    dispose() {
      engine.free(tiles);
      engine.free(state);
    },
  };
}

function clearState(state: Float64Array): void {
  state.fill(0);
  const singles = new Float32Array(state.buffer, state.byteOffset, 2 * state.length);
  for (let at = 0; at < singles.length; at += STATE_BYTES / 4) {
    singles.fill(Number.POSITIVE_INFINITY, at + STATE.smallest / 4, at + STATE.largest / 4);
    singles.fill(Number.NEGATIVE_INFINITY, at + STATE.largest / 4, at + STATE_BYTES / 4);
  }
}

function readState(state: Float64Array, columns: number): Moments {
  const singles = new Float32Array(state.buffer, state.byteOffset, 2 * state.length);
  const reading = (numbers: Float64Array | Float32Array, bytes: number, offset: number) =>
    Float64Array.from({ length: columns }, (_, j) => {
      return numbers[(Math.floor(j / 4) * STATE_BYTES + offset) / bytes + (j % 4)];
    });
  return {
    sum: reading(state, 8, STATE.sum),
    absolute: reading(state, 8, STATE.absolute),
    square: reading(state, 8, STATE.square),
    smallest: reading(singles, 4, STATE.smallest),
    largest: reading(singles, 4, STATE.largest),
  };
}

/** The whole symmetric matrix of tiles on and below its diagonal. */
function fromTiles(tiles: Float64Array, columns: number): Float64Array {
  const all = new Float64Array(columns * columns);
  let tile = 0;
  for (let top = 0; top < columns; top += PANEL) {
    for (let left = 0; left <= top; left += PANEL, tile += PANEL * PANEL) {
      for (let i = top; i < Math.min(columns, top + PANEL); i++) {
        const from = tile + (i - top) * PANEL - left;
        for (let j = left; j < Math.min(columns, left + PANEL); j++) {
          const value = tiles[from + j];
          all[i * columns + j] = value;
          all[j * columns + i] = value;
        }
      }
    }
  }
  return all;
}
