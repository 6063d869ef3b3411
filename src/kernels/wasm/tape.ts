/**
 * The list of operations that threads work through (control.ts), as it is written: entry after entry, and a barrier
 * before an operation only where it touches what an operation since the last barrier has written, or writes what one has
 * read. Projections of the same input so run without waiting for each other.
 */
import type { Blocks } from "./blocks.js";
import { endMark, entryHead, flags } from "./control.js";
import type { Heap } from "./heap.js";
import type { KernelSignature } from "./kernel.js";

export class Tape {
  readonly address: number;
  readonly #heap: Heap;
  readonly #length: number;
  #view: Int32Array;
  readonly #blocks: Blocks;
  /** Barriers so far, over all lists. */
  #barriers = 1;
  /** After an operation that does not tell what it writes. */
  #unknown = false;
  #end = 0;
  /** Words that change with the position. */
  #moving: number[] = [];

  /** Takes `bytes` bytes of memory for the list. */
  constructor(heap: Heap, blocks: Blocks, bytes: number) {
    this.address = heap.allocate(bytes, "the list of operations");
    this.#heap = heap;
    this.#length = bytes / 4;
    this.#view = new Int32Array(heap.memory.buffer, this.address, this.#length);
    this.#blocks = blocks;
  }

  /** A memory that is not shared has a new buffer after it has grown. */
  get #words(): Int32Array {
    if (this.#view.length === 0) this.#view = new Int32Array(this.#heap.memory.buffer, this.address, this.#length);
    return this.#view;
  }

  get empty(): boolean {
    return this.#end === 0;
  }

  /** Whether an operation with so many arguments still fits, the end mark included. */
  hasRoom(fields: number): boolean {
    return this.#end + entryHead / 4 + fields + 1 <= this.#words.length;
  }

  /** Appends an operation whose kernel stands at `place` of the table. */
  add<F extends string>(
    place: number,
    signature: KernelSignature<F>,
    args: Readonly<Record<F, number>>,
    items: number,
    shared: boolean,
  ): void {
    const words = this.#words;
    const { fields } = signature;
    const barrier = this.#conflicts(signature, args);
    const at = this.#end;
    words[at] = place;
    words[at + 1] = (barrier ? flags.barrier : 0) | (shared ? flags.shared : 0);
    words[at + 2] = items;
    words[at + 3] = entryHead + 4 * fields.length;
    for (let i = 0; i < fields.length; i++) words[at + entryHead / 4 + i] = args[fields[i]];
    for (const field of signature.moves ?? []) this.#moving.push(at + entryHead / 4 + fields.indexOf(field));
    this.#end = at + entryHead / 4 + fields.length;
  }

  /** The list so far, with its end mark, and which of its words change with the position. */
  copy(): { readonly words: Int32Array; readonly moving: readonly number[] } {
    this.#words[this.#end] = endMark;
    return { words: this.#words.slice(0, this.#end + 1), moving: this.#moving };
  }

  /** Writes the end mark; the next operation begins a new list. */
  close(): void {
    this.#words[this.#end] = endMark;
    this.#end = 0;
    this.#moving = [];
    this.#barriers++;
    this.#unknown = false;
  }

  /** Whether the operation must wait for those before it; takes note of what it reads and writes. */
  #conflicts<F extends string>({ reads, writes }: KernelSignature<F>, args: Readonly<Record<F, number>>): boolean {
    let conflict = this.#unknown;
    this.#unknown = !reads || !writes;
    if (!reads || !writes) conflict = true;
    else {
      for (const field of reads) conflict ||= this.#blocks.at(args[field]).written === this.#barriers;
      for (const field of writes) {
        const { read, written } = this.#blocks.at(args[field]);
        conflict ||= read === this.#barriers || written === this.#barriers;
      }
    }
    if (conflict) this.#barriers++;
    for (const field of reads ?? []) this.#blocks.at(args[field]).read = this.#barriers;
    for (const field of writes ?? []) this.#blocks.at(args[field]).written = this.#barriers;
    return conflict;
  }
}
