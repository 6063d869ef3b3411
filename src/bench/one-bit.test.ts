import assert from "node:assert/strict";
import { test } from "node:test";
import { createModule, type FunctionBuilder } from "../kernels/wasm/emitter.js";
import { detectFeatures } from "../kernels/wasm/features.js";
import { emitLookup, emitPopcount, lookupTables } from "./one-bit.js";

const [rows, columns] = [64, 4096];
const places = { rows, columns, x: 0, weights: 65536, scales: 3 * 65536, out: 5 * 65536 };
const weight = (row: number, k: number) => (Math.imul(row * columns + k + 1, 0x9e3779b1) >>> 27) & 1;

/** Runs a product in memory that `fill` has filled, one byte at a time. */
function outcome(emit: (f: FunctionBuilder) => void, fill: (memory: ArrayBuffer) => void): ArrayBuffer {
  const memory = new WebAssembly.Memory({ initial: 6 });
  fill(memory.buffer);
  const m = createModule();
  m.func("run", {}, "void", (f) => emit(f));
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes()), { env: { memory } }).exports;
  (run as () => void)();
  return memory.buffer;
}

function expected(x: ArrayLike<number>): number[] {
  return Array.from({ length: rows }, (_, row) => {
    let sum = 0;
    for (let k = 0; k < columns; k++) sum += weight(row, k) * x[k];
    return sum;
  });
}

test("sums of int8 by lookup tables are exact integers, extremes included", () => {
  for (const x of [
    Int8Array.from({ length: columns }, (_, k) => Math.imul(k, 0x85ebca6b) >> 24),
    new Int8Array(columns).fill(-128),
    new Int8Array(columns).fill(127),
  ]) {
    const fill = (memory: ArrayBuffer) => {
      new Uint8Array(memory).set(lookupTables(x));
      new Float32Array(memory, places.scales, (rows * columns) / 128).fill(1);
      const bytes = new Uint8Array(memory, places.weights);
      for (let row = 0; row < rows; row++) {
        for (let k = 0; k < columns; k++) {
          bytes[(row >> 4) * columns * 2 + (k >> 3) * 16 + (row & 15)] |= weight(row, k) << (k & 7);
        }
      }
    };
    for (const relaxed of detectFeatures().relaxedSimd ? [false, true] : [false]) {
      const out = new Float32Array(
        outcome((f) => emitLookup(f, places, relaxed), fill),
        places.out,
        rows,
      );
      const inOrder = Array.from(out, (_, row) => out[(row & ~15) + ((row & 1) << 3) + ((row & 15) >> 1)]);
      assert.deepEqual(inOrder, expected(x));
    }
  }
});

test("sums by counted bits are exact for activations of 1 to 8 bits", () => {
  for (const bits of [1, 2, 3, 4, 8]) {
    const x = Array.from({ length: columns }, (_, k) => Math.imul(k + 1, 0x85ebca6b) >>> (32 - bits));
    const out = outcome(
      (f) => emitPopcount(f, places, bits),
      (memory) => {
        const bytes = new Uint8Array(memory);
        for (let k = 0; k < columns; k++) {
          for (let p = 0; p < bits; p++) bytes[(p * columns + k) >> 3] |= ((x[k] >> p) & 1) << (k & 7);
          for (let row = 0; row < rows; row++) {
            bytes[places.weights + ((row * columns + k) >> 3)] |= weight(row, k) << (k & 7);
          }
        }
      },
    );
    assert.deepEqual([...new Int32Array(out, places.out, rows)], expected(x));
  }
});
