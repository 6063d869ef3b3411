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
import { scaleErrors } from "../kernels/index.js";
import { type Grid, setCode } from "./grid.js";
import { nearestLevel } from "./levels.js";

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
  const searchGroup = grid.offsetKind === "zeroPoint" ? searchZero : grid.offsets ? searchMinimum : searchScale;
  for (let row = 0; row < rows; row++) {
    options.weigh?.(row, weights);
    for (let g = 0; g < groups; g++) {
      const start = g * size;
      const end = Math.min(start + size, columns);
      const x = values.subarray(row * columns + start, row * columns + end);
      searchGroup(new GroupError(grid, x, weights.subarray(start, end), options.norm), row * groups + g, options.steps);
    }
  }
}

/** What a choice of scale and offset costs one group, and the sums that the least-squares fit needs. */
class GroupError {
  readonly grid: Grid;
  readonly x: Float32Array;
  readonly h: Float64Array;
  private readonly norm: number;

  constructor(grid: Grid, x: Float32Array, h: Float64Array, norm: number) {
    this.grid = grid;
    this.x = x;
    this.h = h;
    this.norm = norm;
  }

  /** The error with w = s * v + m and the nearest levels; where it is `limit` or more, perhaps only a part of it that is. */
  of(s: number, m: number, limit = Number.POSITIVE_INFINITY): number {
    if (s === 0) return Number.POSITIVE_INFINITY;
    return this.norm === 2 && this.grid.levels.step > 0 ? this.squaredUniform(s, m, limit) : this.general(s, m, limit);
  }

  /** The errors of several choices, none of scale 0; see `of`. */
  ofAll(s: readonly number[], m: readonly number[], limit: number): Float64Array {
    const { values, step } = this.grid.levels;
    if (this.norm !== 2 || step === 0) return Float64Array.from(s, (one, i) => this.of(one, m[i], limit));
    return scaleErrors().of(this.x, this.h, { first: values[0], step, count: values.length }, s, m);
  }

  private general(s: number, m: number, limit: number): number {
    const { x, h, norm } = this;
    const { levels } = this.grid;
    const inverse = 1 / s;
    let sum = 0;
    for (let i = 0; i < x.length && sum < limit; i++) {
      const e = x[i] - m - s * levels.values[nearestLevel(levels, (x[i] - m) * inverse)];
      sum += h[i] * (norm === 2 ? e * e : Math.abs(e) ** norm);
    }
    return sum;
  }

  /** The same for evenly spaced levels and p = 2, which is nearly all the work there is. */
  private squaredUniform(s: number, m: number, limit: number): number {
    const { x, h } = this;
    const { values, step } = this.grid.levels;
    const [first, top] = [values[0], values.length - 1];
    const inverse = 1 / (s * step);
    const [shift, width, origin] = [0.5 - first / step, s * step, m + s * first];
    let sum = 0;
    for (let i = 0; i < x.length && sum < limit; i++) {
      const place = (x[i] - m) * inverse + shift;
      const level = place < 0 ? 0 : place >= top ? top : place | 0;
      const e = x[i] - origin - width * level;
      sum += h[i] * e * e;
    }
    return sum;
  }

  /** Weighted sums over the group of 1, v, v^2, x and x v, for the levels that s and m give. */
  sums(s: number, m: number) {
    const { x, h } = this;
    const { levels } = this.grid;
    let [one, v1, v2, x1, xv] = [0, 0, 0, 0, 0];
    for (let i = 0; i < x.length; i++) {
      const v = levels.values[nearestLevel(levels, (x[i] - m) / s)];
      one += h[i];
      v1 += h[i] * v;
      v2 += h[i] * v * v;
      x1 += h[i] * x[i];
      xv += h[i] * x[i] * v;
    }
    return { one, v1, v2, x1, xv };
  }
}

/** The factors tried, 1 left out: the rule's own scale is where the search starts. */
function* factors(steps: number): Generator<number> {
  const [low, high] = FACTORS;
  for (let i = 0; i < steps; i++) yield low + ((high - low) * (i + 0.5)) / steps;
}

/** Stored scales and offsets of one group to be compared, in order. */
class Candidates {
  private readonly scales: number[] = [];
  private readonly offsets: number[] = [];
  private readonly s: number[] = [];
  private readonly m: number[] = [];

  /** Codes, and what they stand for: w = s v + m. A scale of 0 is none. */
  add(scale: number, offset: number, s: number, m: number): void {
    if (s === 0) return;
    this.scales.push(scale);
    this.offsets.push(offset);
    this.s.push(s);
    this.m.push(m);
  }

  /** The first of those with the least error, or `best` if none has less. */
  betterThan(best: Best, group: GroupError): Best {
    let found = best;
    group.ofAll(this.s, this.m, best.error).forEach((error, i) => {
      if (error < found.error) found = { scale: this.scales[i], offset: this.offsets[i], error };
    });
    return found;
  }
}

interface Best {
  readonly scale: number;
  readonly offset: number;
  readonly error: number;
}

function searchScale(group: GroupError, index: number, steps: number): void {
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
    for (const factor of factors(steps)) consider(sign * factor * initial, candidates);
    best = candidates.betterThan(best, group);
  }
  for (let repeat = 0; repeat < 2; repeat++) {
    const { xv, v2 } = group.sums(scales.toValue(best.scale, index), 0);
    if (!(v2 > 0)) continue;
    const candidates = new Candidates();
    consider(xv / v2, candidates);
    best = candidates.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
}

function searchMinimum(group: GroupError, index: number, steps: number): void {
  const { scales, offsets, levels } = group.grid;
  const initial = scales.values[index];
  if (initial === 0 || !offsets) return;
  let best: Best = { scale: scales.codes[index], offset: offsets.codes[index], error: 0 };
  best = { ...best, error: group.of(initial, offsets.values[index]) };
  const consider = (s: number, m: number, candidates: Candidates) => {
    const [scale, offset] = [scales.toCode(s, index), offsets.toCode(m, index)];
    candidates.add(scale, offset, scales.toValue(scale, index), offsets.toValue(offset, index));
  };
  const fit = (s: number, m: number, candidates: Candidates) => {
    const { one, v1, v2, x1, xv } = group.sums(s, m);
    const determinant = one * v2 - v1 * v1;
    if (!(determinant > 1e-12 * one * v2)) return;
    consider((one * xv - v1 * x1) / determinant, (v2 * x1 - v1 * xv) / determinant, candidates);
  };
  if (best.error === 0) return;
  const values = levels.values;
  const middle = (values[0] + values[values.length - 1]) / 2;
  const centre = offsets.values[index] + initial * middle;
  const candidates = new Candidates();
  for (const factor of factors(steps)) {
    const s = initial * factor;
    consider(s, centre - s * middle, candidates);
    fit(s, centre - s * middle, candidates);
  }
  best = candidates.betterThan(best, group);
  for (let repeat = 0; repeat < 2; repeat++) {
    const fitted = new Candidates();
    fit(scales.toValue(best.scale, index), offsets.toValue(best.offset, index), fitted);
    best = fitted.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
  setCode(offsets, index, best.offset);
}

function searchZero(group: GroupError, index: number, steps: number): void {
  const { scales, offsets } = group.grid;
  const initial = scales.values[index];
  if (initial === 0 || !offsets) return;
  const zero = offsets.values[index];
  let best: Best = {
    scale: scales.codes[index],
    offset: offsets.codes[index],
    error: group.of(initial, -initial * zero),
  };
  const consider = (s: number, z: number, candidates: Candidates) => {
    const [scale, offset] = [scales.toCode(s, index), offsets.toCode(z, index)];
    const exact = scales.toValue(scale, index);
    candidates.add(scale, offset, exact, -exact * offsets.toValue(offset, index));
  };
  if (best.error === 0) return;
  const candidates = new Candidates();
  for (const factor of factors(steps)) {
    for (const shift of [0, -1, 1]) consider(initial * factor, zero + shift, candidates);
  }
  best = candidates.betterThan(best, group);
  for (let repeat = 0; repeat < 2; repeat++) {
    const [s, z] = [scales.toValue(best.scale, index), offsets.toValue(best.offset, index)];
    const { v1, v2, xv, x1, one } = group.sums(s, -s * z);
    const power = v2 - 2 * z * v1 + z * z * one;
    if (!(power > 0)) continue;
    const fitted = new Candidates();
    consider((xv - z * x1) / power, z, fitted);
    best = fitted.betterThan(best, group);
  }
  setCode(scales, index, best.scale);
  setCode(offsets, index, best.offset);
}
