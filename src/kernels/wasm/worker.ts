/**
 * A helper thread. It compiles each module the first time a call names it (the bytes lie in shared memory, so no message
 * is needed), and works off items until it is terminated.
 */
import { instantiate, type KernelFunction, kernelsOf } from "./code.js";
import { type ControlExports, control, controlModule } from "./control.js";
import type { WorkerData } from "./worker-host.js";
import { openWorker } from "./worker-port.js";

const { data, ready } = await openWorker<WorkerData>();
work(data, ready);

function work({ memory, limits, thread }: WorkerData, ready: () => void): never {
  const { idle, claim, complete } = instantiate(controlModule(limits), memory) as unknown as ControlExports;
  const modules = new Map<number, KernelFunction[]>();
  ready();
  for (;;) {
    idle();
    for (let item = claim(); item >= 0; item = claim()) {
      try {
        named(modules, memory)(control.record, item, item + 1, thread);
      } catch {
        // The caller turns the flag into an error; without it, it would wait for ever.
        Atomics.store(new Int32Array(memory.buffer), control.failed / 4, 1);
      }
      complete();
    }
  }
}

/** The kernel that the call in hand names. */
function named(modules: Map<number, KernelFunction[]>, memory: WebAssembly.Memory): KernelFunction {
  const words = new Int32Array(memory.buffer);
  const id = words[control.module / 4];
  let kernels = modules.get(id);
  if (!kernels) {
    const address = words[control.codeAddress / 4] >>> 0;
    const bytes = new Uint8Array(memory.buffer, address, words[control.codeBytes / 4]).slice();
    kernels = kernelsOf(new Uint8Array(bytes), memory);
    modules.set(id, kernels);
  }
  return kernels[words[control.kernel / 4]];
}
