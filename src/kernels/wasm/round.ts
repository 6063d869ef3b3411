/** Rounding activations with the cast kernels, in the backend's own memory. */

import { decodeArray, encodeArray } from "../../formats/casts.js";
import type { NumberFormat } from "../../formats/format.js";
import { codeArray } from "../../formats/packing.js";
import { groupSize } from "../../formats/planes.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import { planeBytes } from "../../tensor/planes.js";
import { run } from "../casts/array-kernels.js";
import { CastKernels } from "../casts/cast-kernels.js";
import { codeBytes } from "../casts/decode-lanes.js";
import { dequantizeInMemory, quantizeInMemory } from "../casts/planes-in-memory.js";
import { dequantizePlan, quantizePlan } from "../casts/plans.js";
import { dequantizePieces, quantizePieces } from "../casts/tensor-pieces.js";
import { demandFinite } from "../round.js";
import type { CompiledModule, Engine } from "./engine.js";
import { roundTwoLevel, twoLevelRows } from "./round-two-level.js";
import { divideColumns, multiplyColumns } from "./rows.js";

export class Rounder {
  /** The cast kernels over the backend's memory. */
  readonly kernels: CastKernels;

  readonly #engine: Engine;
  /** The module of the kernels that work on rows of f32. */
  readonly #core: CompiledModule;

  constructor(engine: Engine, core: CompiledModule) {
    this.#engine = engine;
    this.#core = core;
    this.kernels = new CastKernels(engine.heap, engine.limits);
  }

  /** Rounds rows at `from` to `to` (which may be the same); false where the reference must: `to` is then unchanged. */
  round(scheme: Scheme, from: number, to: number, batch: number, columns: number): boolean {
    if (quantizePlan(scheme).kind === "reference" || dequantizePlan(scheme).kind === "reference") return false;
    if (batch * columns === 0) return true;
    const twoLevel = twoLevelRows(scheme, columns);
    if (twoLevel && roundTwoLevel(this.kernels, scheme, twoLevel, { from, to }, batch, columns)) return true;
    const step = rowsShare(scheme) ? 1 : batch;
    for (let row = 0; row < batch; row += step) {
      const at = 4 * row * columns;
      if (!this.#rows(scheme, from + at, to + at, step, columns)) return false;
    }
    return true;
  }

  /** What `roundRowsStatic` makes of rows at `from`, to `to` (which may be the same). */
  roundStatic(
    { from, to }: { readonly from: number; readonly to: number },
    format: NumberFormat,
    factors: Float32Array,
    batch: number,
    columns: number,
  ): void {
    const count = batch * columns;
    if (count === 0) return;
    const engine = this.#engine;
    const values = engine.scratch("divided activations", 4 * count);
    const codes = engine.scratch("codes of activations", codeBytes(format.bits) * count);
    const scales = engine.scratch("scales of columns", 4 * columns);
    engine.finish();
    const scale = new Float32Array(engine.memory.buffer, scales, columns);
    if (factors.length === 1) scale.fill(factors[0]);
    else scale.set(factors);
    engine.run(this.#core, divideColumns, { out: values, x: from, scales, columns }, batch, count);
    engine.finish();
    const numbers = () => new Float32Array(engine.memory.buffer, values, count);
    if (!Number.isFinite(this.kernels.amax(values, count))) {
      for (let row = 0; row < batch; row++) demandFinite(numbers().subarray(row * columns, (row + 1) * columns), row);
    }
    const saturate = { overflow: "saturate" } as const;
    const inMemory = this.kernels.encode(format, saturate, values, codes, count);
    if (!inMemory || !this.kernels.decode(format, codes, values, count)) {
      const own = codeArray(format.bits, count);
      encodeArray(format, numbers(), own, saturate);
      decodeArray(format, own, numbers());
    }
    engine.run(this.#core, multiplyColumns, { out: to, x: values, scales, columns }, batch, count);
  }

  #rows(scheme: Scheme, from: number, to: number, rows: number, columns: number): boolean {
    const kernels = this.kernels;
    const size = scheme.scale ? groupSize(scheme.scale.per, columns) : run;
    if (columns % size !== 0 || size % run !== 0) return this.#pieces(scheme, from, to, rows, columns);
    const sizes = Object.entries(planeBytes(scheme, rows, columns));
    const planes: { [P in PlaneName]?: number } = Object.fromEntries(
      sizes.map(([name, bytes]) => [name, kernels.scratch(`plane ${name}`, bytes)]),
    );
    return (
      quantizeInMemory(kernels, scheme, from, rows, columns, planes) &&
      dequantizeInMemory(kernels, scheme, planes, rows, columns, to)
    );
  }

  /** Rows whose groups must be padded: through arrays. */
  #pieces(scheme: Scheme, from: number, to: number, rows: number, columns: number): boolean {
    const { memory } = this.kernels;
    const values = new Float32Array(memory.buffer, from, rows * columns).slice();
    const packed = quantizePieces(this.kernels, scheme, values, [rows, columns]);
    if (!packed || !dequantizePieces(this.kernels, packed, values)) return false;
    new Float32Array(memory.buffer, to, values.length).set(values);
    return true;
  }
}

/** Whether rows share numbers, held once for a tensor or a tile: they are then worked on one by one. */
export const rowsShare = ({ scale, offset }: Scheme): boolean =>
  scale?.super?.per === "tensor" || offset?.super?.per === "tensor" || scale?.rows !== undefined;
