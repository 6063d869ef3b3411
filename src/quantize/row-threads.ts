/** Threads that quantize rows: tasks go to whoever is free, so what comes out does not depend on how many there are. */
import { Worker } from "node:worker_threads";
import { PLANE_NAMES } from "../tensor/index.js";
import type { ResultOf, RowsResult, RowsTask, Task } from "./rows-task.js";

/** Where tasks are done. */
export interface RowsRunner {
  run<T extends Task>(task: T): Promise<ResultOf<T>>;
  close(): Promise<void>;
}

/** What a thread answers: `error` says what went wrong, without its class. */
export type Answer = { readonly result: ResultOf<Task> } | { readonly error: string };

interface Waiting {
  readonly task: Task;
  readonly resolve: (result: ResultOf<Task>) => void;
  readonly reject: (error: Error) => void;
}

/** `threads` threads; closing stops them where they are. */
export function openRowThreads(threads: number): RowsRunner {
  const queue: Waiting[] = [];
  const idle: Worker[] = [];
  const next = (worker: Worker) => {
    const waiting = queue.shift();
    if (waiting) give(worker, waiting, next);
    else idle.push(worker);
  };
  const workers = Array.from({ length: threads }, () => new Worker(new URL("./row-worker.js", import.meta.url)));
  workers.forEach(next);
  return {
    run: <T extends Task>(task: T) =>
      new Promise<ResultOf<T>>((resolve, reject) => {
        queue.push({ task, resolve: resolve as Waiting["resolve"], reject });
        const worker = idle.pop();
        if (worker) next(worker);
      }),
    async close() {
      await Promise.all(workers.map((worker) => worker.terminate()));
    },
  };
}

function give(worker: Worker, { task, resolve, reject }: Waiting, done: (worker: Worker) => void): void {
  const answered = (answer: Answer) => {
    worker.off("error", failed);
    if ("result" in answer) resolve(answer.result);
    else reject(new Error(answer.error));
    done(worker);
  };
  // A thread that failed altogether is gone, and so is what waits for it: the run ends with this error.
  const failed = (error: Error) => reject(error);
  worker.once("message", answered);
  worker.once("error", failed);
  const { statistics } = task;
  const own = { ...task, statistics: statistics && inSharedMemory(statistics) };
  if ("original" in own) {
    const { original, prepared } = own as RowsTask;
    const planes = ownPlanes(original.planes);
    const sent = { ...own, original: { ...original, planes }, prepared: prepared && inSharedMemory(prepared) };
    worker.postMessage(sent, memoryOf(planes));
  } else worker.postMessage(own);
}

/** Rows share the memory of their tensor; sent as they are, they would take all of it along. */
function ownPlanes(planes: RowsResult["packed"]["planes"]): RowsResult["packed"]["planes"] {
  const own = PLANE_NAMES.flatMap((name) => (planes[name] ? [[name, planes[name].slice()]] : []));
  return Object.fromEntries(own) as unknown as typeof planes;
}

/** The memory of planes that hold nothing else, to be handed over. */
export function memoryOf(planes: RowsResult["packed"]["planes"]): ArrayBuffer[] {
  const whole = PLANE_NAMES.flatMap((name) => planes[name] ?? []).filter(
    ({ buffer, byteLength }) => buffer.byteLength === byteLength,
  );
  return [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
}

const inShared = new WeakMap<object, object>();

/** Plain data whose arrays lie in memory that threads share, so that tasks with the same data send none of it. */
export function inSharedMemory<T extends object>(data: T): T {
  const known = inShared.get(data);
  if (known) return known as T;
  const made = Object.fromEntries(Object.entries(data).map(([name, value]) => [name, sharedValue(value)]));
  inShared.set(data, made);
  return made as T;
}

type Numbers = Float64Array | Float32Array | Uint32Array;

function sharedValue(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  if (!ArrayBuffer.isView(value)) return inSharedMemory(value);
  const { constructor: Kind, byteLength, buffer } = value as Numbers;
  if (buffer instanceof SharedArrayBuffer) return value;
  const copy = new (Kind as Float64ArrayConstructor)(new SharedArrayBuffer(byteLength));
  copy.set(value as Float64Array);
  return copy;
}
