/**
 * GPTQ: columns are rounded one after another, and what rounding did to a column is made up for by the columns that are
 * still free, along the curvature H = E[x x^T] of the layer's own output error. Scales are searched before, from the
 * original weights and in the original order ("static groups"), so any order of columns keeps the file's layout and every
 * scheme works: rounding is only "the nearest level of this group".
 *
 * With H^-1 = U^T U, U upper triangular: for each column i, e = (w_i - q_i) / U_ii, and w_j -= e U_ij for j > i; blocks of
 * columns first within, then for all that follow. What results is a good start for coordinate descent on the same error
 * (coordinate-descent.ts), which on held-out inputs of the demo model takes another 3 to 15 % off it.
 */
import { type Products, plainProducts, transposed } from "../kernels/index.js";
import { choice, type ValuesOf } from "../options.js";
import { quantize } from "../tensor/index.js";
import { improve } from "./coordinate-descent.js";
import { dampedInverseFactor } from "./damping.js";
import { againstDrift } from "./drift.js";
import { type Grid, hasGrid, levelIn, nearestLevels, packGrid, valueIn } from "./grid.js";
import { method } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { type InputStatistics, outputError } from "./statistics.js";

const OPTIONS = {
  damping: { kind: "number", summary: "share of the mean diagonal added to H", default: 0.05, min: 0, max: 1 },
  order: choice(
    "order of columns: by falling diagonal of H; whole groups, then inside them; or as they stand",
    ["activation", "groups", "none"],
    "activation",
  ),
  ...SCALE_OPTIONS,
  block: { kind: "integer", summary: "columns updated together", default: 128, min: 1, max: 65536 },
  sweeps: {
    kind: "integer",
    summary: "passes of coordinate descent over codes and scales afterwards",
    default: 4,
    min: 0,
    max: 100,
  },
  propagation: {
    kind: "number",
    summary: "share of the errors coming in from earlier layers that a map makes up for",
    default: 0,
    min: 0,
    max: 1,
  },
} as const;
type Options = ValuesOf<typeof OPTIONS>;

export const gptq = method({
  name: "gptq",
  summary: "columns rounded in turn, later ones making up for earlier ones, then codes and scales polished",
  source:
    "Frantar et al. 2022, arXiv 2210.17323, static groups and activation order as in its reference code; " +
    "then coordinate descent (Chee et al. 2023, arXiv 2307.13304), which sweeps=0 leaves out; " +
    "with propagation the target is that of Arai and Ichikawa 2025, arXiv 2504.09629",
  options: OPTIONS,
  needs: ({ propagation }) => (propagation > 0 ? "drift" : "hessian"),
  objective: () => (job, other) => (job.statistics ? outputError(job.values, other, job.statistics) : 0),
  quantize(job, options) {
    const { scheme, shape, statistics } = job;
    const values = againstDrift(job, options.propagation, options.damping);
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = searchedGrid({ ...job, values }, options);
    if (!statistics?.hessian) return { packed: packGrid(grid, nearestLevels(grid, values)) };
    const { levels, notes } = roundColumns(grid, values, statistics, options, job.products);
    const settings = { damping: notes.damping, sweeps: options.sweeps };
    const moved = improve(grid, values, levels, statistics, settings, job.products);
    return { packed: packGrid(grid, levels), notes: { ...notes, moved } };
  },
});

/** The levels of all elements, error fed forward. */
export function roundColumns(
  grid: Grid,
  values: Float32Array,
  statistics: InputStatistics,
  options: Pick<Options, "damping" | "order" | "block">,
  products: Products = plainProducts,
) {
  const { rows, columns, size, groups } = grid;
  const order = columnOrder(grid, statistics.meanSquare, options.order);
  const { factor, notes } = dampedInverseFactor(statistics, options.damping, order);
  // Transposed and in working order, so that every update runs along memory.
  const work = new Float32Array(columns * rows);
  order.forEach((column, i) => {
    for (let row = 0; row < rows; row++) work[i * rows + row] = values[row * columns + column];
  });
  const levels = new Uint16Array(values.length);
  const errors = new Float32Array(Math.min(options.block, columns) * rows);
  let loss = 0;
  for (let start = 0; start < columns; start += options.block) {
    const end = Math.min(start + options.block, columns);
    for (let i = start; i < end; i++) {
      const column = order[i];
      const inverse = 1 / factor[i * columns + i];
      const w = work.subarray(i * rows, (i + 1) * rows);
      const e = errors.subarray((i - start) * rows, (i - start + 1) * rows);
      const g = Math.floor(column / size);
      for (let row = 0; row < rows; row++) {
        const level = levelIn(grid, row * groups + g, w[row]);
        levels[row * columns + column] = level;
        e[row] = (w[row] - valueIn(grid, row * groups + g, level)) * inverse;
        loss += e[row] * e[row];
      }
      for (let j = i + 1; j < end; j++)
        subtract(work, j * rows, errors, (i - start) * rows, factor[i * columns + j], rows);
    }
    if (end < columns)
      makeUp(
        work.subarray(end * rows),
        errors.subarray(0, (end - start) * rows),
        rows,
        (i, j) => factor[(start + i) * columns + end + j],
        products,
      );
  }
  return { levels, notes: { ...notes, loss: loss / 2 } };
}

/** a[at + r] -= f b[from + r]. */
function subtract(a: Float32Array, at: number, b: Float32Array, from: number, f: number, count: number): void {
  if (f === 0) return;
  for (let r = 0; r < count; r++) a[at + r] -= f * b[from + r];
}

/** Columns after a block, [later columns, rows], less what the block's errors [block, rows] say: one product for all. */
function makeUp(
  later: Float32Array,
  errors: Float32Array,
  rows: number,
  factorAt: (column: number, later: number) => number,
  products: Products,
): void {
  const [block, count] = [errors.length / rows, later.length / rows];
  const factors = new Float32Array(count * block);
  for (let j = 0; j < count; j++) for (let i = 0; i < block; i++) factors[j * block + i] = factorAt(i, j);
  const change = products.multiply(factors, transposed(errors, rows), block);
  for (let i = 0; i < later.length; i++) later[i] -= change[i];
}

/** Positions of the working order: which column comes i-th. Ties keep their order. */
function columnOrder({ size, columns }: Grid, power: Float64Array, order: Options["order"]): number[] {
  const all = Array.from({ length: columns }, (_, column) => column);
  if (order === "none") return all;
  if (order === "activation") return all.sort((a, b) => power[b] - power[a]);
  const strongest = new Map<number, number>();
  const groupOf = (column: number) => Math.floor(column / size);
  for (const column of all) {
    strongest.set(groupOf(column), Math.max(strongest.get(groupOf(column)) ?? 0, power[column]));
  }
  return all.sort((a, b) => {
    const [ga, gb] = [groupOf(a), groupOf(b)];
    if (ga === gb) return power[b] - power[a];
    return (strongest.get(gb) ?? 0) - (strongest.get(ga) ?? 0) || ga - gb;
  });
}
