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
import { groupSize } from "../formats/index.js";
import { type Feedback, openFeedback, type Products, plainProducts, transposed } from "../kernels/index.js";
import { choice, type ValuesOf } from "../options.js";
import { columnsOf, quantize } from "../tensor/index.js";
import { improve } from "./coordinate-descent.js";
import { dampedInverseFactor } from "./damping.js";
import { againstDrift, driftMap } from "./drift.js";
import { columnRounder, type Grid, hasGrid, nearestLevels, packGrid } from "./grid.js";
import { method, type PreparationJob, type Prepared } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { outputError } from "./statistics.js";

const OPTIONS = {
  damping: { kind: "number", summary: "share of the mean diagonal added to H", default: 0.05, min: 0, max: 1 },
  order: choice(
    "order of columns: by falling diagonal of H; whole groups, then inside them; or as they stand",
    ["activation", "groups", "none"],
    "activation",
  ),
  ...SCALE_OPTIONS,
  block: { kind: "integer", summary: "columns updated together", default: 64, min: 1, max: 65536 },
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

/** The way along the columns. */
export interface Walk {
  /** Which column comes i-th. */
  readonly order: Uint32Array;
  /** U, upper triangular, with H^-1 = U^T U, rows and columns in that order. */
  readonly factor: Float64Array;
  readonly notes: { readonly deadColumns: number; readonly dampingRetries: number; readonly damping: number };
}

interface Common extends Prepared {
  readonly walk?: Walk;
  /** What a matrix is multiplied with to make up for errors from before; see drift.ts. */
  readonly change?: Float32Array;
}

export const gptq = method({
  name: "gptq",
  summary: "columns rounded in turn, later ones making up for earlier ones, then codes and scales polished",
  source:
    "Frantar et al. 2022, arXiv 2210.17323, static groups and activation order as in its reference code; " +
    "then coordinate descent (Chee et al. 2023, arXiv 2307.13304), which sweeps=0 leaves out; " +
    "with propagation the target is that of Arai and Ichikawa 2025, arXiv 2504.09629",
  options: OPTIONS,
  needs: ({ propagation }) => (propagation > 0 ? "drift" : "hessian"),
  rowwise: true,
  objective: () => (job, other) => (job.statistics ? outputError(job.values, other, job.statistics) : 0),
  prepare: prepareRows,
  quantize(job, options, prepared?: Common) {
    const { walk, change } = prepared ?? prepareRows(job, options);
    const { scheme, shape, statistics, products } = job;
    const values = againstDrift(job, change);
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = searchedGrid({ ...job, values }, options);
    if (!statistics?.hessian || !walk) return { packed: packGrid(grid, nearestLevels(grid, values)) };
    const { levels, loss } = roundColumns(grid, values, walk, options.block, products);
    const settings = { damping: walk.notes.damping, sweeps: options.sweeps };
    const moved = improve(grid, values, levels, statistics, settings, products);
    return { packed: packGrid(grid, levels), notes: { ...walk.notes, loss, moved } };
  },
});

function prepareRows(job: PreparationJob, options: Options): Common {
  const walk = walkFor(job, options);
  return { walk, change: driftMap(job, options.propagation, options.damping), notes: walk?.notes };
}

/** How GPTQ goes along the columns of a matrix; undefined where there are no scales, or no Hessian is known. */
export function walkFor(
  { scheme, shape, statistics }: PreparationJob,
  { damping, order }: Pick<Options, "damping" | "order">,
): Walk | undefined {
  if (!scheme.scale || !hasGrid(scheme) || !statistics?.hessian) return undefined;
  const columns = columnOrder(groupSize(scheme.scale.per, columnsOf(shape)), statistics.meanSquare, order);
  return { order: columns, ...dampedInverseFactor(statistics, damping, columns) };
}

/** The levels of all elements, error fed forward; `loss` is half the sum of (w - q)^2 / U_ii^2. */
export function roundColumns(
  grid: Grid,
  values: Float32Array,
  { order, factor }: Walk,
  block: number,
  products: Products = plainProducts,
) {
  const { rows, columns, size } = grid;
  // Transposed and in working order, so that every update runs along memory.
  const work = new Float32Array(columns * rows);
  order.forEach((column, i) => {
    for (let row = 0, at = column; row < rows; row++, at += columns) work[i * rows + row] = values[at];
  });
  const found = new Uint16Array(columns * rows);
  const rounded = new Float32Array(rows);
  const feedback = openFeedback(rows, Math.min(block, columns));
  const { factors, errors, stride } = feedback;
  const roundRows = columnRounder(grid);
  let loss = 0;
  for (let start = 0; start < columns; start += block) {
    const end = Math.min(start + block, columns);
    for (let i = start; i < end; i++) {
      const inverse = 1 / factor[i * columns + i];
      const w = work.subarray(i * rows, (i + 1) * rows);
      const e = errors.subarray((i - start) * stride, (i - start) * stride + rows);
      for (let k = start; k < i; k++) factors[k - start] = factor[k * columns + i];
      feedback.takeOff(w, i - start);
      roundRows(w, Math.floor(order[i] / size), found.subarray(i * rows, (i + 1) * rows), rounded);
      for (let row = 0; row < rows; row++) {
        e[row] = (w[row] - rounded[row]) * inverse;
        loss += e[row] * e[row];
      }
    }
    if (end < columns) makeUp(work, feedback, rows, { factor, columns, start, end }, products);
  }
  const levels = new Uint16Array(values.length);
  order.forEach((column, i) => {
    for (let row = 0, at = column; row < rows; row++, at += columns) levels[at] = found[i * rows + row];
  });
  return { levels, loss: loss / 2 };
}

interface Block {
  readonly factor: Float64Array;
  readonly columns: number;
  readonly start: number;
  readonly end: number;
}

/** Columns after a block, less what the block's errors say of them: one product for all. */
function makeUp(
  work: Float32Array,
  { errors, stride }: Feedback,
  rows: number,
  { factor, columns, start, end }: Block,
  products: Products,
): void {
  const [block, count] = [end - start, columns - end];
  const factors = new Float32Array(count * block);
  for (let i = 0; i < block; i++) {
    for (let j = 0, at = (start + i) * columns + end; j < count; j++, at++) factors[j * block + i] = factor[at];
  }
  const byRow = transposed(errors.subarray(0, block * stride), stride).subarray(0, rows * block);
  const change = products.multiply(factors, byRow, block);
  for (let i = 0, at = end * rows; i < change.length; i++, at++) work[at] -= change[i];
}

/** Which column comes i-th. Ties keep their order. */
function columnOrder(size: number, power: Float64Array, order: Options["order"]): Uint32Array {
  const all = Uint32Array.from(power, (_, column) => column);
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
