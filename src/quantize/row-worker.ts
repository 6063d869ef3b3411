/** A thread of row-threads.ts: does one task after another. */
import { parentPort } from "node:worker_threads";
import { type Answer, memoryOf } from "./row-threads.js";
import { quantizeRows, type RowsTask } from "./rows-task.js";

parentPort?.on("message", (task: RowsTask) => {
  const answer = answerTo(task);
  parentPort?.postMessage(answer, "result" in answer ? memoryOf(answer.result.packed.planes) : []);
});

function answerTo(task: RowsTask): Answer {
  try {
    return { result: quantizeRows(task) };
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
