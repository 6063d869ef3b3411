/**
 * Coordinate descent on the output error of a rounded matrix. With e = w - q of a row and H = E[x x^T], the error e^T H e is a
 * parabola in every number that may still change. In turn each code goes to the level nearest to the lowest point of its
 * parabola, then each group's scale and offset to the stored number nearest to theirs. No step makes the error larger, but for
 * the rounding of gradients.
 *
 * Rows have nothing to do with each other, so they go through each block of columns together: what its new scales do to the
 * gradients of all other columns is one product of matrices.
 *
 * Codes: the greedy updates of QuIP (Chee et al. 2023, arXiv 2307.13304). Scales in turn with codes: decoupleQ (Guo et al. 2024,
 * arXiv 2404.12759), here one group at a time and within the scheme's scale format.
 */
import { type LoadedFactor, type Products, plainProducts } from "../kernels/index.js";
import { type Grid, levelIn, type SharedValues, setCode, valueIn } from "./grid.js";
import type { InputStatistics } from "./statistics.js";

export interface DescentOptions {
  /** Share of the mean diagonal added to H. */
  readonly damping: number;
  /** At most so many passes over a row. */
  readonly sweeps: number;
}

/** Numbers of the rows in hand, at most (or one row): each has an error and a gradient in binary64. */
const ROWS_WEIGHTS = 2 ** 20;
/** Columns of a block, at least, where groups are smaller. */
const BLOCK_COLUMNS = 64;

/** Changes `levels` and the scales of `grid` in place; how many codes, scales and offsets moved. */
export function improve(
  grid: Grid,
  values: Float32Array,
  levels: Uint16Array,
  { hessian, columns }: InputStatistics,
  { damping, sweeps }: DescentOptions,
  products: Products = plainProducts,
): number {
  if (sweeps === 0 || !hessian) return 0;
  const step = Math.max(1, Math.min(grid.rows, Math.floor(ROWS_WEIGHTS / columns)));
  const descent = new Descent(grid, values, levels, hessian, damping, step, products);
  let moved = 0;
  try {
    for (let first = 0; first < grid.rows; first += step) {
      const rows = Array.from({ length: Math.min(step, grid.rows - first) }, (_, i) => first + i);
      moved += descent.run(rows, sweeps);
    }
  } finally {
    descent.dispose();
  }
  return moved;
}

/** Neighbouring columns, of whole groups. */
interface Block {
  readonly start: number;
  readonly end: number;
  /** H between all columns and these, [columns, end - start]. */
  readonly factor: LoadedFactor;
}

class Descent {
  private readonly grid: Grid;
  private readonly values: Float32Array;
  private readonly levels: Uint16Array;
  private readonly hessian: Float64Array;
  private readonly extra: number;
  private readonly blocks: readonly Block[];
  /** Of the rows in hand: the errors e, and the gradients (H + extra I) e, kept up to date. */
  private readonly errors: Float64Array;
  private readonly gradients: Float64Array;
  /** A change of e in one group that is being considered. */
  private readonly delta: Float64Array;
  private firstRow = 0;
  /** The row in hand, and its part of the above. */
  private row = 0;
  private e: Float64Array;
  private gradient: Float64Array;

  constructor(
    grid: Grid,
    values: Float32Array,
    levels: Uint16Array,
    hessian: Float64Array,
    damping: number,
    rows: number,
    products: Products,
  ) {
    const { columns, size } = grid;
    this.grid = grid;
    this.values = values;
    this.levels = levels;
    this.hessian = hessian;
    let trace = 0;
    for (let j = 0; j < columns; j++) trace += hessian[j * columns + j];
    this.extra = (damping * trace) / columns;
    this.errors = new Float64Array(rows * columns);
    this.gradients = new Float64Array(rows * columns);
    this.e = this.errors;
    this.gradient = this.gradients;
    this.delta = new Float64Array(columns);
    const width = size * Math.ceil(BLOCK_COLUMNS / size);
    this.blocks = Array.from({ length: Math.ceil(columns / width) }, (_, i) => {
      const [start, end] = [i * width, Math.min((i + 1) * width, columns)];
      return { start, end, factor: products.load(columnsOfSymmetric(hessian, columns, start, end), end - start) };
    });
  }

  dispose(): void {
    for (const { factor } of this.blocks) factor.dispose();
  }

  /** All sweeps over some rows; how much moved. */
  run(rows: readonly number[], sweeps: number): number {
    this.start(rows);
    let moved = 0;
    let active = rows;
    for (let sweep = 0; sweep < sweeps && active.length > 0; sweep++) {
      const counts = active.map((row) => {
        this.open(row);
        return this.moveCodes();
      });
      this.moveScales(active, counts);
      moved += counts.reduce((sum, count) => sum + count, 0);
      active = active.filter((_, i) => counts[i] > 0);
    }
    return moved;
  }

  private start(rows: readonly number[]): void {
    const { columns } = this.grid;
    this.firstRow = rows[0];
    this.gradients.fill(0);
    for (const row of rows) {
      this.open(row);
      for (let j = 0; j < columns; j++) {
        this.e[j] = this.errorAt(j);
        this.gradient[j] = this.extra * this.e[j];
      }
    }
    for (const block of this.blocks) {
      const changes = new Float32Array(rows.length * (block.end - block.start));
      rows.forEach((row, i) => {
        this.open(row);
        changes.set(this.e.subarray(block.start, block.end), i * (block.end - block.start));
      });
      this.push(block, rows, changes, columns, columns);
    }
  }

  private open(row: number): void {
    const { columns } = this.grid;
    const at = (row - this.firstRow) * columns;
    this.row = row;
    this.e = this.errors.subarray(at, at + columns);
    this.gradient = this.gradients.subarray(at, at + columns);
  }

  /** The gradients follow changes of e, [rows, columns of the block], in all columns but from .. to. */
  private push(
    { start, end, factor }: Block,
    rows: readonly number[],
    changes: Float32Array,
    from: number,
    to: number,
  ) {
    const { columns } = this.grid;
    // Rows without a change need no product.
    const width = end - start;
    const moved = rows.flatMap((_, i) =>
      changes.subarray(i * width, (i + 1) * width).some((x) => x !== 0) ? [i] : [],
    );
    if (moved.length === 0) return;
    const some = new Float32Array(moved.length * width);
    moved.forEach((i, k) => {
      some.set(changes.subarray(i * width, (i + 1) * width), k * width);
    });
    const product = factor.times(some);
    moved.forEach((i, k) => {
      this.open(rows[i]);
      const { gradient } = this;
      for (let j = 0, at = k * columns; j < from; j++, at++) gradient[j] += product[at];
      for (let j = to, at = k * columns + to; j < columns; j++, at++) gradient[j] += product[at];
    });
  }

  private group(j: number): number {
    return this.row * this.grid.groups + Math.floor(j / this.grid.size);
  }

  private errorAt(j: number): number {
    const at = this.row * this.grid.columns + j;
    return this.values[at] - valueIn(this.grid, this.group(j), this.levels[at]);
  }

  /** One pass over the codes of the row in hand; how many moved. */
  private moveCodes(): number {
    const { grid, values, levels, hessian, extra, e, gradient } = this;
    const n = grid.columns;
    const first = this.row * n;
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
      // H is symmetric, so its rows serve as columns.
      for (let k = 0, at = j * n; k < n; k++, at++) gradient[k] += change * hessian[at];
      gradient[j] += change * extra;
      e[j] = now;
      levels[first + j] = level;
      moved++;
    }
    return moved;
  }

  /** One pass over the scales and offsets of some rows, block by block; adds what moved to their counts. */
  private moveScales(rows: readonly number[], counts: number[]): void {
    for (const block of this.blocks) {
      const { start, end } = block;
      const changes = new Float32Array(rows.length * (end - start));
      rows.forEach((row, i) => {
        this.open(row);
        counts[i] += this.moveBlock(block, changes.subarray(i * (end - start), (i + 1) * (end - start)));
      });
      this.push(block, rows, changes, start, end);
    }
  }

  /** The scales and offsets of a block of the row in hand; the changes of e are added to `changes`. */
  private moveBlock(block: Block, changes: Float32Array): number {
    const { size } = this.grid;
    const { scales, offsets, offsetKind } = this.grid;
    let moved = 0;
    for (let start = block.start; start < block.end; start += size) {
      const group = this.group(start);
      if (scales.values[group] === 0) continue;
      const zero = offsets && offsetKind === "zeroPoint" ? offsets.values[group] : 0;
      if (this.moveShared(scales, group, start, block, changes, (v) => v - zero)) moved++;
      if (!offsets || offsetKind !== "min") continue;
      if (this.moveShared(offsets, group, start, block, changes, () => 1)) moved++;
    }
    return moved;
  }

  /** Moves one shared number, whose unit changes element v by slope(v), if the stored result is better. */
  private moveShared(
    shared: SharedValues,
    group: number,
    start: number,
    block: Block,
    changes: Float32Array,
    slope: (v: number) => number,
  ): boolean {
    const { grid, e, gradient, delta, levels } = this;
    const first = this.row * grid.columns;
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
      // As the product over the other columns will have it.
      delta[j] = Math.fround(this.errorAt(j) - e[j]);
      change += 2 * delta[j] * gradient[j];
    }
    change += this.quadratic(start, end);
    if (!(change < 0)) {
      setCode(shared, group, before);
      return false;
    }
    this.pushInside(start, end, block);
    for (let j = start; j < end; j++) {
      e[j] = this.errorAt(j);
      changes[j - block.start] += delta[j];
    }
    return true;
  }

  /** The gradient inside a block follows `delta` of one of its groups. */
  private pushInside(start: number, end: number, block: Block): void {
    const { hessian, delta, extra, gradient, grid } = this;
    for (let i = start; i < end; i++) {
      const amount = delta[i];
      if (amount === 0) continue;
      const at = i * grid.columns;
      for (let j = block.start; j < block.end; j++) gradient[j] += amount * hessian[at + j];
      gradient[i] += amount * extra;
    }
  }

  /** delta^T (H + extra I) delta over a range of columns. */
  private quadratic(start: number, end: number): number {
    const { hessian, delta, extra, grid } = this;
    let sum = 0;
    for (let i = start; i < end; i++) {
      if (delta[i] === 0) continue;
      // Both halves of the symmetric H at once.
      let dot = 0;
      const at = i * grid.columns;
      for (let j = start; j < i; j++) dot += hessian[at + j] * delta[j];
      sum += delta[i] * (2 * dot + (hessian[at + i] + extra) * delta[i]);
    }
    return sum;
  }
}

/** Columns start .. end of a symmetric matrix, [n, end - start], in f32. */
function columnsOfSymmetric(h: Float64Array, n: number, start: number, end: number): Float32Array {
  const some = new Float32Array(n * (end - start));
  for (let i = 0; i < n; i++) some.set(h.subarray(i * n + start, i * n + end), i * (end - start));
  return some;
}
