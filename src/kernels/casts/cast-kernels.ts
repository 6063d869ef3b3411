/**
 * The cast kernels over one WebAssembly memory, by addresses: what a backend calls whose data already lies there. Code is
 * generated at the first use of a format or scheme and shared by all whose parameters agree.
 *
 * Encoding and quantizing return false where the reference must decide instead (NaN without a code, a value that is not
 * finite, a scale out of range): the output is then unspecified.
 */

import { bitsOfF32, f32OfBits } from "../../formats/binary64.js";
import { encodeTable } from "../../formats/casts.js";
import { decode as decodeExact, type EncodeOptions, encode as encodeExact } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { codeArray, packCodes, unpackCodes } from "../../formats/packing.js";
import { groupsPerRow, type PlaneLayout, planeLayouts } from "../../formats/planes.js";
import type { TwoLevelNumbers } from "../../formats/rule-steps.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import { decodeTableF32 } from "../../formats/table.js";
import { instantiate } from "../wasm/code.js";
import { createModule, type MemoryLimits, type ModuleBuilder } from "../wasm/emitter.js";
import { Heap } from "../wasm/heap.js";
import { defineAmax, defineDecode, defineEncode, definePacking, refused, run } from "./array-kernels.js";
import { defineBlockDecode } from "./block-decode.js";
import { defineBlockEncode, stateBytes } from "./block-encode.js";
import { codeBytes, needsTable } from "./decode-lanes.js";
import { type LaneDecode, planDecode } from "./decode-plan.js";
import { type EncodePlan, planEncode } from "./encode-plan.js";
import { infinityBits } from "./lanes.js";
import { type DequantizePlan, planDequantize, planQuantize, type QuantizePlan } from "./scheme-plan.js";
import { blockScaleCoder, type StepTable, stepTable } from "./step-table.js";

export type PlaneAddresses = { readonly [P in PlaneName]?: number };
type Kernel = (...words: number[]) => number;

/** Elements that a block kernel works on before their codes are packed; they stay in the nearest caches. */
const tileElements = 8192;
const maximumPages = 65536;

/** Per format or scheme and options: something computed once. */
function cache<K extends object, T>(
  make: (key: K, options: EncodeOptions) => T,
): (key: K, options?: EncodeOptions) => T {
  const byKey = new WeakMap<K, Map<string, T>>();
  return (key, options = {}) => {
    const byOptions = byKey.get(key) ?? new Map<string, T>();
    byKey.set(key, byOptions);
    const name = `${options.rounding} ${options.overflow} ${options.nan}`;
    if (!byOptions.has(name)) byOptions.set(name, make(key, options));
    return byOptions.get(name) as T;
  };
}

export const encodePlan = cache<NumberFormat, EncodePlan>(planEncode);
export const decodePlan = cache(planDecode);
export const quantizePlan = cache<Scheme, QuantizePlan>(planQuantize);
export const dequantizePlan = cache<Scheme, DequantizePlan>(planDequantize);

export class CastKernels {
  readonly memory: WebAssembly.Memory;
  readonly heap: Heap;
  /** By what was generated, and by the plan at hand, because comparing plans takes longer than running a kernel. */
  readonly #instances = new Map<string, Record<string, Kernel>>();
  readonly #byPlan = new WeakMap<object, Map<string, Record<string, Kernel>>>();
  readonly #scratch = new Map<string, { address: number; bytes: number }>();
  readonly #tables: number[] = [];
  readonly #decodeTable = cache<NumberFormat, number>((format) => this.#store(decodeTableF32(format), "decode table"));
  readonly #encodeTable = cache<NumberFormat, number | undefined>((format, options) => {
    const table = encodeTableWords(format, options);
    return table && this.#store(table, "encode table");
  });
  readonly #powerTables = cache<Scheme, ScaleTables | undefined>((scheme) => this.#tabulatePower(scheme));

  readonly #limits: MemoryLimits;

  /** Works on a memory of its own, or on the given one through its allocator; `limits` are those of a given memory. */
  constructor(heap?: Heap, limits: MemoryLimits = {}) {
    this.#limits = limits;
    this.heap = heap ?? new Heap(new WebAssembly.Memory({ initial: 1, maximum: maximumPages }), 64, maximumPages);
    this.memory = this.heap.memory;
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
    const size = codeBytes(plan.bits);
    if (plan.kind === "reference") return false;
    if (plan.kind === "copy") return this.#copy(from, to, 4 * count);
    const table = plan.kind === "table" ? this.#encodeTable(format, options) : 0;
    if (table === undefined) return false;
    const { encode } = this.#of(plan, "encode", (m) => defineEncode(m, plan));
    return this.#inRuns(count, from, 4, to, size, (a, b, n) => encode(a, b, n, table) === 0);
  }

  /** `count` unpacked codes at `from` to f32 at `to`. */
  decode(format: NumberFormat, from: number, to: number, count: number): boolean {
    const plan = decodePlan(format);
    if (plan.kind === "reference") return false;
    if (plan.kind === "copy") return this.#copy(from, to, 4 * count);
    const table = this.#tableFor(format, plan);
    const { decode } = this.#of(plan, "decode", (m) => defineDecode(m, plan));
    return this.#inRuns(count, from, codeBytes(plan.bits), to, 4, (a, b, n) => {
      decode(a, b, n, table);
      return true;
    });
  }

  /** The largest magnitude of `count` f32; NaN or infinity if there is one. */
  amax(from: number, count: number): number {
    const { amax } = this.#kernels("amax", defineAmax);
    let most = 0;
    this.#inRuns(count, from, 4, from, 0, (a, _, n) => {
      most = Math.max(most, amax(a, n));
      return true;
    });
    return f32OfBits(most);
  }

  /**
   * Whole groups at `from` to the planes of a scheme. `columns` is a multiple of the group size, and that of 16 (other
   * shapes are padded by the caller).
   */
  quantize(scheme: Scheme, from: number, rows: number, columns: number, planes: PlaneAddresses): boolean {
    const plan = quantizePlan(scheme);
    if (plan.kind === "reference") return false;
    if (plan.kind === "cast") return this.#quantizeCast(scheme, from, rows * columns, planes);
    const groups = groupsPerRow(scheme.scale!.per, columns);
    const size = columns / groups;
    const prepared = this.prepare(scheme, () => this.amax(from, rows * columns));
    if (!prepared) return false;
    if (prepared.tensorScale !== undefined) {
      new DataView(this.memory.buffer).setFloat32(planes.superScales!, prepared.tensorScale, true);
    }
    const scaleSize = codeBytes(plan.block.scaleBits);
    const offsetSize = codeBytes(plan.block.offsetBits);
    const wholeOffsets = plan.block.offsetBits % 8 === 0;
    const offsets = !scheme.offset || wholeOffsets ? (planes.offsets ?? 0) : this.scratch("offsets", rows * groups);
    const step = Math.max(1, Math.floor(tileElements / size));
    const { elementBits } = plan.block;
    const unpacked = this.scratch("unpacked codes", step * size);
    for (let g = 0; g < rows * groups; g += step) {
      const count = Math.min(step, rows * groups - g);
      const to = planes.codes! + (g * size * elementBits) / 8;
      const codes = elementBits === 8 ? to : unpacked;
      const at = { codes, scales: planes.scales! + scaleSize * g, offsets: offsets + offsetSize * g };
      if (!this.encodeGroups(prepared, from + 4 * g * size, at, count, size)) return false;
      if (elementBits < 8) this.#packing(elementBits).pack(unpacked, to, count * size);
    }
    if (scheme.offset && !wholeOffsets) this.#packOffsets(scheme, rows, columns, offsets, planes.offsets!);
    return true;
  }

  /**
   * What one tensor's blocks need: for two-level rules tables made from its amax, valid until the next tensor's.
   * Undefined where the reference must decide.
   */
  prepare(scheme: Scheme, amax: () => number): PreparedBlocks | undefined {
    const plan = quantizePlan(scheme);
    if (plan.kind !== "blocks") return undefined;
    if (plan.steps.kind !== "two-level") {
      const tables = this.#powerTables(scheme);
      return tables && { plan, tables };
    }
    const most = amax();
    if (!Number.isFinite(most)) return undefined;
    const numbers = plan.steps.numbers(most);
    const tables = this.#tabulateTwoLevel(scheme.scale!.format, numbers, most);
    return tables && { plan, tables, tensorScale: numbers.tensorScale };
  }

  /** Groups of f32, a positive multiple of `run` elements each, to unpacked codes, scales and offsets. */
  encodeGroups(
    { plan, tables }: PreparedBlocks,
    from: number,
    at: { readonly codes: number; readonly scales: number; readonly offsets: number },
    groups: number,
    size: number,
  ): boolean {
    const { shift, divides, steps, factors } = tables;
    const { encodeBlocks } = this.#of(plan.block, `encodeBlocks ${shift} ${divides}`, (m) =>
      defineBlockEncode(m, { ...plan.block, shift, divides }),
    );
    const states = this.scratch("states of groups", groups * stateBytes);
    return encodeBlocks(from, at.codes, at.scales, at.offsets, groups, size, steps, factors, states) === 0;
  }

  /** The planes of a scheme to f32, under the same conditions as `quantize`. */
  dequantize(scheme: Scheme, planes: PlaneAddresses, rows: number, columns: number, to: number): boolean {
    const plan = dequantizePlan(scheme);
    if (plan.kind === "reference") return false;
    if (plan.kind === "cast") return this.decode(scheme.element, planes.codes!, to, rows * columns);
    const groups = groupsPerRow(scheme.scale!.per, columns);
    const size = columns / groups;
    const { bits } = scheme.element;
    const step = Math.max(1, Math.floor(tileElements / size));
    const scales = this.#sharedReader(scheme, "scale", planes, rows, columns, step);
    const offsets = scheme.offset && this.#sharedReader(scheme, "offset", planes, rows, columns, step);
    const unpacked = this.scratch("unpacked codes", step * size);
    for (let g = 0; g < rows * groups; g += step) {
      const count = Math.min(step, rows * groups - g);
      let codes = planes.codes! + (g * size * bits) / 8;
      if (bits < 8) {
        this.#packing(bits).unpack(codes, unpacked, count * size);
        codes = unpacked;
      }
      this.decodeGroups(scheme, codes, scales(g, count), offsets?.(g, count) ?? 0, to + 4 * g * size, count, size);
    }
    return true;
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
    const { decodeBlocks } = this.#of(plan, `decodeBlocks ${kind}`, (m) => defineBlockDecode(m, plan.element, kind));
    decodeBlocks(codes, scales, offsets, to, groups, size, this.#tableFor(scheme.element, plan.element));
  }

  /** Packs unpacked codes of less than 8 bits, a multiple of `run` of them; where they lie then. */
  pack(bits: number, from: number, count: number): number {
    const to = this.scratch("packed codes", (count * bits) / 8 + 8);
    this.#packing(bits).pack(from, to, count);
    return to;
  }

  unpack(bits: number, from: number, to: number, count: number): void {
    this.#packing(bits).unpack(from, to, count);
  }

  /** Gives its room back to the heap. Not to be used afterwards. */
  dispose(): void {
    for (const address of [...this.#tables, ...[...this.#scratch.values()].map((held) => held.address)]) {
      this.heap.free(address);
    }
    this.#tables.length = 0;
    this.#scratch.clear();
    this.#instances.clear();
  }

  /** The kernels of a plan for some purpose; plans with the same parameters share them. */
  #of(plan: object, purpose: string, define: (m: ModuleBuilder) => void): Record<string, Kernel> {
    let ofPlan = this.#byPlan.get(plan);
    if (!ofPlan) {
      ofPlan = new Map();
      this.#byPlan.set(plan, ofPlan);
    }
    let kernels = ofPlan.get(purpose);
    if (!kernels) {
      kernels = this.#kernels(`${purpose} ${JSON.stringify(plan)}`, define);
      ofPlan.set(purpose, kernels);
    }
    return kernels;
  }

  #kernels(key: string, define: (m: ModuleBuilder) => void): Record<string, Kernel> {
    let kernels = this.#instances.get(key);
    if (!kernels) {
      const m = createModule(this.#limits);
      define(m);
      kernels = instantiate(m.bytes(), this.memory) as Record<string, Kernel>;
      this.#instances.set(key, kernels);
    }
    return kernels;
  }

  #packing(bits: number): Record<string, Kernel> {
    return this.#kernels(`packing ${bits}`, (m) => definePacking(m, bits));
  }

  #store(data: Float32Array | Int32Array, purpose: string): number {
    const address = this.heap.allocate(data.byteLength, purpose);
    this.#tables.push(address);
    new Uint8Array(this.memory.buffer).set(new Uint8Array(data.buffer, data.byteOffset, data.byteLength), address);
    return address;
  }

  #copy(from: number, to: number, bytes: number): true {
    new Uint8Array(this.memory.buffer).copyWithin(to, from, from + bytes);
    return true;
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
    kernel: (from: number, to: number, count: number) => boolean,
  ): boolean {
    const rest = count % run;
    const whole = count - rest;
    if (whole > 0 && !kernel(from, to, whole)) return false;
    if (rest === 0) return true;
    const scratch = this.scratch("tail", 8 * run);
    const bytes = new Uint8Array(this.memory.buffer);
    bytes.fill(0, scratch, scratch + 8 * run);
    bytes.copyWithin(scratch, from + whole * fromSize, from + count * fromSize);
    if (!kernel(scratch, scratch + 4 * run, run)) return false;
    bytes.copyWithin(to + whole * toSize, scratch + 4 * run, scratch + 4 * run + rest * toSize);
    return true;
  }

  #quantizeCast({ element }: Scheme, from: number, count: number, planes: PlaneAddresses): boolean {
    const amax = this.amax(from, count);
    if (!Number.isFinite(amax) || !Number.isFinite(decodeExact(element, encodeExact(element, amax)))) return false;
    return this.encode(element, {}, from, planes.codes!, count);
  }

  #tabulatePower(scheme: Scheme): ScaleTables | undefined {
    const steps = scheme.quantize.steps?.(scheme);
    if (steps?.kind !== "power") return { shift: 23, steps: 0, factors: 0, divides: false };
    const table = stepTable(steps.scaleCode, 23, infinityBits - 1);
    if (!table) return undefined;
    const factors = Float32Array.from({ length: 256 }, (_, code) => steps.inverse(code));
    const stored = { steps: this.#store(table.words, "scale rule"), factors: this.#store(factors, "scale factors") };
    return { shift: table.shift, divides: false, ...stored };
  }

  /** Tables for one tensor, in room that the next tensor uses again. */
  #tabulateTwoLevel(format: NumberFormat, numbers: TwoLevelNumbers, amax: number): ScaleTables | undefined {
    // e4m3 scales: a cell of 4 trailing bits is narrower than their steps.
    const scaleCode = blockScaleCoder(format, numbers);
    const table: StepTable | undefined = scaleCode && stepTable(scaleCode, 19, bitsOfF32(amax));
    const factors = Float32Array.from({ length: 256 }, (_, code) => numbers.factor(code));
    if (!table || factors.subarray(0, 127).some(Number.isNaN)) return undefined;
    const steps = this.scratch("scale rule of a tensor", table.words.byteLength);
    const at = this.scratch("scale factors of a tensor", factors.byteLength);
    new Int32Array(this.memory.buffer).set(table.words, steps / 4);
    new Float32Array(this.memory.buffer).set(factors, at / 4);
    return { shift: table.shift, steps, factors: at, divides: numbers.divides };
  }

  #packOffsets(scheme: Scheme, rows: number, columns: number, from: number, to: number): void {
    const { codesPerRow, bytesPerRow, format } = planeLayouts(scheme, rows, columns).offsets!;
    const bytes = new Uint8Array(this.memory.buffer);
    for (let row = 0; row < rows; row++) {
      const codes = bytes.subarray(from + row * codesPerRow, from + (row + 1) * codesPerRow);
      packCodes(codes, codesPerRow, format.bits, bytes, to + row * bytesPerRow);
    }
  }

  /** A function that puts the scales (or offsets) of some groups as f32 somewhere and says where. */
  #sharedReader(
    scheme: Scheme,
    which: "scale" | "offset",
    planes: PlaneAddresses,
    rows: number,
    columns: number,
    step: number,
  ): (group: number, count: number) => number {
    const codec = scheme[which]!;
    const address = planes[`${which}s`]!;
    const values = this.scratch(`${which}s of a tile`, 4 * step);
    const plain = !codec.super || codec.super.per === "tensor";
    if (plain && codec.format.bits % 8 === 0 && decodePlan(codec.format).kind !== "reference") {
      const factor = codec.super ? this.#tensorNumber(codec.super.format, planes[superPlane(which)]!) : undefined;
      const size = codec.format.bits / 8;
      return (group, count) => {
        this.decode(codec.format, address + size * group, values, count);
        if (factor === undefined) return values;
        const numbers = new Float32Array(this.memory.buffer, values, count);
        for (let i = 0; i < count; i++) numbers[i] *= factor;
        return values;
      };
    }
    const bytes = new Uint8Array(this.memory.buffer);
    const view = (name: PlaneName) => bytes.subarray(planes[name] ?? 0);
    const all = sharedValues(scheme, which, view, rows, columns);
    return (group, count) => {
      new Float32Array(this.memory.buffer).set(all.subarray(group, group + count), values / 4);
      return values;
    };
  }

  #tensorNumber(format: NumberFormat, address: number): number {
    const code = codeArray(format.bits, 1);
    unpackCodes(new Uint8Array(this.memory.buffer), address, format.bits, code, 1);
    return Math.fround(decodeExact(format, code[0]));
  }
}

type BlockPlan = Extract<QuantizePlan, { kind: "blocks" }>;

export interface PreparedBlocks {
  readonly plan: BlockPlan;
  readonly tables: ScaleTables;
  /** For the super plane. */
  readonly tensorScale?: number;
}

interface ScaleTables {
  readonly shift: number;
  readonly steps: number;
  readonly factors: number;
  readonly divides: boolean;
}

const superPlane = (which: "scale" | "offset") => (which === "scale" ? "superScales" : "superOffsets");

/** All scales (or offsets) of a tensor, times their second level: one a group, row after row. */
export function sharedValues(
  scheme: Scheme,
  which: "scale" | "offset",
  planeBytes: (name: PlaneName) => Uint8Array,
  rows: number,
  columns: number,
): Float32Array {
  const codec = scheme[which]!;
  const layouts = planeLayouts(scheme, rows, columns);
  const layout = layouts[`${which}s`]!;
  const values = new Float32Array(rows * layout.codesPerRow);
  readPlane(layout, planeBytes(`${which}s`), values);
  const upper = layouts[superPlane(which)];
  if (!upper || !codec.super) return values;
  const supers = new Float32Array(upper.rows * upper.codesPerRow);
  readPlane(upper, planeBytes(superPlane(which)), supers);
  const size = codec.per === "row" ? columns : codec.per;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < layout.codesPerRow; g++) {
      const { per } = codec.super;
      const s = per === "tensor" ? supers[0] : supers[row * upper.codesPerRow + Math.floor((g * size) / per)];
      values[row * layout.codesPerRow + g] *= s;
    }
  }
  return values;
}

function readPlane(
  { format, rows, codesPerRow, bytesPerRow }: PlaneLayout,
  bytes: Uint8Array,
  out: Float32Array,
): void {
  const codes = codeArray(format.bits, codesPerRow);
  const table = format.bits <= 16 ? decodeTableF32(format) : undefined;
  for (let row = 0; row < rows; row++) {
    unpackCodes(bytes, row * bytesPerRow, format.bits, codes, codesPerRow);
    for (let i = 0; i < codesPerRow; i++) {
      out[row * codesPerRow + i] = table ? table[codes[i]] : decodeExact(format, codes[i]);
    }
  }
}

/** The table kernel's words for every upper half of an f32; undefined where a cell would need two changes. */
function encodeTableWords(format: NumberFormat, options: EncodeOptions): Int32Array | undefined {
  const table = encodeTable(format, options);
  if (!table) return undefined;
  const words = Int32Array.from(
    { length: 65536 },
    (_, cell) => table.low[cell] | (table.high[cell] << 8) | (table.threshold[cell] << 16),
  );
  const codeOf = (bits: number): number | undefined => {
    try {
      return encodeExact(format, f32OfBits(bits), options);
    } catch (error) {
      if (error instanceof Error && error.name === "NumericError") return undefined;
      throw error;
    }
  };
  const nan = codeOf(bitsOfF32(Number.NaN));
  for (const sign of [0, 0x8000]) {
    const infinity = codeOf((sign | 0x7f80) * 65536);
    if (infinity === undefined) return undefined;
    for (let cell = 0x7f80; cell < 0x8000; cell++) words[sign | cell] = nan === undefined ? refused : nan | (nan << 8);
    // An infinity stands at the start of a cell of NaN; where NaN is refused, the reference decides for both.
    if (nan !== undefined) words[sign | 0x7f80] = infinity | (nan << 8) | (1 << 16);
  }
  return words;
}
