/** What is to be said about a quantized tensor: its errors, what was clipped, and how long it took. */
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import type { TensorReport } from "./artifacts.js";
import { relativeSquaredError } from "./errors.js";
import { gridOf, hasGrid, valueIn } from "./grid.js";
import type { QuantizationJob, QuantizationOutcome } from "./method.js";

/** The report of a job and what a method called `method` made of it in `seconds`. */
export function reportOf(
  { values, scheme, shape, statistics }: QuantizationJob,
  { packed, notes = {} }: QuantizationOutcome,
  method: string,
  seconds: number,
): TensorReport {
  const result = dequantize(packed);
  const clipped = clippedShare(packed, values);
  return {
    relativeMse: relativeSquaredError(values, result),
    method,
    seconds,
    ...(clipped !== undefined && { clippedShare: clipped }),
    ...(statistics && outputErrors(values, result, dequantize(quantize(values, shape, scheme)), statistics.meanSquare)),
    ...(Object.keys(notes).length > 0 && { notes }),
  };
}

/** Output errors before and after, relative, as if input channels were independent (which is cheap to know). */
function outputErrors(
  original: Float32Array,
  result: Float32Array,
  rounded: Float32Array,
  meanSquare: Float64Array,
): Pick<TensorReport, "relativeOutputError" | "rtnOutputError"> {
  const columns = meanSquare.length;
  let [power, error, rtn] = [0, 0, 0];
  for (let i = 0; i < original.length; i++) {
    const h = meanSquare[i % columns];
    power += h * original[i] ** 2;
    error += h * (original[i] - result[i]) ** 2;
    rtn += h * (original[i] - rounded[i]) ** 2;
  }
  return power === 0 ? {} : { relativeOutputError: error / power, rtnOutputError: rtn / power };
}

/** Share of values beyond the smallest or largest value that their group can take; undefined for schemes without grids. */
export function clippedShare(packed: PackedTensor, values: Float32Array): number | undefined {
  const { scheme } = packed;
  if (!hasGrid(scheme) || scheme.tags || scheme.scale?.rows !== undefined) return undefined;
  const grid = gridOf(packed);
  const { rows, columns, size, groups, levels } = grid;
  const top = levels.values.length - 1;
  let clipped = 0;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const group = row * groups + g;
      const ends = [valueIn(grid, group, 0), valueIn(grid, group, top)];
      const [low, high] = [Math.min(...ends), Math.max(...ends)];
      const start = row * columns + g * size;
      const end = Math.min(start + size, (row + 1) * columns);
      for (let i = start; i < end; i++) if (values[i] < low || values[i] > high) clipped++;
    }
  }
  return values.length === 0 ? 0 : clipped / values.length;
}
