/** A thread of row-threads.ts: does one task after another. */
import { parentPort } from "node:worker_threads";
import { backends, createBackend, type Products, productsOn } from "../kernels/index.js";
import { type Answer, inSharedMemory, memoryOf } from "./row-threads.js";
import { perform, type Task } from "./rows-task.js";

let products: Promise<Products> | undefined;

/** Where this thread multiplies matrices, opened for the first task that has some. Every backend gives the same bits. */
async function productsFor({ statistics }: Task): Promise<Products | undefined> {
  if (!statistics?.hessian) return undefined;
  products ??= createBackend(backends.names[0]).then(productsOn);
  return products;
}

parentPort?.on("message", async (task: Task) => {
  const answer = await answerTo(task);
  const { result } = answer as { result?: object };
  parentPort?.postMessage(answer, result && "packed" in result ? memoryOf((result as PackedResult).packed.planes) : []);
});

type PackedResult = { readonly packed: { readonly planes: Parameters<typeof memoryOf>[0] } };

async function answerTo(task: Task): Promise<Answer> {
  try {
    const result = perform(task, await productsFor(task));
    return { result: "prepared" in result ? inSharedMemory(result) : result };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
