/**
 * The quantizing of a weight, or of some of its rows, as plain data in and out: what a thread of its own can be sent. Schemes and
 * methods go by name.
 */
import { schemes } from "../formats/index.js";
import type { Products } from "../kernels/index.js";
import { dequantize, type PackedTensor } from "../tensor/index.js";
import type { Prepared, QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import type { InputStatistics } from "./statistics.js";
import { type ErrorSums, errorSums } from "./tensor-report.js";

/** A packed tensor with its scheme by name. */
export interface SentTensor extends Omit<PackedTensor, "scheme"> {
  readonly scheme: string;
}

interface Work {
  readonly method: string;
  readonly options: Parameters<QuantizationMethod["quantize"]>[1];
  /** What the numbers are to lie in. */
  readonly scheme: string;
  readonly seed: number;
  readonly statistics?: InputStatistics;
}

/** The rows of `original` are to be quantized. */
export interface RowsTask extends Work {
  readonly original: SentTensor;
  readonly prepared?: Prepared;
}

/** What all rows of a matrix of this shape have in common is to be found. */
export interface PreparationTask extends Work {
  readonly shape: readonly number[];
}

export type Task = RowsTask | PreparationTask;

export interface RowsResult {
  readonly packed: SentTensor;
  readonly sums: ErrorSums;
  readonly notes: Readonly<Record<string, number>>;
  /** Of the method alone. */
  readonly seconds: number;
}

export interface PreparationResult {
  readonly prepared?: Prepared;
  readonly seconds: number;
}

export type ResultOf<T extends Task> = T extends RowsTask ? RowsResult : PreparationResult;

export const sent = ({ scheme, shape, planes }: PackedTensor): SentTensor => ({ scheme: scheme.name, shape, planes });

export const received = ({ scheme, shape, planes }: SentTensor): PackedTensor => ({
  scheme: schemes.get(scheme),
  shape,
  planes,
});

/** Does a task. `products`: as in a QuantizationJob. */
export const perform = (task: Task, products?: Products): RowsResult | PreparationResult =>
  "original" in task ? quantizeRows(task, products) : prepareRows(task, products);

/** Quantizes the rows of a task, and measures. */
export function quantizeRows(task: RowsTask, products?: Products): RowsResult {
  const original = received(task.original);
  const { seed, statistics, options, prepared } = task;
  const scheme = schemes.get(task.scheme);
  const job = { scheme, values: dequantize(original), shape: original.shape, seed, statistics, products };
  const begin = performance.now();
  const { packed, notes = {} } = methods.get(task.method).quantize(job, options, prepared);
  const seconds = (performance.now() - begin) / 1000;
  return { packed: sent(packed), sums: errorSums(job, packed), notes, seconds };
}

function prepareRows({ method, options, shape, scheme, seed, statistics }: PreparationTask, products?: Products) {
  const begin = performance.now();
  const job = { scheme: schemes.get(scheme), shape, seed, statistics, products };
  const prepared = methods.get(method).prepare?.(job, options);
  return { prepared, seconds: (performance.now() - begin) / 1000 };
}
