/** The worker's end of its start: the data it was given, in Node and in browsers. */
interface Scope {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(message: unknown): void;
}

export async function openWorker<T>(): Promise<{ data: T; ready(): void }> {
  if (typeof WorkerGlobalScope === "undefined") {
    const { parentPort, workerData } = await import("node:worker_threads");
    return { data: workerData as T, ready: () => parentPort?.postMessage("ready") };
  }
  const scope = globalThis as unknown as Scope;
  const data = await new Promise<T>((resolve) => {
    scope.onmessage = (event) => resolve(event.data as T);
  });
  return { data, ready: () => scope.postMessage("ready") };
}

declare const WorkerGlobalScope: unknown;
