/**
 * One weight quantized by blocks of rows, where the method takes rows one by one: threads share large tensors, and of the f32
 * numbers there are only those of a block at a time. Blocks do not depend on the number of threads.
 */
import type { Scheme } from "../formats/scheme.js";
import type { Products } from "../kernels/index.js";
import { columnsOf, type PackedTensor, PLANE_NAMES, rowsOf, sliceRows } from "../tensor/index.js";
import type { TensorReport } from "./artifacts.js";
import type { Prepared, QuantizationMethod } from "./method.js";
import type { Quantizer } from "./read-recipe.js";
import type { RowsRunner } from "./row-threads.js";
import {
  type PreparationResult,
  perform,
  quantizeRows,
  type ResultOf,
  type RowsResult,
  type RowsTask,
  received,
  sent,
  type Task,
} from "./rows-task.js";
import type { InputStatistics } from "./statistics.js";
import { reportFrom } from "./tensor-report.js";

/** Weights of a block, at most (or one row), and from how many on there are two of them. */
export const BLOCK_WEIGHTS = 2 ** 19;
const TWO_BLOCKS = 2 ** 18;

/** Does every task at once where it is asked for. */
const runnerOn = (products?: Products): RowsRunner => ({
  run: async <T extends Task>(task: T) => perform(task, products) as ResultOf<T>,
  close: async () => {},
});
export const inPlace = runnerOn();

/** `threads` threads, which are started for more than one only; one multiplies matrices on `products`. */
export async function openRunner(threads = 1, products?: Products): Promise<RowsRunner> {
  if (threads === 1) return products ? runnerOn(products) : inPlace;
  const { openRowThreads } = await import("./row-threads.js");
  return openRowThreads(threads);
}

export interface WeightJob {
  readonly quantizer: Pick<Quantizer, "method" | "options">;
  readonly original: PackedTensor;
  readonly scheme: Scheme;
  readonly seed: number;
  readonly statistics?: InputStatistics;
  /** Beside those of the method. */
  readonly notes?: Readonly<Record<string, number>>;
}

/** The weight in its scheme. Errors are those of the whole tensor: an index counts from its start. */
export async function quantizeWeight(
  runner: RowsRunner,
  job: WeightJob,
): Promise<{ readonly packed: PackedTensor; readonly report: TensorReport }> {
  const { original, quantizer } = job;
  const { prepared, seconds: before } = await prepare(runner, job);
  const tasks = blocksOf(quantizer.method, original, job.scheme).map((block) => taskOf(job, block, prepared));
  let results: RowsResult[];
  try {
    results = await Promise.all(tasks.map((task) => runner.run(task)));
  } catch (error) {
    quantizeRows(taskOf(job, original, prepared));
    throw error;
  }
  const notes = { ...job.notes, ...added(results), ...prepared?.notes };
  const seconds = results.reduce((sum, one) => sum + one.seconds, before);
  const sums = results.map((one) => one.sums);
  return {
    packed: joined(results, original.shape),
    report: reportFrom(sums, quantizer.method.name, seconds, notes),
  };
}

function taskOf(job: WeightJob, original: PackedTensor, prepared?: Prepared): RowsTask {
  return { ...workOf(job), original: sent(original), prepared };
}

function workOf({ quantizer: { method, options }, scheme, seed, statistics }: WeightJob) {
  return { method: method.name, options, scheme: scheme.name, seed, statistics };
}

/** What has been prepared for some statistics: maps that share an input ask for it one after another. */
const known = new WeakMap<InputStatistics, Map<string, Promise<PreparationResult>>>();

async function prepare(runner: RowsRunner, job: WeightJob): Promise<PreparationResult> {
  const { quantizer, statistics, original, scheme } = job;
  if (!quantizer.method.prepare || !statistics) return { seconds: 0 };
  const [work, columns] = [workOf(job), columnsOf(original.shape)];
  const key = JSON.stringify([work.method, work.options, scheme.name, columns]);
  const ofInput = known.get(statistics) ?? new Map<string, Promise<PreparationResult>>();
  known.set(statistics, ofInput);
  const found = ofInput.get(key);
  if (found) return { ...(await found), seconds: 0 };
  const task = { ...work, shape: [1, columns] };
  const made = runner.run(task).catch((error: unknown) => {
    // A thread says what went wrong, without its class.
    perform(task);
    throw error;
  });
  ofInput.set(key, made);
  return made;
}

/** Whether rows of such tensors have nothing in common. */
const separate = ({ scale, offset }: Scheme): boolean =>
  [scale, offset].every((shared) => shared?.rows === undefined && shared?.super?.per !== "tensor");

function blocksOf(method: QuantizationMethod, original: PackedTensor, scheme: Scheme): PackedTensor[] {
  const rows = rowsOf(original.shape);
  const weights = rows * columnsOf(original.shape);
  // Blocks of one size, and an even number of them, keep two threads busy to the end.
  const count = weights < TWO_BLOCKS ? 1 : 2 * Math.ceil(weights / (2 * BLOCK_WEIGHTS));
  const height = Math.ceil(rows / count);
  if (rows <= height || !method.rowwise || !separate(original.scheme) || !separate(scheme)) return [original];
  return Array.from({ length: Math.ceil(rows / height) }, (_, i) =>
    sliceRows(original, i * height, Math.min(rows, (i + 1) * height)),
  );
}

function added(results: readonly RowsResult[]): Record<string, number> {
  const notes: Record<string, number> = {};
  for (const one of results) {
    for (const [name, value] of Object.entries(one.notes)) notes[name] = (notes[name] ?? 0) + value;
  }
  return notes;
}

function joined(results: readonly RowsResult[], shape: readonly number[]): PackedTensor {
  const [first] = results;
  if (results.length === 1) return { ...received(first.packed), shape };
  const planes = PLANE_NAMES.flatMap((name) => {
    const parts = results.flatMap(({ packed }) => packed.planes[name] ?? []);
    return parts.length > 0 ? [[name, concatenated(parts)]] : [];
  });
  return received({ scheme: first.packed.scheme, shape, planes: Object.fromEntries(planes) });
}

function concatenated(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
