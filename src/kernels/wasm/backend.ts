/** The backend's operations: checks, scratch memory, and one call of a generated kernel each. */
import { InputError } from "../../errors.js";
import type { NumberFormat } from "../../formats/format.js";
import type { Scheme } from "../../formats/scheme.js";
import type { PackedTensor } from "../../tensor/packed.js";
import type {
  Activations,
  Angles,
  AttentionShape,
  Backend,
  BackendInfo,
  Buffer,
  HeadShape,
  Matrix,
  OperationTime,
  PackedAttentionShape,
  Past,
  Product,
  Recording,
  RowStore,
  StoredHeads,
} from "../backend.js";
import type { GeluForm } from "../gelu.js";
import type { MomentSums } from "../moments.js";
import { roundRows } from "../round.js";
import { rowPlanes } from "../row-store.js";
import { check } from "../shapes.js";
import { attend } from "./attend.js";
import { defineAttention } from "./attention.js";
import { WasmBuffer } from "./buffer.js";
import { createModule } from "./emitter.js";
import type { CompiledModule, Engine } from "./engine.js";
import { groupOf } from "./group.js";
import { hadamard, hadamardModule } from "./hadamard.js";
import { floatBits } from "./kernel.js";
import { roundUp } from "./layout.js";
import { Matmul } from "./matmul.js";
import { loadMatrix, type WasmMatrix } from "./matrix.js";
import { openMoments } from "./moment-sums.js";
import { type OwnPast, PackedAttention } from "./past.js";
import { rope, ropeAndStore } from "./rope.js";
import { Rounder } from "./round.js";
import { packInMemory, unpackInMemory, type WasmRows } from "./row-store.js";
import * as rows from "./rows.js";

export class WasmBackend implements Backend {
  readonly info: BackendInfo;
  readonly engine: Engine;
  readonly #core: CompiledModule;
  readonly #matmul: Matmul;
  #rounder: Rounder | undefined;
  #packedAttention: PackedAttention | undefined;
  #disposed = false;

  constructor(engine: Engine, info: BackendInfo) {
    this.engine = engine;
    this.info = info;
    this.#core = engine.module("core", (limits) => {
      const m = createModule(limits);
      rows.defineRowKernels(m);
      defineAttention(m);
      return m.bytes();
    });
    this.#matmul = new Matmul(engine, this.#core);
  }

  batch<T>(work: () => T): T {
    this.#alive();
    return this.engine.batch(work);
  }

  record(position: number, work: () => void): Recording | undefined {
    this.#alive();
    return this.engine.record(position, work);
  }

  profile<T>(work: () => T): { readonly result: T; readonly operations: readonly OperationTime[] } {
    this.#alive();
    return this.engine.profile(work);
  }

  allocate(length: number): Buffer {
    check.allocate(length);
    this.#alive();
    const address = this.engine.heap.allocate(4 * length, "numbers");
    const buffer = new WasmBuffer(this.engine, address, length);
    buffer.data().fill(0);
    return buffer;
  }

  upload(values: Float32Array): Buffer {
    this.#alive();
    const address = this.engine.heap.allocate(4 * values.length, "numbers");
    const buffer = new WasmBuffer(this.engine, address, values.length);
    buffer.data().set(values);
    return buffer;
  }

  free(buffer: Buffer): void {
    const { root } = this.#own(buffer);
    root.freed = true;
    this.engine.free(root.address);
  }

  loadMatrix(weight: PackedTensor, activations: Activations = "f32"): Matrix {
    this.#alive();
    return loadMatrix(this.engine, weight, activations, this.info.exactness);
  }

  freeMatrix(matrix: Matrix): void {
    const own = this.#ownMatrix(matrix);
    own.freed = true;
    this.engine.freeWeight(own.place);
  }

  embed(out: Buffer, ids: ArrayLike<number>, table: Matrix): void {
    check.embed(out, ids, table);
    const [to, matrix] = [this.#at(out), this.#ownMatrix(table)];
    if (ids.length === 0 || matrix.columns === 0) return;
    const list = this.engine.scratch("ids", 4 * ids.length);
    this.engine.finish();
    new Int32Array(this.engine.memory.buffer, list, ids.length).set(Array.from(ids));
    this.#matmul.embed(to, list, matrix, ids.length);
  }

  matmul(out: Buffer, x: Buffer, weight: Matrix, batch: number, bias?: Buffer): void {
    check.matmul(out, x, weight, batch, bias);
    const matrix = this.#ownMatrix(weight);
    const to = this.#at(out);
    const from = this.#at(x);
    if (batch === 0 || matrix.rows === 0) return;
    this.engine.subject = matrix;
    if (matrix.columns === 0) out.data().fill(0, 0, batch * matrix.rows);
    else this.#matmul.run(to, from, matrix, batch);
    this.#addBias(out, matrix.rows, batch, bias);
  }

  #addBias(out: Buffer, columns: number, batch: number, bias?: Buffer): void {
    if (!bias) return;
    const args = { out: this.#at(out), bias: this.#at(bias), columns };
    this.engine.run(this.#core, rows.addBias, args, batch, batch * columns);
  }

  matmulGroup(x: Buffer, products: readonly Product[], batch: number): void {
    for (const { out, weight, bias } of products) check.matmul(out, x, weight, batch, bias);
    const matrices = products.map(({ weight }) => this.#ownMatrix(weight));
    const outs = products.map(({ out }) => this.#at(out));
    const group = batch > 0 ? groupOf(matrices, outs, batch) : undefined;
    if (!group) {
      for (const { out, weight, bias } of products) this.matmul(out, x, weight, batch, bias);
      return;
    }
    const { scheme, columns } = group.first;
    this.engine.subject = { scheme, rows: 4 * group.quads, columns };
    this.#matmul.runGroup(this.#at(x), group, batch);
    for (const { out, weight, bias } of products) this.#addBias(out, weight.rows, batch, bias);
  }

  rmsNorm(out: Buffer, x: Buffer, gain: Buffer, batch: number, epsilon: number): void {
    check.rmsNorm(out, x, gain, batch);
    const size = gain.length;
    const args = { out: this.#at(out), x: this.#at(x), gain: this.#at(gain), size, epsilon: floatBits(epsilon) };
    this.engine.run(this.#core, rows.rmsNorm, args, batch, 2 * batch * size);
  }

  layerNorm(out: Buffer, x: Buffer, gain: Buffer, bias: Buffer, batch: number, epsilon: number): void {
    check.layerNorm(out, x, gain, bias, batch);
    const size = gain.length;
    const args = {
      out: this.#at(out),
      x: this.#at(x),
      gain: this.#at(gain),
      bias: this.#at(bias),
      size,
      epsilon: floatBits(epsilon),
    };
    this.engine.run(this.#core, rows.layerNorm, args, batch, 3 * batch * size);
  }

  hadamard(out: Buffer, x: Buffer, signs: Buffer, block: number, batch: number): void {
    check.hadamard(out, x, signs, block, batch);
    const columns = signs.length;
    const module = this.engine.module(`hadamard ${block}`, (limits) => hadamardModule(block, limits));
    const scratchBytes = roundUp(8 * block, 64);
    const args = {
      out: this.#at(out),
      x: this.#at(x),
      signs: this.#at(signs),
      ...{ blocks: columns / block, scratch: this.engine.scratch("blocks", scratchBytes * this.engine.threads) },
      scratchBytes,
    };
    this.engine.run(module, hadamard, args, (batch * columns) / block, 16 * batch * columns);
  }

  rope(x: Buffer, batch: number, heads: number, headSize: number, cos: Buffer, sin: Buffer, position: number): void {
    check.rope(x, batch, heads, headSize, cos, sin, position);
    const args = { x: this.#at(x), cos: this.#at(cos), sin: this.#at(sin), heads, headSize, position };
    this.engine.run(this.#core, rope, args, batch, 2 * batch * heads * headSize);
  }

  ropeAndStore(q: Buffer, k: Buffer, v: Buffer, into: StoredHeads, angles: Angles, shape: HeadShape): void {
    check.ropeAndStore(q, k, v, into, angles, shape);
    const { batch, heads, kvHeads, headSize } = shape;
    const args = {
      q: this.#at(q),
      k: this.#at(k),
      v: this.#at(v),
      keys: this.#at(into.keys),
      values: this.#at(into.values),
      cos: this.#at(angles.cos),
      sin: this.#at(angles.sin),
      heads,
      kvHeads,
      headSize,
      position: angles.position,
      row: into.row,
    };
    this.engine.run(this.#core, ropeAndStore, args, batch, 2 * batch * (heads + kvHeads) * headSize);
  }

  attention(out: Buffer, q: Buffer, keys: Buffer, values: Buffer, shape: AttentionShape): void {
    check.attention(out, q, keys, values, shape);
    const { batch, heads, kvHeads, headSize } = shape;
    if (batch * heads * headSize === 0) return;
    const addresses = { out: this.#at(out), q: this.#at(q), keys: this.#at(keys), values: this.#at(values) };
    const room = Math.floor(keys.length / (kvHeads * headSize));
    attend(this.engine, this.#core, addresses, shape, room);
  }

  attentionOverPacked(out: Buffer, q: Buffer, keys: Past, values: Past, shape: PackedAttentionShape): void {
    check.attentionOverPacked(out, q, keys, values, shape);
    this.engine.forgoRecording();
    if (shape.batch * shape.heads * shape.headSize === 0) return;
    const own = (past: Past): OwnPast => {
      return { axis: past.axis, store: this.#ownRows(past.store), recent: this.#own(past.recent) };
    };
    const [k, v] = [own(keys), own(values)];
    this.#rounder ??= new Rounder(this.engine, this.#core);
    this.#packedAttention ??= new PackedAttention(this.engine, this.#rounder.kernels);
    if (this.#packedAttention.run(this.#at(out), this.#at(q), k, v, shape)) return;
    this.attention(out, q, this.#whole("keys", k, shape), this.#whole("values", v, shape), shape);
  }

  /** All positions of one side in f32. */
  #whole(name: string, { store, axis, recent }: OwnPast, shape: PackedAttentionShape): Buffer {
    const { batch, position, packed, chunk, kvHeads, headSize } = shape;
    const width = kvHeads * headSize;
    const [held, all] = [packed * width, (position + batch) * width];
    const room = (purpose: string, length: number) =>
      new WasmBuffer(this.engine, this.engine.scratch(`${purpose} ${name}`, 4 * length), length);
    const out = room("all", all);
    if (axis === "token") this.unpack(out, store, 0, packed);
    else {
      const turned = room("turned", held);
      this.unpack(turned, store, 0, (packed / chunk) * width);
      this.transpose(out, turned, packed / chunk, width, chunk);
    }
    if (all > held) this.copy(out.view(held, all - held), recent, all - held);
    return out;
  }

  siluMultiply(out: Buffer, gate: Buffer, up: Buffer, length: number): void {
    check.elementwise("siluMultiply", length, { out, gate, up });
    const args = { out: this.#at(out), gate: this.#at(gate), up: this.#at(up), length };
    this.engine.run(this.#core, rows.siluMultiply, args, Math.ceil(length / rows.elementsPerItem), 8 * length);
  }

  gelu(out: Buffer, x: Buffer, length: number, form: GeluForm = "erf"): void {
    check.elementwise("gelu", length, { out, x });
    const kernel = form === "erf" ? rows.gelu : rows.geluTanh;
    const args = { out: this.#at(out), x: this.#at(x), length };
    this.engine.run(this.#core, kernel, args, Math.ceil(length / rows.elementsPerItem), 8 * length);
  }

  add(out: Buffer, a: Buffer, b: Buffer, length: number): void {
    check.elementwise("add", length, { out, a, b });
    const args = { out: this.#at(out), a: this.#at(a), b: this.#at(b), length };
    this.engine.run(this.#core, rows.add, args, Math.ceil(length / rows.elementsPerItem), length);
  }

  softmax(out: Buffer, x: Buffer, count: number, columns: number): void {
    check.softmax(out, x, count, columns);
    if (columns === 0) return;
    const args = { out: this.#at(out), x: this.#at(x), columns };
    this.engine.run(this.#core, rows.softmax, args, count, 8 * count * columns);
  }

  round(out: Buffer, x: Buffer, scheme: Scheme, batch: number, columns: number): void {
    check.round(out, x, batch, columns);
    const [from, to] = [this.#own(x), this.#own(out)];
    this.#rounder ??= new Rounder(this.engine, this.#core);
    this.engine.finish();
    if (!this.#rounder.round(scheme, from.address, to.address, batch, columns)) {
      roundRows(to.data(), from.data(), scheme, batch, columns);
    }
  }

  roundStatic(out: Buffer, x: Buffer, format: NumberFormat, scales: Buffer, batch: number, columns: number): void {
    check.roundStatic(out, x, scales, batch, columns);
    const [from, to, factors] = [this.#own(x).address, this.#own(out).address, this.#own(scales).data().slice()];
    this.#rounder ??= new Rounder(this.engine, this.#core);
    this.#rounder.roundStatic({ from, to }, format, factors, batch, columns);
  }

  createRows(scheme: Scheme, count: number, columns: number): RowStore {
    check.createRows(count, columns);
    this.#alive();
    const layout = rowPlanes(scheme, columns);
    const bytes = count * layout.rowBytes;
    const address = this.engine.heap.allocate(bytes, `${scheme.name} rows`);
    new Uint8Array(this.engine.memory.buffer, address, bytes).fill(0);
    const store: WasmRows = {
      ...{ scheme, rows: count, columns, bytes, engine: this.engine, layout, address, freed: false },
    };
    return store;
  }

  freeRows(store: RowStore): void {
    const own = this.#ownRows(store);
    own.freed = true;
    this.engine.free(own.address);
  }

  pack(store: RowStore, at: number, x: Buffer, count: number): void {
    check.rows("pack", x, store, at, count);
    const [own, from] = [this.#ownRows(store), this.#own(x)];
    this.#rounder ??= new Rounder(this.engine, this.#core);
    this.engine.finish();
    packInMemory(this.#rounder.kernels, own, at, from, count);
  }

  unpack(out: Buffer, store: RowStore, at: number, count: number): void {
    check.rows("unpack", out, store, at, count);
    const [own, to] = [this.#ownRows(store), this.#own(out)];
    this.#rounder ??= new Rounder(this.engine, this.#core);
    this.engine.finish();
    unpackInMemory(this.#rounder.kernels, to, own, at, count);
  }

  transpose(out: Buffer, x: Buffer, count: number, height: number, columns: number): void {
    check.transpose(out, x, count, height, columns);
    const args = { out: this.#at(out), x: this.#at(x), rows: height, columns };
    this.engine.run(this.#core, rows.transposeRows, args, count * height, count * height * columns);
  }

  copy(out: Buffer, x: Buffer, length: number): void {
    check.elementwise("copy", length, { out, x });
    const args = { out: this.#at(out), x: this.#at(x), length };
    this.engine.run(this.#core, rows.copyElements, args, Math.ceil(length / rows.elementsPerItem), length);
  }

  sumMoments(columns: number, products: boolean): MomentSums {
    check.sumMoments(columns);
    this.#alive();
    return openMoments(this.engine, columns, products, (x) => this.#at(x));
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.engine.dispose();
  }

  #at(buffer: Buffer): number {
    return this.#own(buffer).address;
  }

  #alive(): void {
    if (this.#disposed) throw new InputError("this wasm backend was disposed of and cannot be used any more");
  }

  #own(buffer: Buffer): WasmBuffer {
    this.#alive();
    if (!(buffer instanceof WasmBuffer) || buffer.engine !== this.engine) {
      throw new InputError("a buffer belongs to another backend", { where: "wasm" });
    }
    if (buffer.root.freed) throw new InputError("a buffer was used after it was freed", { where: "wasm" });
    return buffer;
  }

  #ownRows(store: RowStore): WasmRows {
    this.#alive();
    const own = store as WasmRows;
    if (own.engine !== this.engine) throw new InputError("rows belong to another backend", { where: "wasm" });
    if (own.freed) throw new InputError("rows were used after they were freed", { where: "wasm" });
    return own;
  }

  #ownMatrix(matrix: Matrix): WasmMatrix {
    this.#alive();
    const own = matrix as WasmMatrix;
    if (own.engine !== this.engine) throw new InputError("a matrix belongs to another backend", { where: "wasm" });
    if (own.freed) throw new InputError("a matrix was used after it was freed", { where: "wasm" });
    return own;
  }
}
