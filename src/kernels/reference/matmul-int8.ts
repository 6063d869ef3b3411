/** Matmul with int8 activations, as int8.ts defines it. */
import type { Activations } from "../backend.js";
import {
  activationBits,
  activationBlock,
  demandIntegers,
  demandIntegerZeroPoints,
  largestLevel,
  smallestAmax,
} from "../int8.js";
import type { WeightRows } from "../weight-rows.js";

const f = Math.fround;

/** A weight ready for int8 activations. */
export function int8Matrix(rows: WeightRows, activations: Activations) {
  const { integers, unit, error } = demandIntegers(rows, activations);
  for (let n = 0; n < rows.rows; n++) {
    rows.read(n);
    demandIntegerZeroPoints(rows, unit);
  }
  return { rows, integers, unit, error, block: activationBlock(rows), bits: activationBits(activations) ?? 8 };
}

/** The row in hand of a weight whose values were rounded to integers. */
export function roundedRow({ rows, integers, unit }: ReturnType<typeof int8Matrix>, out: Float32Array): void {
  const { columns, codes, scales, offsets, blockColumns, scheme } = rows;
  for (let k = 0; k < columns; k++) {
    const block = Math.floor(k / blockColumns);
    const S = f((scales ? scales[block] : 1) * unit);
    const [i, offset] = [integers[codes[k]], offsets ? offsets[block] : 0];
    if (scheme.offset?.kind === "zeroPoint") out[k] = f(S * f(i - f(offset / unit)));
    else out[k] = f(f(S * i) + offset);
  }
}

/** Rounds one block to integers of `bits` bits: codes to q, the scale d back. */
export function roundBlock(x: Float32Array, start: number, end: number, q: Int8Array, bits = 8): number {
  if (bits === 1) return takeSigns(x.subarray(start, end), q);
  const levels = largestLevel(bits);
  let amax = 0;
  for (let k = start; k < end; k++) amax = Math.max(amax, Math.abs(x[k]));
  const inverse = amax > smallestAmax ? f(levels / amax) : 0;
  for (let k = start; k < end; k++) q[k - start] = nearestEven(f(x[k] * inverse));
  return f(amax / levels);
}

function takeSigns(x: Float32Array, q: Int8Array): number {
  const s = [0, 0, 0, 0];
  x.forEach((value, i) => {
    q[i] = value < 0 ? -1 : 1;
    s[i % 4] = f(s[i % 4] + Math.abs(value));
  });
  return f(f(f(s[0] + s[1]) + f(s[2] + s[3])) / x.length);
}

function nearestEven(x: number): number {
  const rounded = Math.round(x);
  return rounded - x === 0.5 && rounded % 2 !== 0 ? rounded - 1 : rounded;
}

/** out[m, n] = sum over blocks; see int8.ts. */
export function matmulInt8(
  out: Float32Array,
  x: Float32Array,
  { rows: weight, integers, unit, block, bits }: ReturnType<typeof int8Matrix>,
  batch: number,
): void {
  const { rows, columns, codes, scales, offsets, blockColumns, scheme } = weight;
  const q = new Int8Array(block);
  out.fill(0, 0, batch * rows);
  for (let n = 0; n < rows; n++) {
    weight.read(n);
    for (let start = 0; start < columns; start += block) {
      const end = Math.min(start + block, columns);
      const g = Math.floor(start / blockColumns);
      const S = f((scales ? scales[g] : 1) * unit);
      const offset = offsets ? offsets[g] : 0;
      for (let m = 0; m < batch; m++) {
        const d = roundBlock(x.subarray(m * columns, (m + 1) * columns), start, end, q, bits);
        let [I, X] = [0, 0];
        for (let k = start; k < end; k++) {
          I += q[k - start] * integers[codes[k]];
          X += q[k - start];
        }
        if (scheme.offset?.kind === "zeroPoint") I -= (offset / unit) * X;
        let y = f(out[m * rows + n] + f(I * f(S * d)));
        if (scheme.offset?.kind === "min") y = f(y + f(f(X * d) * offset));
        out[m * rows + n] = y;
      }
    }
  }
}
