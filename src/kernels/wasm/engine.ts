/** Memory, generated code and threads of one backend: `run` computes a kernel's items, on one thread or several. */
import { UnsupportedError } from "../../errors.js";
import { instantiate, type KernelFunction, kernelsOf } from "./code.js";
import { type ControlExports, control, controlModule } from "./control.js";
import type { MemoryLimits } from "./emitter.js";
import { Heap } from "./heap.js";
import type { KernelSignature } from "./kernel.js";
import { type HelperThread, startWorker } from "./worker-host.js";

/** 4 GB, all that 32-bit addresses reach. */
export const maximumPages = 65536;

export interface CompiledModule {
  readonly id: number;
  readonly address: number;
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly kernels: readonly KernelFunction[];
  readonly names: readonly string[];
}

/** Work below this many multiplications is not worth waking another thread for. */
const worthSharing = 1 << 15;

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly heap: Heap;
  readonly threads: number;
  readonly limits: MemoryLimits;
  readonly #control: ControlExports | undefined;
  readonly #helpers: readonly HelperThread[];
  readonly #modules = new Map<string, CompiledModule>();
  readonly #scratch = new Map<string, { address: number; bytes: number }>();

  private constructor(memory: WebAssembly.Memory, limits: MemoryLimits, helpers: readonly HelperThread[]) {
    this.memory = memory;
    this.limits = limits;
    this.heap = new Heap(memory, control.end, maximumPages);
    this.threads = helpers.length + 1;
    this.#helpers = helpers;
    if (limits.shared) {
      this.#control = instantiate(controlModule(limits), memory) as unknown as ControlExports;
    }
  }

  /** An engine of `threads` threads, the calling one included; more than one need shared memory. */
  static async start(threads: number): Promise<Engine> {
    const shared = threads > 1;
    const limits = shared ? { initialPages: 1, maximumPages, shared } : { initialPages: 1 };
    const memory = new WebAssembly.Memory({ initial: 1, maximum: maximumPages, shared });
    const helpers = await Promise.all(
      Array.from({ length: threads - 1 }, (_, i) => startWorker({ memory, limits, thread: i + 1 })),
    );
    return new Engine(memory, limits, helpers);
  }

  /** The module of that key, generated and compiled at its first use. */
  module(key: string, generate: (limits: MemoryLimits) => Uint8Array<ArrayBuffer>): CompiledModule {
    let module = this.#modules.get(key);
    if (!module) {
      const bytes = generate(this.limits);
      const address = this.heap.allocate(bytes.length, "code");
      new Uint8Array(this.memory.buffer, address, bytes.length).set(bytes);
      const names = Object.keys(instantiate(bytes, this.memory));
      module = { id: this.#modules.size, address, bytes, kernels: kernelsOf(bytes, this.memory), names };
      this.#modules.set(key, module);
    }
    return module;
  }

  /** Computes all items of a kernel. `work` estimates the multiplications, to decide whether threads are worth it. */
  run<F extends string>(
    module: CompiledModule,
    { name, fields }: KernelSignature<F>,
    args: Readonly<Record<F, number>>,
    items: number,
    work: number,
  ): void {
    const words = new Int32Array(this.memory.buffer);
    fields.forEach((field, i) => {
      words[control.record / 4 + i] = args[field];
    });
    const index = module.names.indexOf(name);
    const kernel = module.kernels[index];
    const threads = this.#control;
    if (!threads || items < 2 || work < worthSharing) {
      kernel(control.record, 0, items, 0);
      return;
    }
    words[control.module / 4] = module.id;
    words[control.codeAddress / 4] = module.address;
    words[control.codeBytes / 4] = module.bytes.length;
    words[control.kernel / 4] = index;
    threads.publish(items);
    for (let item = threads.claim(); item >= 0; item = threads.claim()) {
      kernel(control.record, item, item + 1, 0);
      threads.complete();
    }
    threads.join(items);
    if (Atomics.load(words, control.failed / 4) !== 0) {
      throw new UnsupportedError(`the kernel ${name} failed on a helper thread`, { try: "one thread" });
    }
  }

  /** At least `bytes` of memory kept for a purpose; its content lasts until the next request for the same purpose. */
  scratch(purpose: string, bytes: number): number {
    const held = this.#scratch.get(purpose);
    if (held && held.bytes >= bytes) return held.address;
    if (held) this.heap.free(held.address);
    const address = this.heap.allocate(bytes, `scratch for ${purpose}`);
    this.#scratch.set(purpose, { address, bytes });
    return address;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#helpers.map((helper) => helper.terminate()));
    this.#modules.clear();
    this.#scratch.clear();
  }
}
