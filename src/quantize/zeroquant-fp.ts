/**
 * ZeroQuant-FP: FP4 weights in fine groups whose scales differ by powers of two alone, so that a cast from FP4 to the FP8 of the
 * activations is a shift of exponents. M1 takes every scale to a power of two; M2 keeps the largest scale S of each row and
 * makes the others S / 2^k. The paper rounds M1 up and M2 down; here each scale takes the neighbour of less squared error.
 */
import { choice, type ValuesOf } from "../options.js";
import { quantize } from "../tensor/index.js";
import { roundColumns, type Walk, walkFor } from "./gptq.js";
import { type Grid, hasGrid, levelIn, nearestLevels, packGrid, setCode, valueIn } from "./grid.js";
import { method, type PreparationJob, type Prepared } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { type InputStatistics, outputError } from "./statistics.js";

const OPTIONS = {
  constraint: choice(
    "scales are powers of two (m1), or the row's largest over powers of two (m2), or free",
    ["m1", "m2", "none"],
    "m2",
  ),
  rounding: choice("how codes are chosen under these scales", ["gptq", "nearest"], "gptq"),
  ...SCALE_OPTIONS,
  damping: { kind: "number", summary: "share of the mean diagonal added to H", default: 0.05, min: 0, max: 1 },
  order: choice("order of columns, as for gptq", ["activation", "groups", "none"], "activation"),
  block: { kind: "integer", summary: "columns updated together", default: 64, min: 1, max: 65536 },
} as const;

export const zeroquantFp = method({
  name: "zeroquant-fp",
  summary: "scales that differ by powers of two, so that FP4 becomes FP8 by a shift, and GPTQ under them",
  source:
    "Wu, Yao and He 2023 (ZeroQuant-FP), arXiv 2307.09782, section 4 (M1, M2); with lorc and activations e4m3fn-row",
  options: OPTIONS,
  constrainsScales: true,
  needs: ({ rounding }) => (rounding === "gptq" ? "hessian" : "squares"),
  objective: () => (job, other) => (job.statistics ? outputError(job.values, other, job.statistics) : 0),
  rowwise: true,
  prepare: prepareRows,
  quantize(job, options, prepared?: Common) {
    const { walk } = prepared ?? prepareRows(job, options);
    const { scheme, values, shape, statistics } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = searchedGrid(job, options);
    if (options.constraint !== "none") constrain(grid, values, options.constraint, statistics);
    if (!walk) return { packed: packGrid(grid, nearestLevels(grid, values)) };
    const { levels, loss } = roundColumns(grid, values, walk, options.block, job.products);
    return { packed: packGrid(grid, levels), notes: { ...walk.notes, loss } };
  },
});

interface Common extends Prepared {
  readonly walk?: Walk;
}

function prepareRows(job: PreparationJob, options: ValuesOf<typeof OPTIONS>): Common {
  const walk = options.rounding === "gptq" ? walkFor(job, options) : undefined;
  return { walk, notes: walk?.notes };
}

/** Moves every scale to one of its two neighbours base / 2^k: base is 1 (m1), or the largest scale of the row (m2). */
function constrain(grid: Grid, values: Float32Array, constraint: "m1" | "m2", statistics?: InputStatistics): void {
  const { rows, groups, scales } = grid;
  for (let row = 0; row < rows; row++) {
    const first = row * groups;
    const own = scales.values.subarray(first, first + groups);
    const base = constraint === "m1" ? 1 : own.reduce((most, s) => Math.max(most, Math.abs(s)), 0);
    own.forEach((scale, g) => {
      if (scale === 0 || base === 0) return;
      const exponent = Math.log2(Math.abs(scale) / base);
      const codes = [Math.floor(exponent), Math.ceil(exponent)].map((k) =>
        scales.toCode(Math.sign(scale) * base * 2 ** k, first + g),
      );
      const before = scales.codes[first + g];
      const errors = codes.map((code) => {
        setCode(scales, first + g, code);
        return groupError(grid, values, row, g, statistics);
      });
      const usable = codes.filter((code) => scales.toValue(code, first + g) !== 0);
      setCode(scales, first + g, usable.length < 2 ? (usable[0] ?? before) : codes[errors[0] < errors[1] ? 0 : 1]);
    });
  }
}

/** sum of E[x_j^2] (w - q)^2 over a group, rounded to nearest. */
function groupError(grid: Grid, values: Float32Array, row: number, g: number, statistics?: InputStatistics): number {
  const { columns, size, groups } = grid;
  const end = Math.min((g + 1) * size, columns);
  let sum = 0;
  for (let j = g * size; j < end; j++) {
    const w = values[row * columns + j];
    const group = row * groups + g;
    const error = w - valueIn(grid, group, levelIn(grid, group, w));
    sum += (statistics?.meanSquare[j] ?? 1) * error * error;
  }
  return sum;
}
