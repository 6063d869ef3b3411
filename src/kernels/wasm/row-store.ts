/** Rows held in a scheme, packed and unpacked by the cast kernels in the backend's own memory. */
import { groupSize } from "../../formats/planes.js";
import type { PlaneName, Planes } from "../../formats/scheme.js";
import type { RowStore } from "../backend.js";
import { run } from "../casts/array-kernels.js";
import type { CastKernels } from "../casts/cast-kernels.js";
import { dequantizeInMemory, type PlaneAddresses, quantizeInMemory } from "../casts/planes-in-memory.js";
import { dequantizePieces, quantizePieces } from "../casts/tensor-pieces.js";
import { packRows, type RowPlanes, unpackRows } from "../row-store.js";
import type { WasmBuffer } from "./buffer.js";
import type { Engine } from "./engine.js";
import { rowsShare } from "./round.js";

export interface WasmRows extends RowStore {
  readonly engine: Engine;
  readonly layout: RowPlanes;
  readonly address: number;
  freed: boolean;
}

/** Rows `at` and after from the numbers at `x`. */
export function packInMemory(kernels: CastKernels, store: WasmRows, at: number, x: WasmBuffer, count: number): void {
  const { scheme, columns, layout } = store;
  for (const { row, rows } of turns(store, count)) {
    const from = x.address + 4 * row * columns;
    const whole = isWhole(store) && quantizeInMemory(kernels, scheme, from, rows, columns, addresses(store, at + row));
    if (whole || packPieces(kernels, store, at + row, from, rows)) continue;
    const values = new Float32Array(kernels.memory.buffer, from, rows * columns).slice();
    packRows(layout, (name) => planeOf(store, name), at + row, values, rows);
  }
}

/** The numbers of rows `at` and after to `out`. */
export function unpackInMemory(
  kernels: CastKernels,
  out: WasmBuffer,
  store: WasmRows,
  at: number,
  count: number,
): void {
  const { scheme, columns, layout } = store;
  for (const { row, rows } of turns(store, count)) {
    const to = out.address + 4 * row * columns;
    const whole = isWhole(store) && dequantizeInMemory(kernels, scheme, addresses(store, at + row), rows, columns, to);
    if (whole || unpackPieces(kernels, store, at + row, to, rows)) continue;
    const values = new Float32Array(rows * columns);
    unpackRows(layout, (name) => planeOf(store, name), at + row, values, rows);
    new Float32Array(kernels.memory.buffer, to, values.length).set(values);
  }
}

/** All rows at once, or one by one where the rows of a tensor share numbers. */
function turns({ scheme }: WasmRows, count: number): { readonly row: number; readonly rows: number }[] {
  if (count === 0) return [];
  if (!rowsShare(scheme)) return [{ row: 0, rows: count }];
  return Array.from({ length: count }, (_, row) => ({ row, rows: 1 }));
}

/** Whether rows consist of whole groups that the kernels take without padding. */
function isWhole({ scheme, columns }: WasmRows): boolean {
  const size = scheme.scale ? groupSize(scheme.scale.per, columns) : run;
  return columns % size === 0 && size % run === 0;
}

function* planesFrom({ layout, rows, address }: WasmRows): Generator<readonly [PlaneName, number, number]> {
  let start = address;
  for (const [name, bytes] of layout.sizes) {
    yield [name, start, bytes];
    start += rows * bytes;
  }
}

function addresses(store: WasmRows, row: number): PlaneAddresses {
  const found: { [P in PlaneName]?: number } = {};
  for (const [name, start, bytes] of planesFrom(store)) found[name] = start + row * bytes;
  return found;
}

function planeOf(store: WasmRows, wanted: PlaneName): Uint8Array {
  for (const [name, start, bytes] of planesFrom(store)) {
    if (name === wanted) return new Uint8Array(store.engine.memory.buffer, start, store.rows * bytes);
  }
  throw new Error(`${store.scheme.name} has no plane ${wanted}`);
}

/** Rows whose groups must be padded: through arrays. */
function packPieces(kernels: CastKernels, store: WasmRows, at: number, from: number, rows: number): boolean {
  const { scheme, columns, layout } = store;
  const values = new Float32Array(kernels.memory.buffer, from, rows * columns).slice();
  const packed = quantizePieces(kernels, scheme, values, [rows, columns]);
  if (!packed) return false;
  for (const [name, bytes] of layout.sizes) planeOf(store, name).set(packed.planes[name] as Uint8Array, at * bytes);
  return true;
}

function unpackPieces(kernels: CastKernels, store: WasmRows, at: number, to: number, rows: number): boolean {
  const { scheme, columns, layout } = store;
  const parts = layout.sizes.map(([name, bytes]) => [
    name,
    planeOf(store, name).slice(at * bytes, (at + rows) * bytes),
  ]);
  const packed = { scheme, shape: [rows, columns], planes: Object.fromEntries(parts) as unknown as Planes };
  const values = new Float32Array(rows * columns);
  if (!dequantizePieces(kernels, packed, values)) return false;
  new Float32Array(kernels.memory.buffer, to, values.length).set(values);
  return true;
}
