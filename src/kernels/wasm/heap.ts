/**
 * A first-fit allocator over a WebAssembly memory. Blocks are 64-byte aligned (a cache line), and every block is followed
 * by at least 16 spare bytes, so that kernels may load a whole vector at the last element.
 */
import { UnsupportedError } from "../../errors.js";

const page = 65536;
const alignment = 64;
const spare = 16;

/** Pages that the memory grows by at most beyond what is needed: 128 MiB. Untouched pages cost no real memory. */
const largestStep = 2048;

interface Span {
  start: number;
  end: number;
}

export class Heap {
  readonly memory: WebAssembly.Memory;
  readonly #maximum: number;
  /** Free spans in order of address, never adjacent. */
  readonly #free: Span[] = [];
  readonly #sizes = new Map<number, number>();
  #version = 0;
  /** Starts of the blocks in use, in order; made anew when it is asked for after a change. */
  #starts: readonly number[] | undefined;
  #top: number;

  /** Manages all of `memory` from `start` on, growing it up to `maximumPages`. */
  constructor(memory: WebAssembly.Memory, start: number, maximumPages: number) {
    this.memory = memory;
    this.#top = align(start);
    this.#maximum = maximumPages * page;
  }

  /** Bytes given out and not yet freed. */
  get used(): number {
    let sum = 0;
    for (const size of this.#sizes.values()) sum += size;
    return sum;
  }

  /** Changes whenever a block is taken or given back. */
  get version(): number {
    return this.#version;
  }

  /** The start of the block in use that `address` lies in; the address itself outside of all. */
  blockOf(address: number): number {
    this.#starts ??= [...this.#sizes.keys()].sort((a, b) => a - b);
    let [low, high] = [0, this.#starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#starts[middle] <= address) low = middle + 1;
      else high = middle;
    }
    const start = this.#starts[low - 1];
    return start !== undefined && address < start + (this.#sizes.get(start) ?? 0) ? start : address;
  }

  /** The address of `bytes` fresh bytes, not cleared. UnsupportedError where the memory cannot grow so far. */
  allocate(bytes: number, purpose: string): number {
    const start = this.find(bytes);
    if (start !== undefined) return start;
    throw new UnsupportedError(`the wasm backend has no room for ${align(bytes + spare)} bytes of ${purpose}`, {
      kind: "too-large",
      why: `${this.used} bytes are in use of at most ${this.#maximum}`,
      try: "a smaller scheme, a shorter context, or a backend of more memories",
    });
  }

  /** The same; undefined where there is no room. */
  find(bytes: number): number | undefined {
    const size = align(bytes + spare);
    const index = this.#free.findIndex((span) => span.end - span.start >= size);
    const start = index >= 0 ? this.#take(index, size) : this.#grow(size);
    if (start === undefined) return undefined;
    this.#sizes.set(start, size);
    this.#starts = undefined;
    this.#version++;
    return start;
  }

  /** Gives a block back; returns false if `start` is no block in use. */
  free(start: number): boolean {
    const size = this.#sizes.get(start);
    if (size === undefined) return false;
    this.#sizes.delete(start);
    this.#starts = undefined;
    this.#version++;
    const at = this.#free.findIndex((span) => span.start > start);
    const index = at < 0 ? this.#free.length : at;
    this.#free.splice(index, 0, { start, end: start + size });
    this.#merge(index);
    this.#merge(index - 1);
    return true;
  }

  #take(index: number, size: number): number {
    const span = this.#free[index];
    const start = span.start;
    span.start += size;
    if (span.start === span.end) this.#free.splice(index, 1);
    return start;
  }

  #grow(size: number): number | undefined {
    const last = this.#free.at(-1);
    const start = last?.end === this.#top ? last.start : this.#top;
    const end = start + size;
    if (end > this.#maximum || !this.#reach(end)) return undefined;
    if (start !== this.#top) this.#free.pop();
    this.#top = end;
    return start;
  }

  /** Makes the memory at least `end` bytes long, in generous steps: each growth costs the engine a collection. */
  #reach(end: number): boolean {
    const have = this.memory.buffer.byteLength;
    if (end <= have) return true;
    const missing = Math.ceil((end - have) / page);
    const room = (this.#maximum - have) / page;
    const step = Math.min(room, Math.max(missing, Math.min(have / page, largestStep)));
    return growMemory(this.memory, step) || growMemory(this.memory, missing);
  }

  /** Joins span `index` with the next if they touch. */
  #merge(index: number): void {
    const [span, next] = [this.#free[index], this.#free[index + 1]];
    if (!span || !next || span.end !== next.start) return;
    span.end = next.end;
    this.#free.splice(index + 1, 1);
  }
}

function align(bytes: number): number {
  return Math.ceil(bytes / alignment) * alignment;
}

function growMemory(memory: WebAssembly.Memory, pages: number): boolean {
  try {
    memory.grow(pages);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}
