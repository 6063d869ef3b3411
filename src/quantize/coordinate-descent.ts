/**
 * Coordinate descent on the output error of a rounded matrix. With e = w - q of a row and H = E[x x^T], the error e^T H e is a
 * parabola in every number that may still change. In turn each code goes to the level nearest to the lowest point of its
 * parabola, then each group's scale and offset to the stored number nearest to theirs. No step makes the error larger.
 *
 * Codes: the greedy updates of QuIP (Chee et al. 2023, arXiv 2307.13304). Scales in turn with codes: decoupleQ (Guo et al. 2024,
 * arXiv 2404.12759), here one group at a time and within the scheme's scale format.
 */
import { type Grid, levelIn, type SharedValues, setCode, valueIn } from "./grid.js";
import type { InputStatistics } from "./statistics.js";

export interface DescentOptions {
  /** Share of the mean diagonal added to H. */
  readonly damping: number;
  /** At most so many passes over a row. */
  readonly sweeps: number;
}

/** Changes `levels` and the scales of `grid` in place; how many codes moved. */
export function improve(
  grid: Grid,
  values: Float32Array,
  levels: Uint16Array,
  { hessian, columns }: InputStatistics,
  { damping, sweeps }: DescentOptions,
): number {
  if (sweeps === 0 || !hessian) return 0;
  const diagonal = Float64Array.from({ length: columns }, (_, j) => hessian[j * columns + j]);
  const extra = (damping * diagonal.reduce((sum, x) => sum + x, 0)) / columns;
  const row = new RowDescent(grid, values, levels, hessian, extra);
  let moved = 0;
  for (let r = 0; r < grid.rows; r++) {
    row.start(r);
    for (let sweep = 0; sweep < sweeps; sweep++) {
      const now = row.moveCodes() + row.moveScales();
      if (now === 0) break;
      moved += now;
    }
  }
  return moved;
}

/** One row with its error e and the gradient g = (H + extra I) e, kept up to date. */
class RowDescent {
  private readonly grid: Grid;
  private readonly values: Float32Array;
  private readonly levels: Uint16Array;
  private readonly hessian: Float64Array;
  private readonly extra: number;
  private readonly e: Float64Array;
  private readonly gradient: Float64Array;
  /** A change of e that is being considered. */
  private readonly delta: Float64Array;
  private first = 0;
  private row = 0;

  constructor(grid: Grid, values: Float32Array, levels: Uint16Array, hessian: Float64Array, extra: number) {
    this.grid = grid;
    this.values = values;
    this.levels = levels;
    this.hessian = hessian;
    this.extra = extra;
    this.e = new Float64Array(grid.columns);
    this.gradient = new Float64Array(grid.columns);
    this.delta = new Float64Array(grid.columns);
  }

  start(row: number): void {
    const { grid, e, gradient } = this;
    this.row = row;
    this.first = row * grid.columns;
    gradient.fill(0);
    for (let j = 0; j < grid.columns; j++) e[j] = this.errorAt(j);
    this.pushRange(e, 0, grid.columns);
  }

  private group(j: number): number {
    return this.row * this.grid.groups + Math.floor(j / this.grid.size);
  }

  private errorAt(j: number): number {
    return this.values[this.first + j] - valueIn(this.grid, this.group(j), this.levels[this.first + j]);
  }

  /** The gradient follows a change of e_j. H is symmetric, so its rows serve as columns. */
  private push(j: number, amount: number): void {
    if (amount === 0) return;
    const { gradient, hessian, extra } = this;
    const n = gradient.length;
    const row = hessian.subarray(j * n, (j + 1) * n);
    for (let k = 0; k < n; k++) gradient[k] += amount * row[k];
    gradient[j] += amount * extra;
  }

  /** The same for a range of columns, four at once, so that the gradient is read and written once for them. */
  private pushRange(amounts: Float64Array, start: number, end: number): void {
    const { gradient, hessian, extra } = this;
    const n = gradient.length;
    let j = start;
    for (; j + 4 <= end; j += 4) {
      const [a, b, c, d] = [amounts[j], amounts[j + 1], amounts[j + 2], amounts[j + 3]];
      for (let k = 0, at = j * n; k < n; k++, at++) {
        gradient[k] += a * hessian[at] + b * hessian[at + n] + (c * hessian[at + 2 * n] + d * hessian[at + 3 * n]);
      }
      for (let i = j; i < j + 4; i++) gradient[i] += amounts[i] * extra;
    }
    for (; j < end; j++) this.push(j, amounts[j]);
  }

  /** One pass over the codes of the row; how many moved. */
  moveCodes(): number {
    const { grid, values, levels, hessian, extra, e, gradient, first } = this;
    const n = grid.columns;
    let moved = 0;
    for (let j = 0; j < n; j++) {
      const own = hessian[j * n + j];
      // A channel that was never active says nothing.
      if (own === 0) continue;
      const lowest = e[j] - gradient[j] / (own + extra);
      const group = this.group(j);
      const level = levelIn(grid, group, values[first + j] - lowest);
      if (level === levels[first + j]) continue;
      const now = values[first + j] - valueIn(grid, group, level);
      const change = now - e[j];
      // Equally good levels stay, so that the descent ends.
      if (change * (2 * gradient[j] + (own + extra) * change) >= 0) continue;
      this.push(j, change);
      e[j] = now;
      levels[first + j] = level;
      moved++;
    }
    return moved;
  }

  /** One pass over the scales and offsets of the row; how many moved. */
  moveScales(): number {
    const { scales, offsets, offsetKind, groups } = this.grid;
    let moved = 0;
    for (let g = 0; g < groups; g++) {
      const group = this.row * groups + g;
      if (scales.values[group] === 0) continue;
      const zero = offsets && offsetKind === "zeroPoint" ? offsets.values[group] : 0;
      if (this.moveShared(scales, group, g, (v) => v - zero)) moved++;
      if (offsets && offsetKind === "min" && this.moveShared(offsets, group, g, () => 1)) moved++;
    }
    return moved;
  }

  /** Moves one shared number, whose unit changes element v by slope(v), if the stored result is better. */
  private moveShared(shared: SharedValues, group: number, g: number, slope: (v: number) => number): boolean {
    const { grid, e, gradient, delta, levels, first } = this;
    const start = g * grid.size;
    const end = Math.min(start + grid.size, grid.columns);
    let along = 0;
    for (let j = start; j < end; j++) {
      delta[j] = slope(grid.levels.values[levels[first + j]]);
      along += delta[j] * gradient[j];
    }
    const curvature = this.quadratic(start, end);
    if (!(curvature > 0)) return false;
    const before = shared.codes[group];
    const code = shared.toCode(shared.values[group] + along / curvature, group);
    if (code === before) return false;
    setCode(shared, group, code);
    let change = 0;
    for (let j = start; j < end; j++) {
      delta[j] = this.errorAt(j) - e[j];
      change += 2 * delta[j] * gradient[j];
    }
    change += this.quadratic(start, end);
    if (!(change < 0)) {
      setCode(shared, group, before);
      return false;
    }
    this.pushRange(delta, start, end);
    for (let j = start; j < end; j++) e[j] += delta[j];
    return true;
  }

  /** delta^T (H + extra I) delta over a range of columns. */
  private quadratic(start: number, end: number): number {
    const { hessian, delta, extra, grid } = this;
    let sum = 0;
    for (let i = start; i < end; i++) {
      if (delta[i] === 0) continue;
      let dot = extra * delta[i];
      for (let j = start, at = i * grid.columns + start; j < end; j++, at++) dot += hessian[at] * delta[j];
      sum += delta[i] * dot;
    }
    return sum;
  }
}
