/**
 * The search for scales (and offsets): per group, among shrunken and stretched versions of what the scheme's rule chose,
 * the one with the least weighted error
 *
 *     sum_i h_i |x_i - w_i|^p
 *
 * measured with the scale as the file will hold it, followed by the closed-form least-squares scale for the codes found.
 * With h = 1 and p = 2 this is the usual MSE search; with h the mean squared activations of the input channels it is what
 * llama.cpp does with an importance matrix (make_qx_quants, make_qkx3_quants in ggml-quants.c).
 */
import type { LevelSums } from "../kernels/index.js";
import { type Grid, setCode } from "./grid.js";
import { type Best, Candidates, GroupError } from "./scale-candidates.js";

export interface SearchOptions {
  /** Candidates tried for every group and sign. */
  readonly steps: number;
  /** The p of the error. */
  readonly norm: number;
  /** Fills `weights` (one for each column) for a row; absent: all 1. */
  readonly weigh?: (row: number, weights: Float64Array) => void;
}

/** Smallest and largest factor of the rule's scale that is tried. */
const FACTORS = [0.35, 1.25] as const;

/** Improves the scales of `grid` for `values` in place. The error of no group grows. */
export function searchScales(grid: Grid, values: Float32Array, options: SearchOptions): void {
  const { rows, columns, size, groups } = grid;
  const weights = new Float64Array(columns).fill(1);
  const factors = factorsOf(options.steps);
  const group = new GroupError(grid, options.norm);
  const searchGroup = grid.offsetKind === "zeroPoint" ? searchZero : grid.offsets ? searchMinimum : searchScale;
  for (let row = 0; row < rows; row++) {
    options.weigh?.(row, weights);
    for (let g = 0; g < groups; g++) {
      const start = g * size;
      const end = Math.min(start + size, columns);
      group.take(values.subarray(row * columns + start, row * columns + end), weights.subarray(start, end));
      searchGroup(group, row * groups + g, factors);
    }
  }
}

/** The factors tried, 1 left out: the rule's own scale is where the search starts. */
function factorsOf(steps: number): readonly number[] {
  const [low, high] = FACTORS;
  return Array.from({ length: steps }, (_, i) => low + ((high - low) * (i + 0.5)) / steps);
}

function searchScale(group: GroupError, index: number, factors: readonly number[]): void {
  const { scales, levels } = group.grid;
  const initial = scales.values[index];
  if (initial === 0) return;
  let best: Best = { scale: scales.codes[index], offset: 0, error: group.of(initial, 0) };
  let last = -1;
  const consider = (scale: number, candidates: Candidates) => {
    const code = scales.toCode(scale, index);
    if (code !== last) candidates.add(code, 0, scales.toValue(code, index), 0);
    last = code;
  };
  for (const sign of levels.symmetric ? [1] : [1, -1]) {
    if (best.error === 0) return;
    const candidates = new Candidates();
    for (const factor of factors) consider(sign * factor * initial, candidates);
    best = candidates.betterThan(best, group);
  }
  for (let repeat = 0; repeat < 2; repeat++) {
    const { xv, v2 } = group.sums([scales.toValue(best.scale, index)], [0]);
    if (!(v2[0] > 0)) continue;
    const candidates = new Candidates();
    consider(xv[0] / v2[0], candidates);
    best = candidates.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
}

function searchMinimum(group: GroupError, index: number, factors: readonly number[]): void {
  const { scales, offsets, levels } = group.grid;
  const initial = scales.values[index];
  if (initial === 0 || !offsets) return;
  let best: Best = { scale: scales.codes[index], offset: offsets.codes[index], error: 0 };
  best = { ...best, error: group.of(initial, offsets.values[index]) };
  const consider = (s: number, m: number, candidates: Candidates) => {
    const [scale, offset] = [scales.toCode(s, index), offsets.toCode(m, index)];
    candidates.add(scale, offset, scales.toValue(scale, index), offsets.toValue(offset, index));
  };
  if (best.error === 0) return;
  const { one, x1 } = group.totals();
  /** The least-squares fit to the levels of one choice. */
  const fit = ({ v1, v2, xv }: LevelSums, i: number, candidates: Candidates) => {
    const determinant = one * v2[i] - v1[i] * v1[i];
    if (!(determinant > 1e-12 * one * v2[i])) return;
    consider((one * xv[i] - v1[i] * x1) / determinant, (v2[i] * x1 - v1[i] * xv[i]) / determinant, candidates);
  };
  const values = levels.values;
  const middle = (values[0] + values[values.length - 1]) / 2;
  const centre = offsets.values[index] + initial * middle;
  const tried = factors.map((factor) => initial * factor);
  const centred = tried.map((s) => centre - s * middle);
  const sums = group.sums(tried, centred);
  const candidates = new Candidates();
  tried.forEach((s, i) => {
    consider(s, centred[i], candidates);
    fit(sums, i, candidates);
  });
  best = candidates.betterThan(best, group);
  for (let repeat = 0; repeat < 2; repeat++) {
    const fitted = new Candidates();
    const [s, m] = [scales.toValue(best.scale, index), offsets.toValue(best.offset, index)];
    fit(group.sums([s], [m]), 0, fitted);
    best = fitted.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
  setCode(offsets, index, best.offset);
}

function searchZero(group: GroupError, index: number, factors: readonly number[]): void {
  const { scales, offsets } = group.grid;
  const initial = scales.values[index];
  if (initial === 0 || !offsets) return;
  const zero = offsets.values[index];
  let best: Best = {
    scale: scales.codes[index],
    offset: offsets.codes[index],
    error: group.of(initial, -initial * zero),
  };
  if (best.error === 0) return;
  const consider = (s: number, zeros: readonly number[], candidates: Candidates) => {
    const scale = scales.toCode(s, index);
    const exact = scales.toValue(scale, index);
    for (const offset of zeros) candidates.add(scale, offset, exact, -exact * offsets.toValue(offset, index));
  };
  const zeros = [...new Set([0, -1, 1].map((shift) => offsets.toCode(zero + shift, index)))];
  const candidates = new Candidates();
  for (const factor of factors) consider(initial * factor, zeros, candidates);
  best = candidates.betterThan(best, group);
  const { one, x1 } = group.totals();
  for (let repeat = 0; repeat < 2; repeat++) {
    const [s, z] = [scales.toValue(best.scale, index), offsets.toValue(best.offset, index)];
    const { v1, v2, xv } = group.sums([s], [-s * z]);
    const power = v2[0] - 2 * z * v1[0] + z * z * one;
    if (!(power > 0)) continue;
    const fitted = new Candidates();
    consider((xv[0] - z * x1) / power, [best.offset], fitted);
    best = fitted.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
  setCode(offsets, index, best.offset);
}
