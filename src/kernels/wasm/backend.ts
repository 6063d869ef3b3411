/** The backend's operations: checks, scratch memory, and one call of a generated kernel each. */
import { InputError } from "../../errors.js";
import type { NumberFormat } from "../../formats/format.js";
import type { Scheme } from "../../formats/scheme.js";
import type { PackedTensor } from "../../tensor/packed.js";
import type { Activations, AttentionShape, Backend, BackendInfo, Buffer, Matrix, RowStore } from "../backend.js";
import type { GeluForm } from "../gelu.js";
import { roundRows, roundRowsStatic } from "../round.js";
import { rowPlanes } from "../row-store.js";
import { check } from "../shapes.js";
import { weightRows } from "../weight-rows.js";
import { attention, defineAttention } from "./attention.js";
import { WasmBuffer } from "./buffer.js";
import { byLookup } from "./byte-dot.js";
import { createModule } from "./emitter.js";
import type { CompiledModule, Engine, Place } from "./engine.js";
import { detectFeatures } from "./features.js";
import { fillLayout } from "./fill.js";
import { hadamard, hadamardModule } from "./hadamard.js";
import { floatBits } from "./kernel.js";
import { describe, type Layout, planLayout, roundUp } from "./layout.js";
import { lookupTables, tableBytes } from "./lookup-sums.js";
import * as f32 from "./matmul-f32.js";
import * as int8 from "./matmul-int8.js";
import { Rounder } from "./round.js";
import { packInMemory, unpackInMemory, type WasmRows } from "./row-store.js";
import * as rows from "./rows.js";
import { gemmFrom, tilingOf } from "./tile.js";

/** At most so many rows of activations share one decoding of the weights; times 256 columns of f32 they fit the L2 cache. */
const rowsPerPass = 252;

/** Runs of about equally many rows, at most rowsPerPass. */
function passes(batch: number): { readonly m: number; readonly count: number }[] {
  const rowsEach = Math.ceil(batch / Math.ceil(batch / rowsPerPass));
  return Array.from({ length: Math.ceil(batch / rowsEach) }, (_, i) => {
    return { m: i * rowsEach, count: Math.min(rowsEach, batch - i * rowsEach) };
  });
}

export interface WasmMatrix extends Matrix {
  readonly owner: WasmBackend;
  readonly layout: Layout;
  readonly module: CompiledModule;
  readonly place: Place;
  readonly address: number;
  /** Where the table of a table-decoded format lies, else 0. */
  readonly table: number;
  freed: boolean;
}

/** Where rounded activations lie, what they were made of, and by which operation. */
interface Rounding {
  readonly x: number;
  readonly batch: number;
  readonly columns: number;
  readonly blockColumns: number;
  readonly paddedBlock: number;
  readonly bytes: number;
  readonly q: number;
  readonly scales: number;
  readonly sums: number;
  readonly operation: number;
}

export class WasmBackend implements Backend {
  readonly info: BackendInfo;
  readonly engine: Engine;
  readonly #core: CompiledModule;
  #rounder: Rounder | undefined;
  #rounding: Rounding | undefined;
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
  }

  batch<T>(work: () => T): T {
    this.#alive();
    return this.engine.batch(work);
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
    this.engine.finish();
    root.freed = true;
    this.engine.heap.free(root.address);
  }

  loadMatrix(weight: PackedTensor, activations: Activations = "f32"): Matrix {
    this.#alive();
    const reader = weightRows(weight);
    const { relaxedDot } = detectFeatures();
    const layout = planLayout(reader, activations, { relaxedDot, fused: this.info.exactness === "fast" });
    const table = layout.decode.kind === "table" ? 1024 : 0;
    const place = this.engine.placeWeight(layout.bytes + table, `a ${weight.scheme.name} weight`);
    const { room, address } = place;
    const memory = this.engine.weightMemory(room);
    fillLayout(layout, reader, memory.buffer, address);
    if (layout.decode.kind === "table") {
      new Float32Array(memory.buffer, address + layout.bytes, 256).set(layout.decode.values);
    }
    const module = this.engine.module(f32.layoutKey(layout), (limits) => f32.matmulModule(layout, limits), room);
    const { rows: outputs, columns } = layout;
    const matrix: WasmMatrix = {
      ...{
        rows: outputs,
        columns,
        scheme: weight.scheme.name,
        activations,
        bytes: layout.bytes + table,
        plan: describe(layout),
      },
      ...{ owner: this, layout, module, place, address, table: address + layout.bytes, freed: false },
    };
    return matrix;
  }

  freeMatrix(matrix: Matrix): void {
    const own = this.#ownMatrix(matrix);
    own.freed = true;
    this.engine.freeWeight(own.place);
  }

  embed(out: Buffer, ids: ArrayLike<number>, table: Matrix): void {
    check.embed(out, ids, table);
    const { layout, module, address, table: values } = this.#ownMatrix(table);
    const { columns, quadBytes, blocks, blockCells, blockColumns } = layout;
    if (ids.length === 0 || columns === 0) return;
    const list = this.engine.scratch("ids", 4 * ids.length);
    this.engine.finish();
    new Int32Array(this.engine.memory.buffer, list, ids.length).set(Array.from(ids));
    const args = {
      ...{ out: this.#own(out).address, ids: list, columns, weights: address, quadBytes, blocks },
      ...{ cells: blockCells, blockColumns, table: values, ...this.#panels(layout) },
    };
    this.engine.run(module, f32.embed, args, ids.length, 4 * ids.length * columns);
  }

  matmul(out: Buffer, x: Buffer, weight: Matrix, batch: number, bias?: Buffer): void {
    check.matmul(out, x, weight, batch, bias);
    const matrix = this.#ownMatrix(weight);
    const [to, from] = [this.#own(out).address, this.#own(x).address];
    if (batch === 0 || matrix.rows === 0) return;
    if (matrix.columns === 0) out.data().fill(0, 0, batch * matrix.rows);
    else if (int8.isInt8(matrix.layout)) this.#matmulInt8(to, from, matrix, matrix.layout, batch);
    else this.#matmulF32(to, from, matrix, batch);
    if (!bias) return;
    const args = { out: to, bias: this.#own(bias).address, columns: matrix.rows };
    this.engine.run(this.#core, rows.addBias, args, batch, batch * matrix.rows);
  }

  #matmulF32(out: number, x: number, matrix: WasmMatrix, batch: number): void {
    const { paddedColumns } = matrix.layout;
    const padded = this.#padded(x, matrix.layout, batch);
    this.#intoRows(out, matrix.layout, batch, (target, outBytes) => {
      if (batch < gemmFrom) {
        for (let m = 0; m < batch; m++) this.#gemv(target + m * outBytes, padded + 4 * m * paddedColumns, matrix);
        return;
      }
      for (const { m, count } of passes(batch)) {
        this.#gemm(target + m * outBytes, outBytes, padded + 4 * m * paddedColumns, matrix, count);
      }
    });
  }

  /** Lets `compute` write rows of whole vectors, in place where the outputs fill them and through scratch otherwise. */
  #intoRows(out: number, layout: Layout, batch: number, compute: (out: number, outBytes: number) => void): void {
    const { rows: outputs } = layout;
    const stride = 4 * layout.storedQuads;
    if (outputs % (batch < gemmFrom ? 4 : 4 * layout.tile.quads) === 0) {
      compute(out, 4 * outputs);
      return;
    }
    const target = this.engine.scratch("outputs", 4 * batch * stride);
    compute(target, 4 * stride);
    const args = { out, x: target, xBytes: 4 * outputs, outBytes: 4 * stride };
    this.engine.run(this.#core, rows.cutRows, args, batch, batch * outputs);
  }

  #gemv(out: number, x: number, { layout, module, address, table }: WasmMatrix): void {
    const { quads, quadBytes, blocks, blockCells: cells, columns } = layout;
    const { items, perItem: quadsPerItem } = this.#deal(quads, 4);
    const args = { out, x, weights: address, quadBytes, quads, quadsPerItem, blocks, cells, table };
    this.engine.run(module, f32.gemv, args, items, 4 * quads * columns);
  }

  #gemm(out: number, outBytes: number, x: number, matrix: WasmMatrix, batch: number): void {
    const { layout, module, address, table } = matrix;
    const { quads, quadBytes, blocks, blockCells: cells, paddedColumns, tile } = layout;
    const panels = Math.ceil(quads / tile.quads);
    const { items, perItem: panelsPerItem } = this.#deal(panels, 1);
    const args = {
      ...{ out, outBytes, x, xBytes: 4 * paddedColumns, batch, weights: address, quadBytes, panels, panelsPerItem },
      ...{ blocks, cells, table, ...this.#panels(layout), ...tilingOf(batch, tile) },
    };
    this.engine.run(module, f32.gemm, args, items, batch * 4 * quads * paddedColumns);
  }

  #matmulInt8(out: number, x: number, matrix: WasmMatrix, layout: int8.Int8Layout, batch: number): void {
    const { module, address: weights } = matrix;
    const { columns, blocks, quadBytes, quads, paddedColumns, dot } = layout;
    const { q: rounded, scales, sums } = this.#rounded(x, matrix, layout, batch);
    const tables = batch < gemmFrom && byLookup(dot);
    const q = tables ? this.#tables(rounded, matrix, batch * paddedColumns) : rounded;
    const qBytes = paddedColumns * (tables ? tableBytes : int8.activationBytes(dot));
    const common = { weights, quadBytes, blocks };
    const rowAt = (m: number) => ({ q: q + m * qBytes, scales: scales + 4 * m * blocks, sums: sums + 4 * m * blocks });
    this.#intoRows(out, layout, batch, (target, outBytes) => {
      if (batch < gemmFrom) {
        const { items, perItem: quadsPerItem } = this.#deal(quads, 4);
        for (let m = 0; m < batch; m++) {
          const args = { ...common, ...rowAt(m), out: target + m * outBytes, quads, quadsPerItem };
          this.engine.run(module, int8.gemvInt8, args, items, 4 * quads * columns);
        }
        return;
      }
      const panels = Math.ceil(quads / layout.tile.quads);
      const { items, perItem: panelsPerItem } = this.#deal(panels, 1);
      const scratchBytes = roundUp(int8.panelBytes(layout), 64);
      const scratch = this.engine.scratch("panels", scratchBytes * this.engine.threads);
      for (const { m, count } of passes(batch)) {
        const place = { out: target + m * outBytes, outBytes, qBytes, batch: count, scratch, scratchBytes };
        const args = { ...common, ...rowAt(m), ...place, panels, panelsPerItem, ...tilingOf(count, layout.tile) };
        this.engine.run(module, int8.gemmInt8, args, items, count * 4 * quads * columns);
      }
    });
  }

  /** What sums of four rounded activations each can be, for weights of one bit. */
  #tables(q: number, { module }: WasmMatrix, count: number): number {
    const tables = this.engine.scratch("lookup tables", count * tableBytes);
    this.engine.run(module, lookupTables, { q, tables }, count / 4, 8 * count);
    return tables;
  }

  /** Activations rounded to int8, or what the last product has left of the same: projections share their input. */
  #rounded(x: number, { module }: WasmMatrix, layout: int8.Int8Layout, batch: number): Rounding {
    const { columns, blocks, blockColumns, paddedBlock, paddedColumns, dot } = layout;
    const bytes = int8.activationBytes(dot);
    const last = this.#rounding;
    if (
      last?.x === x &&
      last.batch === batch &&
      last.columns === columns &&
      last.paddedBlock === paddedBlock &&
      last.blockColumns === blockColumns &&
      last.bytes === bytes &&
      this.engine.unchangedSince(x, last.operation)
    ) {
      return last;
    }
    const q = this.engine.scratch("rounded activations", batch * paddedColumns * bytes);
    const scales = this.engine.scratch("activation scales", 4 * batch * blocks);
    const sums = this.engine.scratch("activation sums", 4 * batch * blocks);
    for (const { m, count } of passes(batch)) {
      const tiling = batch < gemmFrom ? { height: 1, tallRows: batch } : tilingOf(count, layout.tile);
      const from = { x: x + 4 * m * columns, columns, blocks, blockColumns, paddedBlock };
      const to = { q: q + m * paddedColumns * bytes, scales: scales + 4 * m * blocks, sums: sums + 4 * m * blocks };
      this.engine.run(module, int8.roundRows, { ...from, ...to, ...tiling }, count * blocks, 4 * count * columns);
    }
    this.#rounding = {
      x,
      batch,
      columns,
      blockColumns,
      paddedBlock,
      bytes,
      q,
      scales,
      sums,
      operation: this.engine.operations,
    };
    return this.#rounding;
  }

  rmsNorm(out: Buffer, x: Buffer, gain: Buffer, batch: number, epsilon: number): void {
    check.rmsNorm(out, x, gain, batch);
    const size = gain.length;
    const args = { ...this.#addresses({ out, x, gain }), size, epsilon: floatBits(epsilon) };
    this.engine.run(this.#core, rows.rmsNorm, args, batch, 2 * batch * size);
  }

  layerNorm(out: Buffer, x: Buffer, gain: Buffer, bias: Buffer, batch: number, epsilon: number): void {
    check.layerNorm(out, x, gain, bias, batch);
    const size = gain.length;
    const args = { ...this.#addresses({ out, x, gain, bias }), size, epsilon: floatBits(epsilon) };
    this.engine.run(this.#core, rows.layerNorm, args, batch, 3 * batch * size);
  }

  hadamard(out: Buffer, x: Buffer, signs: Buffer, block: number, batch: number): void {
    check.hadamard(out, x, signs, block, batch);
    const columns = signs.length;
    const module = this.engine.module(`hadamard ${block}`, (limits) => hadamardModule(block, limits));
    const scratchBytes = roundUp(8 * block, 64);
    const args = {
      ...this.#addresses({ out, x, signs }),
      ...{ blocks: columns / block, scratch: this.engine.scratch("blocks", scratchBytes * this.engine.threads) },
      scratchBytes,
    };
    this.engine.run(module, hadamard, args, (batch * columns) / block, 16 * batch * columns);
  }

  rope(x: Buffer, batch: number, heads: number, headSize: number, cos: Buffer, sin: Buffer, position: number): void {
    check.rope(x, batch, heads, headSize, cos, sin, position);
    const args = { ...this.#addresses({ x, cos, sin }), heads, headSize, position };
    this.engine.run(this.#core, rows.rope, args, batch, 2 * batch * heads * headSize);
  }

  attention(out: Buffer, q: Buffer, keys: Buffer, values: Buffer, shape: AttentionShape): void {
    check.attention(out, q, keys, values, shape);
    const { batch, position, heads, kvHeads, headSize, causal = true } = shape;
    if (batch * heads * headSize === 0) return;
    const scratchBytes = roundUp(4 * (position + batch) + 16, 64);
    const args = {
      ...this.#addresses({ out, q, keys, values }),
      ...{ seen: position + (causal ? 1 : batch), seenStep: causal ? 1 : 0 },
      ...{ heads, kvHeads, headSize, scale: floatBits(1 / Math.sqrt(headSize)), scratchBytes },
      scratch: this.engine.scratch("scores", scratchBytes * this.engine.threads),
    };
    this.engine.run(this.#core, attention, args, batch * heads, 2 * batch * heads * headSize * (position + batch));
  }

  siluMultiply(out: Buffer, gate: Buffer, up: Buffer, length: number): void {
    check.elementwise("siluMultiply", length, { out, gate, up });
    const args = { ...this.#addresses({ out, gate, up }), length };
    this.engine.run(this.#core, rows.siluMultiply, args, Math.ceil(length / rows.elementsPerItem), 8 * length);
  }

  gelu(out: Buffer, x: Buffer, length: number, form: GeluForm = "erf"): void {
    check.elementwise("gelu", length, { out, x });
    const kernel = form === "erf" ? rows.gelu : rows.geluTanh;
    const args = { ...this.#addresses({ out, x }), length };
    this.engine.run(this.#core, kernel, args, Math.ceil(length / rows.elementsPerItem), 8 * length);
  }

  add(out: Buffer, a: Buffer, b: Buffer, length: number): void {
    check.elementwise("add", length, { out, a, b });
    const args = { ...this.#addresses({ out, a, b }), length };
    this.engine.run(this.#core, rows.add, args, Math.ceil(length / rows.elementsPerItem), length);
  }

  softmax(out: Buffer, x: Buffer, count: number, columns: number): void {
    check.softmax(out, x, count, columns);
    if (columns === 0) return;
    const args = { ...this.#addresses({ out, x }), columns };
    this.engine.run(this.#core, rows.softmax, args, count, 8 * count * columns);
  }

  round(out: Buffer, x: Buffer, scheme: Scheme, batch: number, columns: number): void {
    check.round(out, x, batch, columns);
    const [from, to] = [this.#own(x), this.#own(out)];
    this.#rounder ??= new Rounder(this.engine);
    this.engine.finish();
    if (!this.#rounder.round(scheme, from.address, to.address, batch, columns)) {
      roundRows(to.data(), from.data(), scheme, batch, columns);
    }
  }

  roundStatic(out: Buffer, x: Buffer, format: NumberFormat, scales: Buffer, batch: number, columns: number): void {
    check.roundStatic(out, x, scales, batch, columns);
    roundRowsStatic(this.#own(out).data(), this.#own(x).data(), format, this.#own(scales).data(), batch, columns);
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
    this.engine.finish();
    own.freed = true;
    this.engine.heap.free(own.address);
  }

  pack(store: RowStore, at: number, x: Buffer, count: number): void {
    check.rows("pack", x, store, at, count);
    const [own, from] = [this.#ownRows(store), this.#own(x)];
    this.#rounder ??= new Rounder(this.engine);
    this.engine.finish();
    packInMemory(this.#rounder.kernels, own, at, from, count);
  }

  unpack(out: Buffer, store: RowStore, at: number, count: number): void {
    check.rows("unpack", out, store, at, count);
    const [own, to] = [this.#ownRows(store), this.#own(out)];
    this.#rounder ??= new Rounder(this.engine);
    this.engine.finish();
    unpackInMemory(this.#rounder.kernels, to, own, at, count);
  }

  transpose(out: Buffer, x: Buffer, count: number, height: number, columns: number): void {
    check.transpose(out, x, count, height, columns);
    const args = { ...this.#addresses({ out, x }), rows: height, columns };
    this.engine.run(this.#core, rows.transposeRows, args, count * height, count * height * columns);
  }

  copy(out: Buffer, x: Buffer, length: number): void {
    check.elementwise("copy", length, { out, x });
    const args = { ...this.#addresses({ out, x }), length };
    this.engine.run(this.#core, rows.copyElements, args, Math.ceil(length / rows.elementsPerItem), length);
  }

  async dispose(): Promise<void> {
    this.#disposed = true;
    await this.engine.dispose();
  }

  /** Activations as the layout wants them: rows (or their blocks) padded with zeros to whole vectors. */
  #padded(x: number, layout: Layout, batch: number): number {
    const { columns, blocks, blockColumns, paddedBlock, paddedColumns } = layout;
    if (paddedColumns === columns) return x;
    const out = this.engine.scratch("activations", 4 * batch * paddedColumns);
    if (blockColumns === paddedBlock || blocks <= 1) {
      const args = { out, x, xBytes: 4 * columns, outBytes: 4 * paddedColumns };
      this.engine.run(this.#core, rows.padRows, args, batch, batch * columns);
    } else {
      const args = { out, x, columns, blocks, blockColumns, paddedBlock };
      this.engine.run(this.#core, rows.padBlocks, args, batch * blocks, batch * columns);
    }
    return out;
  }

  #panels(layout: Layout): { scratch: number; scratchBytes: number } {
    const scratchBytes = roundUp(f32.scratchBytes(layout), 64);
    return { scratch: this.engine.scratch("panels", scratchBytes * this.engine.threads), scratchBytes };
  }

  /** Splits `count` things into an item for each thread, of whole multiples of `unit`. */
  #deal(count: number, unit: number): { items: number; perItem: number } {
    const perItem = roundUp(Math.ceil(count / this.engine.threads), unit);
    return { items: Math.ceil(count / perItem), perItem };
  }

  #addresses<K extends string>(buffers: Readonly<Record<K, Buffer>>): Record<K, number> {
    const addresses = {} as Record<K, number>;
    for (const name in buffers) addresses[name] = this.#own(buffers[name]).address;
    return addresses;
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
    if (own.owner !== this) throw new InputError("a matrix belongs to another backend", { where: "wasm" });
    if (own.freed) throw new InputError("a matrix was used after it was freed", { where: "wasm" });
    return own;
  }
}
