/**
 * The quantizing of a weight, or of some of its rows, as plain data in and out: what a thread of its own can be sent. Schemes and
 * methods go by name.
 */
import { schemes } from "../formats/index.js";
import type { Products } from "../kernels/index.js";
import { dequantize, type PackedTensor } from "../tensor/index.js";
import type { QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import type { InputStatistics } from "./statistics.js";
import { type ErrorSums, errorSums } from "./tensor-report.js";

/** A packed tensor with its scheme by name. */
export interface SentTensor extends Omit<PackedTensor, "scheme"> {
  readonly scheme: string;
}

export interface RowsTask {
  readonly method: string;
  readonly options: Parameters<QuantizationMethod["quantize"]>[1];
  /** What the numbers are to lie in. */
  readonly scheme: string;
  readonly original: SentTensor;
  readonly seed: number;
  readonly statistics?: InputStatistics;
}

export interface RowsResult {
  readonly packed: SentTensor;
  readonly sums: ErrorSums;
  readonly notes: Readonly<Record<string, number>>;
  /** Of the method alone. */
  readonly seconds: number;
}

export const sent = ({ scheme, shape, planes }: PackedTensor): SentTensor => ({ scheme: scheme.name, shape, planes });

export const received = ({ scheme, shape, planes }: SentTensor): PackedTensor => ({
  scheme: schemes.get(scheme),
  shape,
  planes,
});

/** Quantizes the rows of a task, and measures. `products`: as in a QuantizationJob. */
export function quantizeRows(task: RowsTask, products?: Products): RowsResult {
  const original = received(task.original);
  const { seed, statistics } = task;
  const scheme = schemes.get(task.scheme);
  const job = { scheme, values: dequantize(original), shape: original.shape, seed, statistics, products };
  const begin = performance.now();
  const { packed, notes = {} } = methods.get(task.method).quantize(job, task.options);
  const seconds = (performance.now() - begin) / 1000;
  return { packed: sent(packed), sums: errorSums(job, packed), notes, seconds };
}
