/**
 * A helper thread: takes its share of every list of operations until it is terminated. Generated code lies in shared
 * memory, block after block, so that no message is needed: before a list it compiles what is new.
 */
import { instantiate, type KernelFunction, KernelTable } from "./code.js";
import { type ControlExports, codeBlock, control, controlModule } from "./control.js";
import type { WorkerData } from "./worker-host.js";
import { openWorker } from "./worker-port.js";

const { data, ready } = await openWorker<WorkerData>();
work(data, ready);

function work({ memory, weights, limits, thread, threads }: WorkerData, ready: () => void): never {
  const kernels = new KernelTable();
  const { idle, help } = instantiate(controlModule(limits), memory, kernels) as unknown as ControlExports;
  let seen = 0;
  let lastCode: number = control.firstCode;
  ready();
  for (;;) {
    seen = idle(seen);
    try {
      lastCode = compileNew(kernels, memory, weights, lastCode);
      help(seen, thread, threads);
    } catch {
      // The caller turns the flag into an error; without it, all others would wait for ever.
      const words = new Int32Array(memory.buffer);
      Atomics.store(words, control.failed / 4, 1);
      Atomics.notify(words, control.completed / 4);
    }
  }
}

/** Compiles the blocks of code after the one at `last`; the address of the newest. */
function compileNew(
  kernels: KernelTable,
  memory: WebAssembly.Memory,
  weights: readonly WebAssembly.Memory[],
  last: number,
): number {
  const words = new Uint32Array(memory.buffer);
  let block: number = last;
  for (let next = Atomics.load(words, block / 4); next !== 0; next = Atomics.load(words, block / 4)) {
    block = next;
    const { length, room, code } = codeBlock;
    const bytes = new Uint8Array(memory.buffer, block + code, words[(block + length) / 4]).slice();
    const own = { weights: weights[words[(block + room) / 4] - 1] };
    kernels.add(Object.values(instantiate(new Uint8Array(bytes), memory, own)) as KernelFunction[]);
  }
  return block;
}
