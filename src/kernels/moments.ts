/**
 * Moments of columns: running sums over the rows of inputs that calibration sees, and over the products of their columns
 * (X^T X, which divided by the rows is the Hessian E[x x^T] of a linear map's own error).
 *
 * This is the definition, which every backend equals bit for bit. Single numbers, absolute values and squares are added up in
 * binary64, row after row. A product of columns is summed in f32 over at most MOMENT_ROWS rows at a time, product rounded, then
 * sum rounded, and these sums are added up in binary64: so many f32 products cost half of what binary64 would.
 */
import type { Buffer } from "./backend.js";
import { check } from "./shapes.js";

/** Rows whose products are summed in f32. */
export const MOMENT_ROWS = 512;

/** Sums over rows, one for each column. */
export interface Moments {
  /** sum_t x_tj */
  readonly sum: Float64Array;
  /** sum_t |x_tj| */
  readonly absolute: Float64Array;
  /** sum_t x_tj^2 */
  readonly square: Float64Array;
  /** min_t x_tj and max_t x_tj; infinite where there has been no row. */
  readonly smallest: Float64Array;
  readonly largest: Float64Array;
  /** sum_t x_ti x_tj, [columns, columns], where it was asked for. */
  readonly products?: Float64Array;
}

/** Moments of rows that come bit by bit, held where they are computed. */
export interface MomentSums {
  readonly columns: number;
  /** Adds x, [rows, columns]. */
  add(x: Buffer, rows: number): void;
  /** Of all rows so far. */
  read(): Moments;
  /** Gives the memory back. */
  dispose(): void;
}

/** The slow and clear way, with no backend. `products`: whether those of columns are wanted. */
export function plainMoments(columns: number, products: boolean): MomentSums {
  check.sumMoments(columns);
  const zeros = () => new Float64Array(columns);
  const [sum, absolute, square] = [zeros(), zeros(), zeros()];
  const [smallest, largest] = [zeros().fill(Number.POSITIVE_INFINITY), zeros().fill(Number.NEGATIVE_INFINITY)];
  const all = products ? new Float64Array(columns * columns) : undefined;
  return {
    columns,
    add(buffer, rows) {
      check.addMoments(buffer, rows, columns);
      const x = buffer.data();
      for (let at = 0; at < rows * columns; at++) {
        const [value, j] = [x[at], at % columns];
        sum[j] += value;
        absolute[j] += Math.abs(value);
        square[j] += value * value;
        if (value < smallest[j]) smallest[j] = value;
        if (value > largest[j]) largest[j] = value;
      }
      for (let row = 0; row < rows; row += MOMENT_ROWS) {
        if (all) addProducts(all, x.subarray(row * columns, Math.min(rows, row + MOMENT_ROWS) * columns), columns);
      }
    },
    read: () => ({ sum, absolute, square, smallest, largest, ...(all && { products: all }) }),
    dispose() {},
  };
}

/** Adds X^T X, each element summed over the rows in order in f32. */
function addProducts(products: Float64Array, x: Float32Array, columns: number): void {
  for (let i = 0; i < columns; i++) {
    for (let j = 0; j <= i; j++) {
      let sum = 0;
      for (let at = 0; at < x.length; at += columns) sum = Math.fround(sum + Math.fround(x[at + i] * x[at + j]));
      products[i * columns + j] += sum;
      products[j * columns + i] = products[i * columns + j];
    }
  }
}
