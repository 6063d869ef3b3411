/**
 * The cast kernels over one WebAssembly memory, by addresses: what a backend calls whose data already lies there. Code is
 * generated at the first use of a format or scheme and shared by all whose parameters agree.
 *
 * Encoding and quantizing return false where the reference must decide instead (NaN without a code, a value that is not
 * finite, a scale out of range): the output is then unspecified.
 */
import { f32OfBits } from "../../formats/binary64.js";
import type { EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import type { Scheme } from "../../formats/scheme.js";
import { decodeTable, decodeTableF32 } from "../../formats/table.js";
import { instantiate } from "../wasm/code.js";
import { createModule, type Func, type MemoryLimits, type ModuleBuilder, type Parameters } from "../wasm/emitter.js";
import type { CompiledModule, Engine } from "../wasm/engine.js";
import { Heap } from "../wasm/heap.js";
import { defineAmax, defineDecode, defineEncode, definePacking, run } from "./array-kernels.js";
import { defineBlockDecode, defineTaggedDecode } from "./block-decode.js";
import { defineBlockEncode, defineScaledEncode, stateBytes } from "./block-encode.js";
import { codeBytes, needsTable } from "./decode-lanes.js";
import type { LaneDecode } from "./decode-plan.js";
import { cache, decodePlan, dequantizePlan, encodePlan, quantizePlan } from "./plans.js";
import { type DequantizePlan, elementOptions, type QuantizePlan, sumsErrors } from "./scheme-plan.js";
import { type Argument, defineShares, sharesRecord, sharesSignature } from "./shares.js";
import { encodeTableWords, powerRule, type ScaleRule, twoLevelRule } from "./tables.js";

type Kernel = (...words: number[]) => number;
type ArrayFunctions = Readonly<Record<string, Func<Parameters>>>;

interface KernelModule {
  readonly kernels: Readonly<Record<string, Kernel>>;
  /** The same by shares, where there are threads. */
  readonly shared?: CompiledModule;
}

const maximumPages = 65536;
/** Elements of a share of work: enough to be worth handing over, little enough to stay in a near cache. */
const shareElements = 16384;
/** Elements that arrays are copied by: what stays in a near cache, or enough for several threads. */
const pieceOfOne = 32768;
const pieceOfThread = 131072;

type Table = Float32Array | Float64Array | Int32Array;
export type BlockPlan = Extract<QuantizePlan, { kind: "blocks" }>;

/** What the blocks of one tensor are encoded by. */
export interface PreparedBlocks {
  readonly plan: BlockPlan;
  readonly tables: ScaleTables;
  /** The address of the table that elements are encoded by, where they are. */
  readonly elements: number;
  /** The address of the values of elements in binary64, for searches. */
  readonly values: number;
  /** For the super plane. */
  readonly tensorScale?: number;
}

interface ScaleTables {
  readonly shift: number;
  readonly steps: number;
  readonly factors: number;
  readonly divides: boolean;
  readonly highest?: number;
  readonly multipliers?: number;
}

export class CastKernels {
  readonly memory: WebAssembly.Memory;
  readonly heap: Heap;
  /** Elements that arrays outside are best copied by. */
  readonly pieceElements: number;
  readonly #limits: MemoryLimits;
  readonly #engine: Engine | undefined;
  /** By what was generated, and by the plan at hand, because comparing plans takes longer than running a kernel. */
  readonly #modules = new Map<string, KernelModule>();
  readonly #byPlan = new WeakMap<object, Map<string, KernelModule>>();
  readonly #scratch = new Map<string, { address: number; bytes: number }>();
  readonly #tables: number[] = [];
  /** Views of the memory in which arrays were given out: growing shared memory makes a new one, and old ones stay good. */
  readonly #buffers = new WeakSet<ArrayBufferLike>();
  readonly #decodeTable = cache<NumberFormat, number>((format) => this.#store(decodeTableF32(format), "decode table"));
  readonly #valueTable = cache<NumberFormat, number>((format) => this.#store(decodeTable(format), "values"));
  readonly #encodeTable = cache<NumberFormat, number | undefined>((format, options) => {
    const table = encodeTableWords(format, options);
    return table && this.#store(table, "encode table");
  });
  readonly #powerTables = cache<Scheme, ScaleTables | undefined>((scheme) => {
    const rule = powerRule(scheme);
    if (rule === null) return { shift: 23, steps: 0, factors: 0, divides: false };
    return rule && this.#place(rule, (data, purpose) => this.#store(data, purpose));
  });

  /**
   * Works on a memory of its own, or on the given one through its allocator; `limits` are those of a given memory. With the
   * engine of that memory large arrays are worked on by all its threads.
   */
  constructor(heap?: Heap, limits: MemoryLimits = {}, engine?: Engine) {
    this.#limits = limits;
    this.#engine = engine && engine.threads > 1 ? engine : undefined;
    this.pieceElements = this.#engine ? pieceOfThread * this.#engine.threads : pieceOfOne;
    this.heap = heap ?? new Heap(new WebAssembly.Memory({ initial: 1, maximum: maximumPages }), 64, maximumPages);
    this.memory = this.heap.memory;
  }

  /** Where an array lies in this memory; undefined for arrays outside. Known for memory that threads share. */
  addressOf({ buffer, byteOffset }: ArrayBufferView): number | undefined {
    return this.#buffers.has(buffer) ? byteOffset : undefined;
  }

  /** The memory of a new array, for `addressOf`. */
  allocate(bytes: number): { readonly buffer: ArrayBufferLike; readonly address: number } {
    const address = this.heap.allocate(bytes, "an array");
    const { buffer } = this.memory;
    this.#buffers.add(buffer);
    return { buffer, address };
  }

  /** Room that lasts until the next request for the same purpose. */
  scratch(purpose: string, bytes: number): number {
    const held = this.#scratch.get(purpose);
    if (held && held.bytes >= bytes) return held.address;
    if (held) this.heap.free(held.address);
    const address = this.heap.allocate(bytes + 64, `scratch for ${purpose}`);
    this.#scratch.set(purpose, { address, bytes });
    return address;
  }

  /** `count` f32 at `from` to unpacked codes (1, 2 or 4 bytes each) at `to`. */
  encode(format: NumberFormat, options: EncodeOptions, from: number, to: number, count: number): boolean {
    const plan = encodePlan(format, options);
    if (plan.kind === "reference") return false;
    if (plan.kind === "copy") return this.#copy(from, to, 4 * count);
    const table = plan.kind === "table" ? this.#encodeTable(format, options) : 0;
    if (table === undefined) return false;
    const module = this.#of(plan, "encode", (m) => ({ encode: defineEncode(m, plan) }));
    return this.#inRuns(
      count,
      from,
      4,
      to,
      codeBytes(plan.bits),
      (args, n) => this.#run(module, "encode", { ...args, count: "count", table }, n) === 0,
    );
  }

  /** `count` unpacked codes at `from` to f32 at `to`. */
  decode(format: NumberFormat, from: number, to: number, count: number): boolean {
    const plan = decodePlan(format);
    if (plan.kind === "reference") return false;
    if (plan.kind === "copy") return this.#copy(from, to, 4 * count);
    const table = this.#tableFor(format, plan);
    const module = this.#of(plan, "decode", (m) => ({ decode: defineDecode(m, plan) }));
    return this.#inRuns(count, from, codeBytes(plan.bits), to, 4, (args, n) => {
      this.#run(module, "decode", { ...args, count: "count", table }, n);
      return true;
    });
  }

  /** The largest magnitude of `count` f32; NaN or infinity if there is one. */
  amax(from: number, count: number): number {
    const module = this.#module("amax", (m) => ({ amax: defineAmax(m) }));
    let most = 0;
    this.#inRuns(count, from, 4, from, 0, (args, n) => {
      most = Math.max(most, this.#run(module, "amax", { from: args.from, count: "count" }, n));
      return true;
    });
    return f32OfBits(most);
  }

  /**
   * What one tensor's blocks need: for two-level rules tables made from its amax, valid until the next tensor's.
   * Undefined where the reference must decide.
   */
  prepare(scheme: Scheme, amax: () => number): PreparedBlocks | undefined {
    const plan = quantizePlan(scheme);
    if (plan.kind !== "blocks") return undefined;
    const byTable = plan.block.element.kind === "table";
    const elements = byTable ? this.#encodeTable(scheme.element, elementOptions(plan.steps)) : 0;
    if (elements === undefined) return undefined;
    const values = sumsErrors(plan.steps) ? this.#valueTable(scheme.tags?.element ?? scheme.element) : 0;
    if (plan.steps.kind !== "two-level") {
      const tables = this.#powerTables(scheme);
      return tables && { plan, tables, elements, values };
    }
    const most = amax();
    if (!Number.isFinite(most)) return undefined;
    const numbers = plan.steps.numbers(most);
    const rule = twoLevelRule(scheme.scale!.format, numbers, most);
    return rule && { plan, tables: this.#tensorTables(rule), elements, values, tensorScale: numbers.tensorScale };
  }

  /** Groups of f32, a positive multiple of `run` elements each, to unpacked codes, scales and offsets. */
  encodeGroups(
    { plan, tables, elements, values }: PreparedBlocks,
    from: number,
    at: { readonly codes: number; readonly scales: number; readonly offsets: number },
    groups: number,
    size: number,
  ): boolean {
    const { shift, divides, steps, factors, highest = 0, multipliers = 0 } = tables;
    const { block } = plan;
    const module = this.#of(block, `encodeBlocks ${shift} ${divides}`, (m) => ({
      encodeBlocks: defineBlockEncode(m, { ...block, shift, divides }),
    }));
    const states = this.scratch("states of groups", groups * stateBytes);
    const args: Record<string, Argument> = {
      from: { at: from, step: 4 * size },
      codes: { at: at.codes, step: size * codeBytes(block.elementBits) },
      scales: { at: at.scales, step: codeBytes(block.scaleBits) },
      offsets: { at: at.offsets, step: codeBytes(block.offsetBits) },
      groups: "count",
      size,
      steps,
      factors,
      states: { at: states, step: stateBytes },
      elements,
      highest,
      multipliers,
      values,
    };
    return this.#run(module, "encodeBlocks", args, groups, size) === 0;
  }

  /** Groups under a two-level rule to unpacked codes, by what the elements of each are multiplied with (or divided by), f32. */
  encodeScaled(
    { steps, block }: BlockPlan,
    element: NumberFormat,
    divides: boolean,
    at: { readonly from: number; readonly codes: number; readonly factors: number },
    groups: number,
    size: number,
  ): boolean {
    const elements = block.element.kind === "table" ? this.#encodeTable(element, elementOptions(steps)) : 0;
    if (elements === undefined) return false;
    const module = this.#of(block, `encodeScaled ${divides}`, (m) => ({
      encodeScaled: defineScaledEncode(m, { ...block, divides }),
    }));
    const args: Record<string, Argument> = {
      from: { at: at.from, step: 4 * size },
      codes: { at: at.codes, step: size * codeBytes(block.elementBits) },
      factors: { at: at.factors, step: 4 },
      groups: "count",
      size,
      elements,
    };
    return this.#run(module, "encodeScaled", args, groups, size) === 0;
  }

  /** Unpacked codes with f32 scales and offsets, one a group, to f32. */
  decodeGroups(
    scheme: Scheme,
    codes: number,
    scales: number,
    offsets: number,
    to: number,
    groups: number,
    size: number,
  ): void {
    const plan = dequantizePlan(scheme) as Extract<DequantizePlan, { kind: "blocks" }>;
    const kind = scheme.offset?.kind;
    const module = this.#of(plan, `decodeBlocks ${kind} ${scheme.element.bits}`, (m) => ({
      decodeBlocks: plan.tags
        ? defineTaggedDecode(m, scheme.element.bits, plan.tags)
        : defineBlockDecode(m, plan.element, kind),
    }));
    const args: Record<string, Argument> = {
      codes: { at: codes, step: size },
      scales: { at: scales, step: 4 },
      offsets: { at: offsets, step: 4 },
      to: { at: to, step: 4 * size },
      groups: "count",
      size,
      table: scheme.tags ? this.#decodeTable(scheme.tags.element) : this.#tableFor(scheme.element, plan.element),
    };
    this.#run(module, "decodeBlocks", args, groups, size);
  }

  /** Packs unpacked codes of less than 8 bits, a multiple of `run` of them, to `to`. */
  pack(bits: number, from: number, to: number, count: number): void {
    const args: Record<string, Argument> = {
      from: { at: from, step: run },
      to: { at: to, step: 2 * bits },
      count: "count",
    };
    this.#run(this.#packing(bits), "pack", args, count / run, run);
  }

  unpack(bits: number, from: number, to: number, count: number): void {
    const args: Record<string, Argument> = {
      from: { at: from, step: 2 * bits },
      to: { at: to, step: run },
      count: "count",
    };
    this.#run(this.#packing(bits), "unpack", args, count / run, run);
  }

  /** Gives its room back to the heap. Not to be used afterwards. */
  dispose(): void {
    for (const address of [...this.#tables, ...[...this.#scratch.values()].map((held) => held.address)]) {
      this.heap.free(address);
    }
    this.#tables.length = 0;
    this.#scratch.clear();
    this.#modules.clear();
  }

  /** Runs a kernel over `units` of `size` elements, by shares where there are threads and enough to do; its largest result. */
  #run(
    { kernels, shared }: KernelModule,
    name: string,
    args: Readonly<Record<string, Argument>>,
    units: number,
    size = run,
  ): number {
    const isCounted = "groups" in args ? 1 : run;
    const share = Math.max(1, Math.floor(shareElements / size));
    const items = Math.ceil(units / share);
    if (!shared || !this.#engine || items < 2) {
      const plain = Object.values(args).map((arg) =>
        arg === "count" ? units * isCounted : typeof arg === "object" ? arg.at : arg,
      );
      return kernels[name](...plain);
    }
    const results = this.scratch("results of shares", 4 * items);
    const record = sharesRecord(args, { units, share, unit: isCounted, results });
    this.#engine.run(shared, sharesSignature(name, Object.keys(args)), record, items, units * size);
    return new Int32Array(this.memory.buffer, results, items).reduce((most, result) => Math.max(most, result), 0);
  }

  /** The kernels of a plan for some purpose; plans with the same parameters share them. */
  #of(plan: object, purpose: string, define: (m: ModuleBuilder) => ArrayFunctions): KernelModule {
    let ofPlan = this.#byPlan.get(plan);
    if (!ofPlan) {
      ofPlan = new Map();
      this.#byPlan.set(plan, ofPlan);
    }
    let module = ofPlan.get(purpose);
    if (!module) {
      module = this.#module(`${purpose} ${JSON.stringify(plan)}`, define);
      ofPlan.set(purpose, module);
    }
    return module;
  }

  #module(key: string, define: (m: ModuleBuilder) => ArrayFunctions): KernelModule {
    let module = this.#modules.get(key);
    if (!module) {
      const plain = createModule(this.#limits);
      define(plain);
      const shared = this.#engine?.module(`cast ${key}`, (limits) => {
        const m = createModule(limits);
        for (const [name, func] of Object.entries(define(m))) {
          defineShares(m, name, func, "groups" in func.parameters ? "groups" : "count");
        }
        return m.bytes();
      });
      module = {
        kernels: instantiate(plain.bytes(), this.memory) as Record<string, Kernel>,
        ...(shared && { shared }),
      };
      this.#modules.set(key, module);
    }
    return module;
  }

  #packing(bits: number): KernelModule {
    return this.#module(`packing ${bits}`, (m) => definePacking(m, bits));
  }

  #store(data: Table, purpose: string): number {
    const address = this.heap.allocate(data.byteLength, purpose);
    this.#tables.push(address);
    this.#write(data, address);
    return address;
  }

  #write({ buffer, byteOffset, byteLength }: Table, address: number): void {
    new Uint8Array(this.memory.buffer).set(new Uint8Array(buffer, byteOffset, byteLength), address);
  }

  /** The tables of one tensor, in room that the next tensor uses again. */
  #tensorTables(rule: ScaleRule): ScaleTables {
    return this.#place(rule, (data, purpose) => {
      const address = this.scratch(`${purpose} of a tensor`, data.byteLength);
      this.#write(data, address);
      return address;
    });
  }

  #place(
    { shift, steps, factors, divides, highest, multipliers }: ScaleRule,
    store: (data: Table, purpose: string) => number,
  ): ScaleTables {
    return {
      shift,
      divides,
      steps: store(steps, "scale rule"),
      factors: store(factors, "scale factors"),
      ...(highest && { highest: store(highest, "highest candidates") }),
      ...(multipliers && { multipliers: store(multipliers, "multipliers of candidates") }),
    };
  }

  #copy(from: number, to: number, bytes: number): true {
    new Uint8Array(this.memory.buffer).copyWithin(to, from, from + bytes);
    return true;
  }

  /** The address of all values of a format of at most 16 bits, f32, by code. */
  valuesOf(format: NumberFormat): number {
    return this.#decodeTable(format);
  }

  #tableFor(format: NumberFormat, plan: LaneDecode): number {
    return needsTable(plan) ? this.#decodeTable(format) : 0;
  }

  /** Calls `kernel` for the whole runs, and for the rest on copies padded with zeros. */
  #inRuns(
    count: number,
    from: number,
    fromSize: number,
    to: number,
    toSize: number,
    kernel: (args: { readonly from: Argument; readonly to: Argument }, runs: number) => boolean,
  ): boolean {
    const rest = count % run;
    const whole = count - rest;
    const args = (a: number, b: number) => ({
      from: { at: a, step: run * fromSize },
      to: { at: b, step: run * toSize },
    });
    if (whole > 0 && !kernel(args(from, to), whole / run)) return false;
    if (rest === 0) return true;
    const scratch = this.scratch("tail", 8 * run);
    const bytes = new Uint8Array(this.memory.buffer);
    bytes.fill(0, scratch, scratch + 8 * run);
    bytes.copyWithin(scratch, from + whole * fromSize, from + count * fromSize);
    if (!kernel(args(scratch, scratch + 4 * run), 1)) return false;
    bytes.copyWithin(to + whole * toSize, scratch + 4 * run, scratch + 4 * run + rest * toSize);
    return true;
  }
}
