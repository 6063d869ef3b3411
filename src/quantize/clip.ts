/**
 * The clipping half of AWQ: the range of every group is shrunk, so that the many small weights of a group get finer steps and
 * the few largest are cut off, if that leaves less error in what the group adds to the output,
 *
 *     sum_rows e_g H_gg e_g^T,      H_gg = E[x_g x_g^T], the group's own block of H.
 *
 * The transform awq before it makes the whole method: awq+clip. (Its authors leave queries and keys unclipped; a recipe's
 * pattern can.)
 */
import { quantize } from "../tensor/index.js";
import { type Grid, hasGrid, levelIn, nearestLevels, packGrid, ruleGrid, setCode, valueIn } from "./grid.js";
import { method, type QuantizationJob } from "./method.js";
import type { InputStatistics } from "./statistics.js";

export const clip = method({
  name: "clip",
  summary: "round to nearest, the range of every group shrunk if its part of the output becomes more exact",
  source: "Lin et al. 2023, arXiv 2306.00978, and its reference code (auto_clip); with the transform awq: AWQ",
  options: {
    steps: { kind: "integer", summary: "ranges tried for every group", default: 10, min: 1, max: 1000 },
    shrink: { kind: "number", summary: "the most that is taken off a range", default: 0.5, min: 0.01, max: 0.99 },
  },
  needs: () => "hessian",
  objective: () => groupErrors,
  quantize(job, options) {
    const { scheme, values, shape, statistics } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    if (!statistics?.hessian) return { packed: packGrid(grid, nearestLevels(grid, values)) };
    const clipped = shrinkRanges(grid, values, statistics, options);
    return { packed: packGrid(grid, nearestLevels(grid, values)), notes: { clipped } };
  },
});

/** Changes the scales (and minima) of `grid` in place; the share of groups that were shrunk. */
function shrinkRanges(
  grid: Grid,
  values: Float32Array,
  statistics: InputStatistics,
  { steps, shrink }: { readonly steps: number; readonly shrink: number },
): number {
  const { rows, columns, size, groups, scales, offsets, offsetKind } = grid;
  const e = new Float64Array(size);
  let shrunk = 0;
  for (let group = 0; group < rows * groups; group++) {
    const start = (group % groups) * size;
    const end = Math.min(start + size, columns);
    const first = Math.floor(group / groups) * columns;
    const [scale, offset] = [scales.values[group], offsets?.values[group] ?? 0];
    const initial = { scale: scales.codes[group], offset: offsets?.codes[group] ?? 0 };
    if (scale === 0) continue;
    const errorNow = () => {
      for (let j = start; j < end; j++) {
        const x = values[first + j];
        e[j - start] = x - valueIn(grid, group, levelIn(grid, group, x));
      }
      return blockError(e, statistics, start, end);
    };
    let best = { ...initial, error: errorNow() };
    for (let step = 1; step <= steps && best.error > 0; step++) {
      const factor = 1 - (shrink * step) / steps;
      setCode(scales, group, scales.toCode(scale * factor, group));
      if (offsets && offsetKind === "min") setCode(offsets, group, offsets.toCode(offset * factor, group));
      if (scales.values[group] === 0) continue;
      const error = errorNow();
      if (error < best.error) best = { scale: scales.codes[group], offset: offsets?.codes[group] ?? 0, error };
    }
    setCode(scales, group, best.scale);
    if (offsets) setCode(offsets, group, best.offset);
    if (best.scale !== initial.scale) shrunk++;
  }
  return shrunk / (rows * groups);
}

/** e H e^T over a range of columns; `e` begins at the first of them. */
function blockError(e: Float64Array, { hessian, columns }: InputStatistics, start: number, end: number): number {
  const h = hessian as Float64Array;
  let sum = 0;
  for (let i = start; i < end; i++) {
    // H is symmetric: twice the lower triangle.
    let dot = 0.5 * h[i * columns + i] * e[i - start];
    for (let j = start, at = i * columns + start; j < i; j++, at++) dot += h[at] * e[j - start];
    sum += 2 * e[i - start] * dot;
  }
  return sum;
}

/** The error of every group's part of the output, summed as if the parts were independent. */
function groupErrors({ scheme, values, shape, statistics }: QuantizationJob, other: Float32Array): number {
  if (!statistics?.hessian) return 0;
  const columns = shape[shape.length - 1];
  const size = hasGrid(scheme) ? ruleGrid(scheme, values, shape).size : columns;
  let sum = 0;
  for (let first = 0; first < values.length; first += columns) {
    for (let start = 0; start < columns; start += size) {
      const end = Math.min(start + size, columns);
      const e = Float64Array.from({ length: end - start }, (_, j) => {
        return values[first + start + j] - other[first + start + j];
      });
      sum += blockError(e, statistics, start, end);
    }
  }
  return sum;
}
