/** Starting helper threads, in Node and in browsers. */
import type { MemoryLimits } from "./emitter.js";

export interface WorkerData {
  readonly memory: WebAssembly.Memory;
  /** Further memories, for weights alone. */
  readonly weights: readonly WebAssembly.Memory[];
  readonly limits: MemoryLimits;
  /** Its number, from 1, and how many there are with the calling one. */
  readonly thread: number;
  readonly threads: number;
}

export interface HelperThread {
  /** Resolves when it is ready to work; nobody need wait for that. */
  readonly ready: Promise<void>;
  terminate(): Promise<void>;
}

/** Starts worker.js. It never keeps the process alive. */
export async function startWorker(data: WorkerData): Promise<HelperThread> {
  // In one expression each: by it bundlers know that worker.js is a module of its own.
  if (typeof Worker !== "undefined") {
    return startWebWorker(new Worker(new URL("./worker.js", import.meta.url), { type: "module" }), data);
  }
  const { Worker: NodeWorker } = await import("node:worker_threads");
  const worker = new NodeWorker(new URL("./worker.js", import.meta.url), { workerData: data });
  const ready = new Promise<void>((resolve, reject) => {
    worker.once("message", () => resolve());
    worker.once("error", reject);
  });
  worker.unref();
  return {
    ready,
    terminate: async () => {
      await worker.terminate();
    },
  };
}

function startWebWorker(worker: Worker, data: WorkerData): HelperThread {
  const ready = new Promise<void>((resolve, reject) => {
    worker.onmessage = () => resolve();
    worker.onerror = (event) => reject(new Error(event.message));
    worker.postMessage(data);
  });
  return { ready, terminate: async () => worker.terminate() };
}
