/** What is known of the allocations that addresses lie in: who must wait for whom, and what has changed since when. */
import type { Heap } from "./heap.js";

/** Numbers of barriers (tape.ts) and of operations (Engine.run). */
export interface Block {
  /** The barrier after which it was last read and written. */
  read: number;
  written: number;
  /** The operation that last wrote it. */
  writer: number;
}

/** Addresses remembered; more come from views that move on with every token. */
const mostAddresses = 1 << 14;

export class Blocks {
  readonly #heap: Heap;
  readonly #byStart = new Map<number, Block>();
  readonly #byAddress = new Map<number, Block>();
  /** The heap's version that the addresses are of. */
  #version = 0;

  constructor(heap: Heap) {
    this.#heap = heap;
  }

  /** The block in use that `address` lies in. */
  at(address: number): Block {
    return (this.#version === this.#heap.version && this.#byAddress.get(address)) || this.#find(address);
  }

  #find(address: number): Block {
    if (this.#version !== this.#heap.version || this.#byAddress.size > mostAddresses) this.#byAddress.clear();
    this.#version = this.#heap.version;
    const start = this.#heap.blockOf(address);
    const block = this.#byStart.get(start) ?? { read: 0, written: 0, writer: 0 };
    this.#byStart.set(start, block);
    this.#byAddress.set(address, block);
    return block;
  }
}
