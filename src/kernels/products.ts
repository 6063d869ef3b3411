/**
 * Products of plain f32 matrices on a backend, for work that is no forward pass: calibration, methods that improve weights,
 * gradients. Each sum runs over the columns in order with product and sum rounded to f32, one after the other, so that a
 * deterministic backend and the plain loop give the same bits.
 */
import { schemes } from "../formats/index.js";
import type { Backend } from "./backend.js";

export interface Products {
  /** X A^T of x [rows, columns] and a [n, columns]: [rows, n]. */
  multiply(x: Float32Array, a: Float32Array, columns: number): Float32Array;
  /** The same with `a` kept for many products. */
  load(a: Float32Array, columns: number): LoadedFactor;
}

export interface LoadedFactor {
  /** X A^T, a new array. */
  times(x: Float32Array): Float32Array;
  /** The same, lent to `read` for the time of the call. */
  lend<T>(x: Float32Array, read: (product: Float32Array) => T): T;
  dispose(): void;
}

export const productsOn = (backend: Backend): Products => makeProducts((a, columns) => loadedOn(backend, a, columns));

/** The slow and clear way, with no backend. */
export const plainProducts: Products = makeProducts((a, columns) => ({
  times: (x) => plainProduct(x, a, columns),
  lend: (x, read) => read(plainProduct(x, a, columns)),
  dispose() {},
}));

function makeProducts(load: Products["load"]): Products {
  return {
    load,
    multiply(x, a, columns) {
      const factor = load(a, columns);
      const product = factor.times(x);
      factor.dispose();
      return product;
    },
  };
}

function loadedOn(backend: Backend, a: Float32Array, columns: number): LoadedFactor {
  const n = a.length / columns;
  const codes = new Uint8Array(a.buffer, a.byteOffset, a.byteLength);
  const matrix = backend.loadMatrix({ scheme: schemes.get("f32"), shape: [n, columns], planes: { codes } }, "f32");
  const lend = <T>(x: Float32Array, read: (product: Float32Array) => T): T => {
    const rows = x.length / columns;
    const input = backend.upload(x);
    const out = backend.allocate(rows * n);
    try {
      backend.matmul(out, input, matrix, rows);
      return read(out.data());
    } finally {
      backend.free(out);
      backend.free(input);
    }
  };
  return {
    times: (x) => lend(x, (product) => product.slice()),
    lend,
    dispose: () => backend.freeMatrix(matrix),
  };
}

function plainProduct(x: Float32Array, a: Float32Array, columns: number): Float32Array {
  const [rows, n] = [x.length / columns, a.length / columns];
  const out = new Float32Array(rows * n);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) {
        sum = Math.fround(sum + Math.fround(x[row * columns + k] * a[i * columns + k]));
      }
      out[row * n + i] = sum;
    }
  }
  return out;
}

/** The transpose of a [rows, columns], row-major. */
export function transposed(a: Float32Array, columns: number): Float32Array {
  const rows = a.length / columns;
  const out = new Float32Array(a.length);
  // In squares that fit the cache on both sides.
  for (let top = 0; top < rows; top += 32) {
    for (let left = 0; left < columns; left += 32) {
      const [bottom, right] = [Math.min(top + 32, rows), Math.min(left + 32, columns)];
      for (let r = top; r < bottom; r++) for (let c = left; c < right; c++) out[c * rows + r] = a[r * columns + c];
    }
  }
  return out;
}
