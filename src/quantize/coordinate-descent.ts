/**
 * Coordinate descent on the output error of a rounded matrix. With e = w - q of a row and H = E[x x^T], the error e^T H e is a
 * parabola in every number that may still change. Block of columns by block, each code goes to the level nearest to the lowest
 * point of its parabola, then each group's scale and offset to the stored number nearest to theirs. No step makes the error
 * larger, but for the rounding of gradients.
 *
 * Rows have nothing to do with each other, so they go through each block together: what its changes do to the gradients of all
 * other columns is one product of matrices. What a scale does inside is a multiple of H v, v being the levels that it
 * multiplies; that of all rows is a product, too.
 *
 * Codes: the greedy updates of QuIP (Chee et al. 2023, arXiv 2307.13304). Scales in turn with codes: decoupleQ (Guo et al. 2024,
 * arXiv 2404.12759), here one group at a time and within the scheme's scale format.
 */
import { type LoadedFactor, type Products, plainProducts } from "../kernels/index.js";
import { type Grid, type SharedValues, setCode, valueIn } from "./grid.js";
import { nearestLevel } from "./levels.js";
import type { InputStatistics } from "./statistics.js";

export interface DescentOptions {
  /** Share of the mean diagonal added to H. */
  readonly damping: number;
  /** At most so many passes over a row. */
  readonly sweeps: number;
}

/** Numbers of the rows in hand, at most (or one row): each has an error and a gradient in binary64. */
const ROWS_WEIGHTS = 2 ** 18;
/** Steps between levels that a code's lowest point may be off without another level coming near. */
const NEAR = 0.4;
/** Columns of a block, at least, where groups are smaller. */
const BLOCK_COLUMNS = 128;

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
  readonly groups: readonly Group[];
}

interface Group {
  readonly start: number;
  readonly end: number;
  /** H between the columns of the block and these, [columns of the block, end - start]. */
  readonly factor: LoadedFactor;
  /** Its sums over these columns: what an offset does to the gradients. */
  readonly sums: Float32Array;
}

/** What a unit of a shared number does in some rows. */
interface Effect {
  /** To each element of the group, [rows, columns of the group], or one row for all. */
  readonly slopes: Float32Array;
  /** H times that, [rows, columns of the block], or one row for all. */
  readonly pulls: Float32Array;
}

class Descent {
  private readonly grid: Grid;
  private readonly values: Float32Array;
  private readonly levels: Uint16Array;
  private readonly hessian: Float64Array;
  private readonly diagonal: Float64Array;
  private readonly extra: number;
  private readonly blocks: readonly Block[];
  private readonly ones: Float32Array;
  /** Of the rows in hand: the errors e, and the gradients (H + extra I) e, kept up to date. */
  private readonly errors: Float64Array;
  private readonly gradients: Float64Array;
  /** Room for the changes of e in a block, of all rows and of those that have some. */
  private readonly changes: Float32Array;
  private readonly movedRows: Float32Array;
  private readonly slopes: Float32Array;
  private firstRow = 0;

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
    this.diagonal = Float64Array.from({ length: columns }, (_, j) => hessian[j * columns + j]);
    this.extra = (damping * this.diagonal.reduce((sum, x) => sum + x, 0)) / columns;
    this.errors = new Float64Array(rows * columns);
    this.gradients = new Float64Array(rows * columns);
    this.ones = new Float32Array(size).fill(1);
    const width = size * Math.ceil(BLOCK_COLUMNS / size);
    this.changes = new Float32Array(rows * Math.min(width, columns));
    this.movedRows = new Float32Array(this.changes.length);
    this.slopes = new Float32Array(rows * Math.min(size, columns));
    this.blocks = rangesOf(0, columns, width).map(([start, end]) => ({
      start,
      end,
      factor: products.load(partOf(hessian, columns, [0, columns], [start, end]), end - start),
      groups: rangesOf(start, end, size).map(([from, to]) => {
        const part = partOf(hessian, columns, [start, end], [from, to]);
        return { start: from, end: to, factor: products.load(part, to - from), sums: rowSums(part, to - from) };
      }),
    }));
  }

  dispose(): void {
    for (const { factor, groups } of this.blocks) {
      for (const group of groups) group.factor.dispose();
      factor.dispose();
    }
  }

  /** All sweeps over some rows; how much moved. */
  run(rows: readonly number[], sweeps: number): number {
    this.start(rows);
    let moved = 0;
    let active = rows;
    for (let sweep = 0; sweep < sweeps && active.length > 0; sweep++) {
      const counts = active.map(() => 0);
      for (const block of this.blocks) this.moveBlock(block, active, counts);
      moved += counts.reduce((sum, count) => sum + count, 0);
      active = active.filter((_, i) => counts[i] > 0);
    }
    return moved;
  }

  private start(rows: readonly number[]): void {
    const { columns } = this.grid;
    this.firstRow = rows[0];
    for (const row of rows) {
      const base = this.baseOf(row);
      for (let j = 0; j < columns; j++) {
        this.errors[base + j] = this.errorAt(row, j);
        this.gradients[base + j] = this.extra * this.errors[base + j];
      }
    }
    for (const block of this.blocks) {
      const width = block.end - block.start;
      const changes = this.changes.subarray(0, rows.length * width);
      rows.forEach((row, i) => {
        const base = this.baseOf(row);
        changes.set(this.errors.subarray(base + block.start, base + block.end), i * width);
      });
      this.push(block, rows, changes, columns, columns);
    }
  }

  /** Where a row begins in errors and gradients. */
  private baseOf(row: number): number {
    return (row - this.firstRow) * this.grid.columns;
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
    const width = end - start;
    // Rows without a change need no product.
    const moved = rows.map((_, i) => i).filter((i) => !isZero(changes, i * width, width));
    if (moved.length === 0) return;
    const some = this.movedRows.subarray(0, moved.length * width);
    for (let k = 0; k < moved.length; k++) {
      const i = moved[k];
      some.set(changes.subarray(i * width, (i + 1) * width), k * width);
    }
    factor.lend(some, (product) => {
      for (let k = 0; k < moved.length; k++) {
        const base = this.baseOf(rows[moved[k]]);
        addTo(this.gradients, base, base + from, product, k * columns);
        addTo(this.gradients, base + to, base + columns, product, k * columns + to);
      }
    });
  }

  private errorAt(row: number, j: number): number {
    const { grid, values, levels } = this;
    const at = row * grid.columns + j;
    return values[at] - valueIn(grid, row * grid.groups + Math.floor(j / grid.size), levels[at]);
  }

  /** One pass over the codes of a block in a row, whose changes of e begin at changes[to]; how many moved. */
  private moveCodes(block: Block, row: number, changes: Float32Array, to: number): number {
    const { grid, values, levels, hessian, diagonal, extra, errors, gradients } = this;
    const { columns: n, size, scales, offsets, offsetKind } = grid;
    const [first, base] = [row * n, this.baseOf(row)];
    let moved = 0;
    for (const { start, end } of block.groups) {
      const group = row * grid.groups + start / size;
      const s = scales.values[group];
      // One level is as good as another.
      if (s === 0) continue;
      const offset = offsets ? offsets.values[group] : 0;
      const [min, shift] = offsetKind === "zeroPoint" ? [0, offset] : [offset, 0];
      // Evenly spaced levels that lie further away than the lowest point, whatever was rounded on the way, need no look.
      const near = NEAR * Math.abs(s) * grid.levels.step;
      for (let j = start; j < end; j++) {
        const own = diagonal[j];
        // A channel that was never active says nothing.
        if (own === 0) continue;
        const [error, slope] = [errors[base + j], gradients[base + j]];
        if (Math.abs(slope) < near * (own + extra)) continue;
        const lowest = error - slope / (own + extra);
        const level = nearestLevel(grid.levels, (values[first + j] - lowest - min) / s + shift);
        if (level === levels[first + j]) continue;
        const now = values[first + j] - valueIn(grid, group, level);
        const change = now - error;
        // Equally good levels stay, so that the descent ends.
        if (change * (2 * slope + (own + extra) * change) >= 0) continue;
        // H is symmetric, so its rows serve as columns.
        for (let k = block.start, at = j * n; k < block.end; k++) gradients[base + k] += change * hessian[at + k];
        gradients[base + j] += change * extra;
        changes[to + j - block.start] += change;
        errors[base + j] = now;
        levels[first + j] = level;
        moved++;
      }
    }
    return moved;
  }

  /** One pass over codes, scales and offsets of a block in some rows; adds what moved to their counts. */
  private moveBlock(block: Block, rows: readonly number[], counts: number[]): void {
    const { scales, offsets, offsetKind, size, groups } = this.grid;
    const width = block.end - block.start;
    const changes = this.changes.subarray(0, rows.length * width).fill(0);
    for (let i = 0; i < rows.length; i++) counts[i] += this.moveCodes(block, rows[i], changes, i * width);
    for (const group of block.groups) {
      const slopes = this.slopesOf(group, rows);
      const ofOffset = { slopes: this.ones, pulls: group.sums };
      group.factor.lend(slopes, (pulls) => {
        for (let i = 0; i < rows.length; i++) {
          const k = rows[i] * groups + group.start / size;
          if (scales.values[k] === 0) continue;
          if (this.moveShared(scales, k, block, group, { slopes, pulls }, i, rows[i], changes, i)) counts[i]++;
          if (!offsets || offsetKind !== "min") continue;
          if (this.moveShared(offsets, k, block, group, ofOffset, 0, rows[i], changes, i)) counts[i]++;
        }
      });
    }
    this.push(block, rows, changes, block.start, block.end);
  }

  /** What the scale of a group multiplies in some rows, [rows, columns of the group]. */
  private slopesOf({ start, end }: Group, rows: readonly number[]): Float32Array {
    const { grid, levels } = this;
    const { offsets, offsetKind, columns, size, groups } = grid;
    const slopes = this.slopes.subarray(0, rows.length * (end - start));
    let at = 0;
    for (const row of rows) {
      const zero = offsets && offsetKind === "zeroPoint" ? offsets.values[row * groups + start / size] : 0;
      for (let j = row * columns + start; j < row * columns + end; j++) {
        slopes[at++] = grid.levels.values[levels[j]] - zero;
      }
    }
    return slopes;
  }

  /** Moves shared number k, whose effect stands in row `i` of `effect`, if the stored result is better; adds to row `to` of the changes of e. */
  private moveShared(
    shared: SharedValues,
    k: number,
    block: Block,
    { start, end }: Group,
    { slopes, pulls }: Effect,
    i: number,
    row: number,
    changes: Float32Array,
    to: number,
  ): boolean {
    const { gradients, errors, extra } = this;
    const width = block.end - block.start;
    const base = this.baseOf(row);
    const slopeAt = i * (end - start) - start;
    const pullAt = i * width - block.start;
    let [along, curvature] = [0, 0];
    for (let j = start; j < end; j++) {
      const slope = slopes[slopeAt + j];
      along += slope * gradients[base + j];
      curvature += slope * (pulls[pullAt + j] + extra * slope);
    }
    if (!(curvature > 0)) return false;
    const before = shared.values[k];
    const code = shared.toCode(before + along / curvature, k);
    if (code === shared.codes[k]) return false;
    const step = shared.toValue(code, k) - before;
    if (!(step * (step * curvature - 2 * along) < 0)) return false;
    setCode(shared, k, code);
    for (let j = block.start; j < block.end; j++) gradients[base + j] -= step * pulls[pullAt + j];
    const changeAt = to * width - block.start;
    for (let j = start; j < end; j++) {
      gradients[base + j] -= extra * step * slopes[slopeAt + j];
      const now = this.errorAt(row, j);
      changes[changeAt + j] += now - errors[base + j];
      errors[base + j] = now;
    }
    return true;
  }
}

type Range = readonly [start: number, end: number];

/** Start to end in steps of `size`. */
function rangesOf(start: number, end: number, size: number): Range[] {
  return Array.from({ length: Math.ceil((end - start) / size) }, (_, i): Range => {
    return [start + i * size, Math.min(start + (i + 1) * size, end)];
  });
}

/** Rows and columns of an n x n matrix, in f32. */
function partOf(h: Float64Array, n: number, [top, bottom]: Range, [left, right]: Range): Float32Array {
  const some = new Float32Array((bottom - top) * (right - left));
  for (let i = top; i < bottom; i++) some.set(h.subarray(i * n + left, i * n + right), (i - top) * (right - left));
  return some;
}

const rowSums = (a: Float32Array, columns: number): Float32Array =>
  Float32Array.from({ length: a.length / columns }, (_, i) => {
    return a.subarray(i * columns, (i + 1) * columns).reduce((sum, x) => sum + x, 0);
  });

function isZero(a: Float32Array, start: number, count: number): boolean {
  for (let i = start; i < start + count; i++) if (a[i] !== 0) return false;
  return true;
}

/** a[from + i] += b[at + i] up to a[to]. */
function addTo(a: Float64Array, from: number, to: number, b: Float32Array, at: number): void {
  for (let j = from, i = at; j < to; j++, i++) a[j] += b[i];
}
