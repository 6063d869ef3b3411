/**
 * Ctrl-C and SIGTERM. Most work holds nothing that must be put away, and the signal ends the process at once, as the
 * system does by itself. Work that writes files is wrapped in `interruptible`: the first signal lets it clean up, a
 * second one does not wait.
 */
import { Interrupted } from "./failure.js";

const SIGNALS = ["SIGINT", "SIGTERM"] as const;

/** Runs `work`; its signal is aborted by Ctrl-C or SIGTERM, and then this throws `Interrupted` when `work` has ended. */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    const reason = new Interrupted(name === "SIGINT" ? "SIGINT" : "SIGTERM");
    if (controller.signal.aborted) process.exit(reason.exitCode);
    controller.abort(reason);
  };
  for (const name of SIGNALS) process.on(name, onSignal);
  try {
    const result = await work(controller.signal);
    controller.signal.throwIfAborted();
    return result;
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    for (const name of SIGNALS) process.off(name, onSignal);
  }
}
