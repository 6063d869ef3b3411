/** Memory, generated code and threads of one backend: `run` computes a kernel's items, on one thread or several. */
import { UnsupportedError } from "../../errors.js";
import type { Recording as KeptOperations, OperationTime } from "../backend.js";
import { Blocks } from "./blocks.js";
import { instantiate, type KernelFunction, KernelTable } from "./code.js";
import { type ControlExports, codeBlock, control, controlModule, listNumbers } from "./control.js";
import type { MemoryLimits } from "./emitter.js";
import { Heap } from "./heap.js";
import type { KernelSignature } from "./kernel.js";
import { Profile, type Subject } from "./profile.js";
import { createPlayer, type Player, Recording } from "./recording.js";
import { Tape } from "./tape.js";
import { type HelperThread, startWorker } from "./worker-host.js";

/** 4 GB, all that 32-bit addresses reach. */
export const maximumPages = 65536;

/** 32 MB to begin with: untouched pages cost no real memory, and each growth costs the engine a collection. */
const initialPages = 512;

export interface CompiledModule {
  readonly kernels: ReadonlyMap<string, { readonly call: KernelFunction; readonly place: number }>;
}

/** A single operation below this many multiplications is not worth calling other threads for. */
const worthCalling = 1 << 15;

/** Within a list the others are there anyway; below this the share is smaller than what it costs to fetch inputs. */
const worthSharing = 1 << 10;

/** Bytes of a list: some thousand operations. A longer batch is run in several. */
const tapeBytes = 1 << 18;

/** The main thread of a page may not sleep. */
const maySleep = typeof document === "undefined" ? 1 : 0;

/** While operations are profiled one by one. */
const nothingKept: KeptOperations = { run: () => false, dispose() {} };

export interface EngineOptions {
  readonly threads: number;
  /** Memories: one for all, or one for activations and the rest for weights. Default: 1. */
  readonly memories?: number;
  /** The most pages of each. Default: all that there can be. */
  readonly pages?: number;
}

/** A place for weights: the room 0 is the memory of everything else as well. */
interface Room {
  readonly memory: WebAssembly.Memory;
  readonly heap: Heap;
}

/** Where a weight lies. */
export interface Place {
  readonly room: number;
  readonly address: number;
  readonly bytes: number;
}

interface Threads {
  readonly exports: ControlExports;
  readonly tape: Tape;
  readonly helpers: readonly HelperThread[];
}

export class Engine {
  readonly memory: WebAssembly.Memory;
  readonly heap: Heap;
  readonly threads: number;
  readonly limits: MemoryLimits;
  readonly #rooms: readonly Room[];
  #weightBytes = 0;
  readonly #table = new KernelTable();
  readonly #team: Threads | undefined;
  readonly #modules = new Map<string, CompiledModule>();
  readonly #scratch = new Map<string, { address: number; bytes: number }>();
  #lastCode: number = control.firstCode;
  #words: Int32Array | undefined;
  #batches = 0;
  #lists = 0;
  readonly #blocks: Blocks;
  /** Operations so far, and the first that memory has not been open to others since. */
  #operations = 0;
  #closedSince = 0;
  #profile: Profile | undefined;
  #frees = 0;
  /** Why a helper could not be started. */
  #failure: { readonly error: unknown } | undefined;
  /** The list that is being recorded, and whether it holds all that has been done since. */
  #recorded: { readonly tape: Tape; whole: boolean } | undefined;
  /** Of one thread: its list while it records, and what runs lists. */
  #ownTape: Tape | undefined;
  #player: Player | undefined;
  /** The weight in hand, for profiles. */
  subject: Subject | undefined;

  private constructor(memories: readonly WebAssembly.Memory[], limits: MemoryLimits, helpers: readonly HelperThread[]) {
    const pages = limits.maximumPages ?? maximumPages;
    this.#rooms = memories.map((memory) => ({ memory, heap: new Heap(memory, control.end, pages) }));
    this.memory = memories[0];
    this.heap = this.#rooms[0].heap;
    this.limits = limits;
    this.threads = helpers.length + 1;
    this.#blocks = new Blocks(this.heap);
    for (const { ready } of helpers) {
      ready.catch((error: unknown) => {
        this.#failure ??= { error };
      });
    }
    if (limits.shared) {
      const exports = instantiate(controlModule(limits), this.memory, this.#table) as unknown as ControlExports;
      this.#team = { exports, tape: new Tape(this.heap, this.#blocks, tapeBytes), helpers };
    }
  }

  /**
   * An engine of `threads` threads, the calling one included; more than one need shared memory. Helpers are not waited for: until
   * they are ready the calling thread takes their shares.
   */
  static async start({ threads, memories = 1, pages = maximumPages }: EngineOptions): Promise<Engine> {
    const shared = threads > 1;
    const limits: MemoryLimits = { initialPages: 1, maximumPages: pages, shared };
    const initial = Math.min(initialPages, pages);
    const all = Array.from({ length: memories }, () => new WebAssembly.Memory({ initial, maximum: pages, shared }));
    const [memory, ...weights] = all;
    const helpers = await Promise.all(
      Array.from({ length: threads - 1 }, (_, i) => startWorker({ memory, weights, limits, thread: i + 1, threads })),
    );
    return new Engine(all, limits, helpers);
  }

  /** Room for a weight: in the one memory there is, or in the first for weights that has it. */
  placeWeight(bytes: number, purpose: string): Place {
    const last = this.#rooms.length - 1;
    this.#weightBytes += bytes;
    for (let room = Math.min(1, last); room < last; room++) {
      const address = this.#rooms[room].heap.find(bytes);
      if (address !== undefined) return { room, address, bytes };
    }
    return { room: last, address: this.#rooms[last].heap.allocate(bytes, purpose), bytes };
  }

  /** Bytes of all weights held. */
  get weightBytes(): number {
    return this.#weightBytes;
  }

  freeWeight({ room, address, bytes }: Place): void {
    this.#weightBytes -= bytes;
    this.finish();
    this.#frees++;
    this.#rooms[room].heap.free(address);
  }

  /** Gives back what was taken of `heap`. */
  free(address: number): void {
    this.finish();
    this.#frees++;
    this.heap.free(address);
  }

  /** Counts what was given back: while it stays the same, all addresses are still what they were. */
  get frees(): number {
    return this.#frees;
  }

  weightMemory(room: number): WebAssembly.Memory {
    return this.#rooms[room].memory;
  }

  /** The module of that key for weights of that room, generated and compiled at its first use. */
  module(key: string, generate: (limits: MemoryLimits) => Uint8Array<ArrayBuffer>, room = 0): CompiledModule {
    const own = room === 0 ? key : `${key} of room ${room}`;
    const known = this.#modules.get(own);
    if (known) return known;
    const bytes = generate(room === 0 ? this.limits : { ...this.limits, weights: true });
    const surroundings = room === 0 ? {} : { weights: this.#rooms[room].memory };
    const functions = Object.entries(instantiate(bytes, this.memory, surroundings)) as [string, KernelFunction][];
    const first = this.#table.add(functions.map(([, kernel]) => kernel));
    if (this.#team) this.#share(bytes, room);
    const module = { kernels: new Map(functions.map(([name, call], i) => [name, { call, place: first + i }])) };
    this.#modules.set(own, module);
    return module;
  }

  /** Puts code where helper threads find it. */
  #share(bytes: Uint8Array, room: number): void {
    const block = this.heap.allocate(codeBlock.code + bytes.length, "code");
    const words = new Uint32Array(this.memory.buffer);
    words[(block + codeBlock.next) / 4] = 0;
    words[(block + codeBlock.length) / 4] = bytes.length;
    words[(block + codeBlock.room) / 4] = room;
    new Uint8Array(this.memory.buffer, block + codeBlock.code, bytes.length).set(bytes);
    // Helpers may be looking at this moment: a block is linked when all of it is there.
    Atomics.store(words, this.#lastCode / 4, block);
    this.#lastCode = block;
  }

  /** Runs `work` with every operation by itself, counting what each took. */
  profile<T>(work: () => T): { readonly result: T; readonly operations: readonly OperationTime[] } {
    const profile = new Profile();
    this.#profile = profile;
    try {
      return { result: work(), operations: profile.list() };
    } finally {
      this.#profile = undefined;
    }
  }

  /** Computes all items of a kernel. `work` estimates the multiplications, to decide whether threads are worth it. */
  run<F extends string>(
    module: CompiledModule,
    signature: KernelSignature<F>,
    args: Readonly<Record<F, number>>,
    items: number,
    work: number,
  ): void {
    if (!this.#profile) {
      this.#run(module, signature, args, items, work);
      return;
    }
    const start = performance.now();
    this.#run(module, signature, args, items, work);
    if (this.#team && !this.#team.tape.empty) this.#flush(this.#team);
    this.#profile.add(signature, this.subject, work, performance.now() - start);
  }

  #run<F extends string>(
    module: CompiledModule,
    signature: KernelSignature<F>,
    args: Readonly<Record<F, number>>,
    items: number,
    work: number,
  ): void {
    const kernel = module.kernels.get(signature.name);
    if (!kernel) throw new Error(`no kernel is called ${signature.name}`);
    this.#operations++;
    if (!signature.writes) this.#closedSince = this.#operations;
    else for (const field of signature.writes) this.#blocks.at(args[field]).writer = this.#operations;
    const team = this.#team;
    if (!team || (this.#batches === 0 && (items < 2 || work < worthCalling))) {
      const { fields } = signature;
      const words = this.#record;
      for (let i = 0; i < fields.length; i++) words[i] = args[fields[i]];
      kernel.call(control.record, 0, items, 0);
      this.#note(kernel.place, signature, args, items);
      return;
    }
    if (!team.tape.hasRoom(signature.fields.length)) this.finish();
    team.tape.add(kernel.place, signature, args, items, items > 1 && work >= worthSharing);
    if (this.#batches === 0) this.#flush(team);
  }

  /** On one thread: adds an operation to the list that is being recorded. */
  #note<F extends string>(
    place: number,
    signature: KernelSignature<F>,
    args: Readonly<Record<F, number>>,
    items: number,
  ): void {
    const recorded = this.#recorded;
    if (!recorded?.whole) return;
    if (recorded.tape.hasRoom(signature.fields.length)) recorded.tape.add(place, signature, args, items, false);
    else recorded.whole = false;
  }

  /**
   * Runs `work` and keeps its operations as a list; undefined where it cannot be run again: work outside of kernels is not in it.
   */
  record(position: number, work: () => void): KeptOperations | undefined {
    if (this.#profile) {
      work();
      return nothingKept;
    }
    this.finish();
    const team = this.#team;
    if (!team) this.#ownTape ??= new Tape(this.heap, this.#blocks, tapeBytes);
    const tape = team?.tape ?? (this.#ownTape as Tape);
    const recorded = { tape, whole: !this.#recorded };
    this.#recorded = recorded;
    this.#batches++;
    try {
      work();
      const { words, moving } = tape.copy();
      return recorded.whole ? new Recording(this, position, words, moving) : undefined;
    } finally {
      this.#batches--;
      this.#recorded = undefined;
      this.finish();
      if (!team) tape.close();
    }
  }

  /** Runs a list that was recorded; false while operations are profiled one by one. */
  play(list: number): boolean {
    if (this.#profile || this.#recorded) return false;
    this.finish();
    if (this.#team) this.#runList(this.#team, list);
    else {
      this.#player ??= createPlayer(this.limits, this.memory, this.#table);
      this.#player.play(list);
    }
    return true;
  }

  /** What is done now is not in the list that is being recorded. */
  forgoRecording(): void {
    if (this.#recorded) this.#recorded.whole = false;
  }

  /** The words of `control.record`; a memory that is not shared has a new buffer after it has grown. */
  get #record(): Int32Array {
    if (!this.#words || this.#words.byteLength === 0) this.#words = new Int32Array(this.memory.buffer, control.record);
    return this.#words;
  }

  /** The number of the operation that was run last. */
  get operations(): number {
    return this.#operations;
  }

  /** Whether what lies at `address` is, for certain, what it was after that operation. Only within a batch. */
  unchangedSince(address: number, operation: number): boolean {
    return this.#batches > 0 && operation >= this.#closedSince && this.#blocks.at(address).writer <= operation;
  }

  /** Lets the operations of `work` wait for each other only where they must. They are done when it returns. */
  batch<T>(work: () => T): T {
    this.#batches++;
    if (this.#batches === 1) this.#closedSince = this.#operations + 1;
    try {
      return work();
    } finally {
      this.#batches--;
      if (this.#batches === 0) this.finish();
    }
  }

  /** Runs what is listed. Needed before memory is read, or written other than by kernels. */
  finish(): void {
    this.forgoRecording();
    this.#closedSince = this.#operations + 1;
    if (this.#team && !this.#team.tape.empty) this.#flush(this.#team);
  }

  #flush(team: Threads): void {
    team.tape.close();
    this.#runList(team, team.tape.address);
  }

  #runList(team: Threads, address: number): void {
    if (this.#failure) throw this.#failure.error;
    this.#lists = (this.#lists % (listNumbers - 1)) + 1;
    if (team.exports.run(address, this.#lists, this.threads, maySleep) !== 0) {
      throw new UnsupportedError("a kernel failed on a helper thread", {
        ...{ kind: "no-engine-feature", where: `wasm, ${this.threads} threads`, try: "one thread" },
      });
    }
  }

  /** At least `bytes` of memory kept for a purpose; its content lasts until the next request for the same purpose. */
  scratch(purpose: string, bytes: number): number {
    const held = this.#scratch.get(purpose);
    if (held && held.bytes >= bytes) return held.address;
    if (held) this.free(held.address);
    const address = this.heap.allocate(bytes, `scratch for ${purpose}`);
    this.#scratch.set(purpose, { address, bytes });
    return address;
  }

  async dispose(): Promise<void> {
    await Promise.all(this.#team?.helpers.map((helper) => helper.terminate()) ?? []);
    this.#modules.clear();
    this.#scratch.clear();
  }
}
