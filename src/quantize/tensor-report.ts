/** What is to be said about a quantized tensor: its errors, what was clipped, and how long it took. */
import { plainProducts } from "../kernels/index.js";
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import type { TensorReport } from "./artifacts.js";
import { gridOf, hasGrid, valueIn } from "./grid.js";
import type { QuantizationJob, QuantizationOutcome } from "./method.js";

/** Sums over the weights of a tensor, or over some of its rows: those of all rows are the sums of their parts. */
export interface ErrorSums {
  readonly weights: number;
  /** sum (w - w')^2, sum w^2. */
  readonly error: number;
  readonly power: number;
  /** Weights beyond what their group can hold. */
  readonly clipped?: number;
  /** E||W x||^2 of some rows, the same of the error, and of the error of round to nearest. */
  readonly output?: { readonly error: number; readonly power: number; readonly rtn: number };
}

/** What a method called `name` made of tensors with these sums (of one tensor, or of all its parts) in `seconds`. */
export function reportFrom(
  parts: readonly ErrorSums[],
  name: string,
  seconds: number,
  notes: Readonly<Record<string, number>>,
): TensorReport {
  const total = (part: (sums: ErrorSums) => number) => parts.reduce((sum, one) => sum + part(one), 0);
  const [error, power] = [total((one) => one.error), total((one) => one.power)];
  const weights = total((one) => one.weights);
  const output = total((one) => one.output?.power ?? 0);
  return {
    relativeMse: error === 0 ? 0 : error / power,
    method: name,
    seconds,
    ...(parts.every(({ clipped }) => clipped !== undefined) && {
      clippedShare: weights === 0 ? 0 : total(({ clipped = 0 }) => clipped) / weights,
    }),
    ...(output > 0 && {
      relativeOutputError: total((one) => one.output?.error ?? 0) / output,
      rtnOutputError: total((one) => one.output?.rtn ?? 0) / output,
    }),
    ...(Object.keys(notes).length > 0 && { notes }),
  };
}

/** The report of a job and what a method called `method` made of it in `seconds`. */
export const reportOf = (
  job: QuantizationJob,
  { packed, notes = {} }: QuantizationOutcome,
  method: string,
  seconds: number,
): TensorReport => reportFrom([errorSums(job, packed)], method, seconds, notes);

/** The sums of a job and its outcome. */
export function errorSums(job: QuantizationJob, packed: PackedTensor): ErrorSums {
  const { values, scheme, shape, statistics } = job;
  const result = dequantize(packed);
  let [error, power] = [0, 0];
  for (let i = 0; i < values.length; i++) {
    const x = values[i];
    const e = x - result[i];
    error += e * e;
    power += x * x;
  }
  const clipped = clippedWeights(packed, values);
  return {
    weights: values.length,
    error,
    power,
    ...(clipped !== undefined && { clipped }),
    ...(statistics && { output: outputErrors(job, result, dequantize(quantize(values, shape, scheme))) }),
  };
}

/** Output errors before and after: with E[x x^T] what outputs really lose, of some rows; else as if channels were independent. */
function outputErrors(
  job: QuantizationJob,
  result: Float32Array,
  rounded: Float32Array,
): NonNullable<ErrorSums["output"]> {
  const { values: original, statistics, products = plainProducts } = job;
  if (!statistics) throw new Error("output errors need statistics");
  const { columns, hessian, meanSquare } = statistics;
  if (!hessian) return independentErrors(original, result, rounded, meanSquare);
  const rows = original.length / columns;
  const taken = Math.min(rows, SAMPLE_ROWS);
  const sampled = (of: (at: number) => number) => {
    const sample = new Float32Array(taken * columns);
    for (let i = 0; i < sample.length; i++) {
      const row = Math.floor((Math.floor(i / columns) * rows) / taken);
      sample[i] = of(row * columns + (i % columns));
    }
    return sample;
  };
  const factor = products.load(new Float32Array(hessian), columns);
  const power = (x: Float32Array) => {
    const sum = factor.lend(x, (times) => {
      let sum = 0;
      for (let i = 0; i < x.length; i++) sum += x[i] * times[i];
      return sum;
    });
    return Math.max(0, sum);
  };
  try {
    return {
      power: power(sampled((at) => original[at])),
      error: power(sampled((at) => original[at] - result[at])),
      rtn: power(sampled((at) => original[at] - rounded[at])),
    };
  } finally {
    factor.dispose();
  }
}

/** Rows (of a block) whose outputs are looked at: a product with E[x x^T] for all would take as long as some methods. */
const SAMPLE_ROWS = 64;

function independentErrors(
  original: Float32Array,
  result: Float32Array,
  rounded: Float32Array,
  meanSquare: Float64Array,
): NonNullable<ErrorSums["output"]> {
  const columns = meanSquare.length;
  let [power, error, rtn] = [0, 0, 0];
  for (let start = 0; start < original.length; start += columns) {
    for (let j = 0; j < columns; j++) {
      const h = meanSquare[j];
      const x = original[start + j];
      const [now, before] = [x - result[start + j], x - rounded[start + j]];
      power += h * x * x;
      error += h * now * now;
      rtn += h * before * before;
    }
  }
  return { power, error, rtn };
}

/** How many values lie beyond the smallest or largest that their group can take; undefined for schemes without grids. */
function clippedWeights(packed: PackedTensor, values: Float32Array): number | undefined {
  const { scheme } = packed;
  if (!hasGrid(scheme) || scheme.tags || scheme.scale?.rows !== undefined) return undefined;
  const grid = gridOf(packed);
  const { rows, columns, size, groups, levels } = grid;
  const top = levels.values.length - 1;
  let clipped = 0;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const group = row * groups + g;
      const [first, last] = [valueIn(grid, group, 0), valueIn(grid, group, top)];
      const [low, high] = first < last ? [first, last] : [last, first];
      const start = row * columns + g * size;
      const end = Math.min(start + size, (row + 1) * columns);
      for (let i = start; i < end; i++) if (values[i] < low || values[i] > high) clipped++;
    }
  }
  return clipped;
}
