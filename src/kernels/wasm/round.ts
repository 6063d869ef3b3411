/** Rounding activations with the cast kernels, in the backend's own memory. */
import type { NumberFormat } from "../../formats/format.js";
import { codeArray } from "../../formats/packing.js";
import { groupSize } from "../../formats/planes.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import { planeBytes } from "../../tensor/planes.js";
import { run } from "../casts/array-kernels.js";
import { decodePieces, encodePieces } from "../casts/array-pieces.js";
import { CastKernels } from "../casts/cast-kernels.js";
import { dequantizeInMemory, quantizeInMemory } from "../casts/planes-in-memory.js";
import { dequantizePlan, quantizePlan } from "../casts/plans.js";
import { dequantizePieces, quantizePieces } from "../casts/tensor-pieces.js";
import { demandFinite } from "../round.js";
import type { Engine } from "./engine.js";

export class Rounder {
  /** The cast kernels over the backend's memory. */
  readonly kernels: CastKernels;

  constructor({ heap, limits }: Engine) {
    this.kernels = new CastKernels(heap, limits);
  }

  /** Rounds rows at `from` to `to` (which may be the same); false where the reference must: `to` is then unchanged. */
  round(scheme: Scheme, from: number, to: number, batch: number, columns: number): boolean {
    if (quantizePlan(scheme).kind === "reference" || dequantizePlan(scheme).kind === "reference") return false;
    if (batch * columns === 0) return true;
    const step = rowsShare(scheme) ? 1 : batch;
    for (let row = 0; row < batch; row += step) {
      const at = 4 * row * columns;
      if (!this.#rows(scheme, from + at, to + at, step, columns)) return false;
    }
    return true;
  }

  /** What `roundRowsStatic` makes of x, with casts of all rows at once. */
  roundStatic(x: Float32Array, format: NumberFormat, scales: Float32Array, columns: number): Float32Array {
    const step = scales.length === 1 ? 0 : 1;
    const values = new Float32Array(x.length);
    for (let start = 0; start < x.length; start += columns) {
      for (let j = 0; j < columns; j++) values[start + j] = x[start + j] / scales[j * step];
      demandFinite(values.subarray(start, start + columns), start / columns);
    }
    const codes = codeArray(format.bits, values.length);
    encodePieces(this.kernels, format, values, codes, { overflow: "saturate" });
    decodePieces(this.kernels, format, codes, values);
    for (let start = 0; start < values.length; start += columns) {
      for (let j = 0; j < columns; j++) values[start + j] *= scales[j * step];
    }
    return values;
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
