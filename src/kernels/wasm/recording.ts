/**
 * A list of operations that is kept, to be run again for another position. A step of one token is always the same list but for
 * a few numbers that count positions; asking for each operation anew touches objects all over memory, which the weights have
 * driven out of the caches since the last token, while a kept list is read from one end to the other.
 */
import { instantiate, type KernelTable } from "./code.js";
import { endMark, entryHead } from "./control.js";
import { callIndirect, createModule, type MemoryLimits } from "./emitter.js";
import type { Engine } from "./engine.js";
import { i32 } from "./instructions.js";

export class Recording {
  readonly #engine: Engine;
  readonly #address: number;
  readonly #length: number;
  readonly #moving: readonly number[];
  /** Frees that the engine had seen: after another one an address may belong to something else. */
  readonly #frees: number;
  #position: number;

  /** A list as it was at a position; `moving` are the words that change with it. */
  constructor(engine: Engine, position: number, words: Int32Array, moving: readonly number[]) {
    this.#engine = engine;
    this.#position = position;
    this.#moving = moving;
    this.#length = words.length;
    this.#address = engine.heap.allocate(4 * words.length, "a list of operations");
    this.#frees = engine.frees;
    this.#words.set(words);
  }

  get #words(): Int32Array {
    return new Int32Array(this.#engine.memory.buffer, this.#address, this.#length);
  }

  /** Runs the list at `position`; false where its operations must be called anew. */
  run(position: number): boolean {
    if (this.#frees !== this.#engine.frees) return false;
    const words = this.#words;
    for (const word of this.#moving) words[word] += position - this.#position;
    this.#position = position;
    return this.#engine.play(this.#address);
  }

  dispose(): void {
    this.#engine.heap.free(this.#address);
  }
}

export interface Player {
  /** Works through a list on one thread. */
  play(list: number): void;
}

export function createPlayer(limits: MemoryLimits, memory: WebAssembly.Memory, table: KernelTable): Player {
  const m = createModule(limits);
  const kernel = m.indirect({ record: "i32", from: "i32", to: "i32", thread: "i32" }, "void");
  m.func("play", { list: "i32" }, "void", (f, { list }) => {
    f.loop((next) => {
      const place = f.let(i32.load(list));
      f.if(i32.eq(place, endMark), () => f.return());
      const record = i32.add(list, entryHead);
      f.emit(callIndirect(kernel, place, { record, from: i32.const(0), to: i32.load(list, 8), thread: i32.const(0) }));
      f.advance(list, i32.load(list, 12));
      f.branch(next);
    });
  });
  return instantiate(m.bytes(), memory, table) as unknown as Player;
}
