/** Threads that quantize rows: tasks go to whoever is free, so what comes out does not depend on how many there are. */
import { Worker } from "node:worker_threads";
import { PLANE_NAMES } from "../tensor/index.js";
import type { RowsResult, RowsTask } from "./rows-task.js";

/** Where tasks are done. */
export interface RowsRunner {
  run(task: RowsTask): Promise<RowsResult>;
  close(): Promise<void>;
}

/** What a thread answers: `error` says what went wrong, without its class. */
export type Answer = { readonly result: RowsResult } | { readonly error: string };

interface Waiting {
  readonly task: RowsTask;
  readonly resolve: (result: RowsResult) => void;
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
    run: (task) =>
      new Promise((resolve, reject) => {
        queue.push({ task, resolve, reject });
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
  const own = withOwnMemory(task);
  worker.postMessage(own, memoryOf(own.original.planes));
}

/** Rows share the memory of their tensor; sent as they are, they would take all of it along. */
function withOwnMemory(task: RowsTask): RowsTask {
  const { planes } = task.original;
  const own = Object.fromEntries(PLANE_NAMES.flatMap((name) => (planes[name] ? [[name, planes[name].slice()]] : [])));
  return { ...task, original: { ...task.original, planes: own as unknown as typeof planes } };
}

/** The memory of planes that hold nothing else, to be handed over. */
export function memoryOf(planes: RowsResult["packed"]["planes"]): ArrayBuffer[] {
  const whole = PLANE_NAMES.flatMap((name) => planes[name] ?? []).filter(
    ({ buffer, byteLength }) => buffer.byteLength === byteLength,
  );
  return [...new Set(whole.map(({ buffer }) => buffer as ArrayBuffer))];
}
