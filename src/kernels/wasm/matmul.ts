/** Products with loaded matrices: activations rounded and padded as a layout wants them, and the kernels called in passes. */
import { BitProducts } from "./bit-products.js";
import { type ByteDot, byLookup } from "./byte-dot.js";
import type { CompiledModule, Engine } from "./engine.js";
import { type Group, groupOfOne, placesOf } from "./group.js";
import { type Layout, roundUp } from "./layout.js";
import { lookupTables, tableBytes } from "./lookup-sums.js";
import * as f32 from "./matmul-f32.js";
import * as int8 from "./matmul-int8.js";
import type { CodeMatrix, WasmMatrix } from "./matrix.js";
import { activationBytes, roundRows } from "./round-activations.js";
import * as rows from "./rows.js";
import { gemmFrom, tilingOf } from "./tile.js";

/** At most so many rows of activations share one decoding of the weights; times 256 columns of f32 they fit the L2 cache. */
const rowsPerPass = 252;

/** Rounded rows are smaller: as many as take half of an L2 cache, if that is more. */
const roundedBytesPerPass = 2 ** 19;

/** Rows of a pass: the rows of a batch in runs of about equally many, at most `most`. */
function rowsOfPass(batch: number, most = rowsPerPass): number {
  return Math.ceil(batch / Math.ceil(batch / most));
}

const roundedRowsOfPass = (batch: number, rowBytes: number) =>
  rowsOfPass(batch, Math.max(rowsPerPass, Math.floor(roundedBytesPerPass / rowBytes)));

/** Where rounded activations lie, what they were made of, and by which operation. */
interface Rounding {
  readonly x: number;
  readonly batch: number;
  readonly columns: number;
  readonly blockColumns: number;
  readonly paddedBlock: number;
  readonly bytes: number;
  readonly levels: number;
  readonly signs: boolean;
  readonly factor: number;
  readonly q: number;
  readonly scales: number;
  readonly sums: number;
  readonly operation: number;
}

/** The products of one backend; projections of the same input share what it was rounded to. */
export class Matmul {
  readonly #engine: Engine;
  /** The module of the kernels that work on rows of f32. */
  readonly #core: CompiledModule;
  readonly #bits: BitProducts;
  #rounding: Rounding | undefined;

  constructor(engine: Engine, core: CompiledModule) {
    this.#engine = engine;
    this.#core = core;
    this.#bits = new BitProducts(engine);
  }

  /** out[b, n] = sum_k x[b, k] weight[n, k], at addresses; nothing is empty. */
  run(out: number, x: number, matrix: WasmMatrix, batch: number): void {
    if (matrix.kind === "bits") this.#bits.run(out, x, matrix, batch);
    else if (int8.isInt8(matrix.layout)) this.#int8(out, x, matrix, matrix.layout, batch);
    else this.#f32(out, x, matrix, batch);
  }

  /** The same for matrices that fit a group (group.ts), as one product. */
  runGroup(x: number, group: Group, batch: number): void {
    const { layout, module } = group.first;
    if (int8.isInt8(layout)) {
      this.#gemvInt8(group, this.#rounded(x, module, layout, batch), module, layout);
      return;
    }
    const padded = this.#padded(x, layout, batch);
    for (let m = 0; m < batch; m++) this.#gemv(group, m, padded + 4 * m * layout.paddedColumns);
  }

  /** out[i] = row ids[i] of the matrix, `ids` the address of `count` numbers. */
  embed(out: number, ids: number, matrix: WasmMatrix, count: number): void {
    if (matrix.kind === "bits") this.#bits.embed(out, ids, matrix, count);
    else this.#embed(out, ids, matrix, count);
  }

  #embed(out: number, ids: number, { layout, module, address, table }: CodeMatrix, count: number): void {
    const { columns, quadBytes, blocks, blockCells: cells, blockColumns } = layout;
    const place = { weights: address, quadBytes, blocks, cells, blockColumns, table };
    const args = { out, ids, columns, ...place, ...this.#panels(layout) };
    this.#engine.run(module, f32.embed, args, count, 4 * count * columns);
  }

  #f32(out: number, x: number, matrix: CodeMatrix, batch: number): void {
    const { paddedColumns } = matrix.layout;
    const padded = this.#padded(x, matrix.layout, batch);
    this.#intoRows(out, matrix.layout, batch, (target, outBytes) => {
      if (batch < gemmFrom) {
        const one = groupOfOne(matrix, target, outBytes);
        for (let m = 0; m < batch; m++) this.#gemv(one, m, padded + 4 * m * paddedColumns);
        return;
      }
      const rowsEach = rowsOfPass(batch);
      for (let m = 0; m < batch; m += rowsEach) {
        const count = Math.min(rowsEach, batch - m);
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
    const target = this.#engine.scratch("outputs", 4 * batch * stride);
    compute(target, 4 * stride);
    const args = { out, x: target, xBytes: 4 * outputs, outBytes: 4 * stride };
    this.#engine.run(this.#core, rows.cutRows, args, batch, batch * outputs);
  }

  #gemv(group: Group, row: number, x: number): void {
    const { quads, first } = group;
    const { quadBytes, blocks, blockCells: cells, columns } = first.layout;
    const { items, perItem: quadsPerItem } = this.#deal(quads, 4);
    const args = { x, quadBytes, quads, quadsPerItem, blocks, cells, table: first.table, ...placesOf(group, row) };
    this.#engine.run(first.module, f32.gemv, args, items, 4 * quads * columns);
  }

  #gemm(out: number, outBytes: number, x: number, matrix: CodeMatrix, batch: number): void {
    const { layout, module, address, table } = matrix;
    const { quads, quadBytes, blocks, blockCells: cells, paddedColumns, tile } = layout;
    const panels = Math.ceil(quads / tile.quads);
    const { items, perItem: panelsPerItem } = this.#deal(panels, 1);
    const args = {
      ...{ out, outBytes, x, xBytes: 4 * paddedColumns, batch, weights: address, quadBytes, panels, panelsPerItem },
      ...{ blocks, cells, table, ...this.#panels(layout), ...tilingOf(batch, tile) },
    };
    this.#engine.run(module, f32.gemm, args, items, batch * 4 * quads * paddedColumns);
  }

  #int8(out: number, x: number, matrix: CodeMatrix, layout: int8.Int8Layout, batch: number): void {
    const rounded = this.#rounded(x, matrix.module, layout, batch);
    this.#intoRows(out, layout, batch, (target, outBytes) => {
      if (batch < gemmFrom) this.#gemvInt8(groupOfOne(matrix, target, outBytes), rounded, matrix.module, layout);
      else this.#gemmInt8(target, outBytes, rounded, matrix, layout);
    });
  }

  #gemvInt8(group: Group, rounded: Rounding, module: CompiledModule, layout: int8.Int8Layout): void {
    const { quads } = group;
    const { columns, blocks, quadBytes, paddedColumns, dot } = layout;
    const { batch } = rounded;
    const tables = byLookup(dot);
    const q = tables ? this.#tables(rounded.q, module, dot, batch * paddedColumns) : rounded.q;
    const qBytes = paddedColumns * (tables ? tableBytes(dot) : activationBytes(dot));
    const { items, perItem } = this.#deal(quads, 4);
    for (let m = 0; m < batch; m++) {
      const args = {
        q: q + m * qBytes,
        scales: rounded.scales + 4 * m * blocks,
        sums: rounded.sums + 4 * m * blocks,
        quadBytes,
        quads,
        quadsPerItem: perItem,
        blocks,
        ...placesOf(group, m),
      };
      this.#engine.run(module, int8.gemvInt8, args, items, 4 * quads * columns);
    }
  }

  #gemmInt8(out: number, outBytes: number, rounded: Rounding, matrix: CodeMatrix, layout: int8.Int8Layout): void {
    const { module, address: weights } = matrix;
    const { columns, blocks, quadBytes, quads, paddedColumns, dot, tile } = layout;
    const { batch, q, scales, sums } = rounded;
    const panels = Math.ceil(quads / tile.quads);
    const { items, perItem: panelsPerItem } = this.#deal(panels, 1);
    const qBytes = paddedColumns * activationBytes(dot);
    const scratchBytes = roundUp(int8.panelBytes(layout), 64);
    const scratch = this.#engine.scratch("panels", scratchBytes * this.#engine.threads);
    const rowsEach = roundedRowsOfPass(batch, qBytes);
    for (let m = 0; m < batch; m += rowsEach) {
      const count = Math.min(rowsEach, batch - m);
      const [row, block] = [m * qBytes, 4 * m * blocks];
      const args = {
        ...{ out: out + m * outBytes, q: q + row, scales: scales + block, sums: sums + block, outBytes, qBytes },
        ...{ batch: count, weights, quadBytes, blocks, scratch, scratchBytes, panels, panelsPerItem },
        ...tilingOf(count, tile),
      };
      this.#engine.run(module, int8.gemmInt8, args, items, count * 4 * quads * columns);
    }
  }

  /** What sums of four rounded activations each can be, for weights of one bit. */
  #tables(q: number, module: CompiledModule, dot: ByteDot, count: number): number {
    const tables = this.#engine.scratch("lookup tables", count * tableBytes(dot));
    this.#engine.run(module, lookupTables, { q, tables }, count / 4, 8 * count);
    return tables;
  }

  /** Activations rounded to int8, or what the last product has left of the same: projections share their input. */
  #rounded(x: number, module: CompiledModule, layout: int8.Int8Layout, batch: number): Rounding {
    const { columns, blocks, blockColumns, paddedBlock, paddedColumns, dot } = layout;
    const bytes = activationBytes(dot);
    const { levels, signs } = dot;
    const factor = int8.sumFactor(layout);
    const last = this.#rounding;
    if (
      last?.x === x &&
      last.batch === batch &&
      last.columns === columns &&
      last.paddedBlock === paddedBlock &&
      last.blockColumns === blockColumns &&
      last.bytes === bytes &&
      last.levels === levels &&
      last.signs === signs &&
      last.factor === factor &&
      this.#engine.unchangedSince(x, last.operation)
    ) {
      return last;
    }
    const q = this.#engine.scratch("rounded activations", batch * paddedColumns * bytes);
    const scales = this.#engine.scratch("activation scales", 4 * batch * blocks);
    const sums = this.#engine.scratch("activation sums", 4 * batch * blocks);
    const rowsEach = roundedRowsOfPass(batch, paddedColumns * bytes);
    for (let m = 0; m < batch; m += rowsEach) {
      const count = Math.min(rowsEach, batch - m);
      const { height, tallRows } = batch < gemmFrom ? { height: 1, tallRows: batch } : tilingOf(count, layout.tile);
      const args = {
        x: x + 4 * m * columns,
        columns,
        blocks,
        blockColumns,
        paddedBlock,
        q: q + m * paddedColumns * bytes,
        scales: scales + 4 * m * blocks,
        sums: sums + 4 * m * blocks,
        height,
        tallRows,
      };
      this.#engine.run(module, roundRows, args, count * blocks, 4 * count * columns);
    }
    const { operations: operation } = this.#engine;
    this.#rounding = {
      x,
      batch,
      columns,
      blockColumns,
      paddedBlock,
      bytes,
      levels,
      signs,
      factor,
      q,
      scales,
      sums,
      operation,
    };
    return this.#rounding;
  }

  /** Activations as the layout wants them: rows (or their blocks) padded with zeros to whole vectors. */
  #padded(x: number, layout: Layout, batch: number): number {
    const { columns, blocks, blockColumns, paddedBlock, paddedColumns } = layout;
    if (paddedColumns === columns) return x;
    const out = this.#engine.scratch("activations", 4 * batch * paddedColumns);
    if (blockColumns === paddedBlock || blocks <= 1) {
      const args = { out, x, xBytes: 4 * columns, outBytes: 4 * paddedColumns };
      this.#engine.run(this.#core, rows.padRows, args, batch, batch * columns);
    } else {
      const args = { out, x, columns, blocks, blockColumns, paddedBlock };
      this.#engine.run(this.#core, rows.padBlocks, args, batch * blocks, batch * columns);
    }
    return out;
  }

  #panels(layout: Layout): { scratch: number; scratchBytes: number } {
    const scratchBytes = roundUp(f32.scratchBytes(layout), 64);
    return { scratch: this.#engine.scratch("panels", scratchBytes * this.#engine.threads), scratchBytes };
  }

  /** Splits `count` things into an item for each thread, of whole multiples of `unit`. */
  #deal(count: number, unit: number): { items: number; perItem: number } {
    const perItem = roundUp(Math.ceil(count / this.#engine.threads), unit);
    return { items: Math.ceil(count / perItem), perItem };
  }
}
