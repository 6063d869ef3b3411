/**
 * Half-quadratic quantization: no data, a robust norm. Outliers should not pull a group's grid, so the error is measured
 * with |e|^p, p < 1. Splitting e = e' + rest turns that into two steps in turn: e' by generalised soft thresholding,
 * the grid's free parameter (the offset, or the scale where there is none) by a closed-form mean.
 *
 * Errors are counted in steps of the group's scale, so that the threshold means the same for every tensor; the paper
 * thresholds the weights' own units.
 */
import { quantize } from "../tensor/index.js";
import { type Grid, hasGrid, nearestLevels, packGrid, ruleGrid, setCode } from "./grid.js";
import { nearestLevel } from "./levels.js";
import { method, powerError } from "./method.js";

export const hqq = method({
  name: "hqq",
  summary: "offsets (or scales, without offsets) by half-quadratic splitting of a p-norm, no data",
  source: "Badri and Shaji 2023, Half-Quadratic Quantization; scale-only form as in torchao",
  options: {
    norm: { kind: "number", summary: "the p of |w - w'|^p", default: 0.7, min: 0.1, max: 1 },
    beta: { kind: "number", summary: "strength of the quadratic term at the start", default: 10, min: 0.001 },
    kappa: { kind: "number", summary: "its growth each iteration", default: 1.01, min: 1, max: 10 },
    iterations: { kind: "integer", summary: "at most so many", default: 20, min: 1, max: 1000 },
  },
  needs: () => "nothing",
  objective: ({ norm }) => powerError(norm),
  quantize({ scheme, values, shape }, options) {
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    const { rows, columns, size, groups } = grid;
    for (let k = 0; k < rows * groups; k++) {
      const first = Math.floor(k / groups) * columns;
      const start = first + (k % groups) * size;
      improveGroup(grid, k, values.subarray(start, Math.min(start + size, first + columns)), options);
    }
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});

interface Settings {
  readonly norm: number;
  readonly beta: number;
  readonly kappa: number;
  readonly iterations: number;
}

/** Iterations without gain that end the work on a group. (The paper stops at the first, over a whole tensor.) */
const PATIENCE = 3;

/** Scale and offset of one group, kept only if the p-norm of its error becomes smaller. */
function improveGroup(grid: Grid, k: number, x: Float32Array, { norm, beta, kappa, iterations }: Settings): void {
  const { scales, offsets, offsetKind, levels } = grid;
  const isMin = offsetKind === "min";
  let s = scales.values[k];
  if (s === 0) return;
  // The shift m of w = s v + m, whatever the scheme's own form of it.
  let m = offsets ? (isMin ? offsets.values[k] : -s * offsets.values[k]) : 0;
  const cost = (scale: number, shift: number) => {
    let sum = 0;
    for (const value of x) {
      const level = levels.values[nearestLevel(levels, (value - shift) / scale)];
      sum += Math.abs(value - shift - scale * level) ** norm;
    }
    return sum;
  };
  const codesOf = () => ({
    scale: offsets ? scales.codes[k] : scales.toCode(s, k),
    offset: offsets ? offsets.toCode(isMin ? m : -m / s, k) : 0,
  });
  const costOf = (codes: ReturnType<typeof codesOf>) => {
    const scale = scales.toValue(codes.scale, k);
    if (!offsets) return scale === 0 ? Number.POSITIVE_INFINITY : cost(scale, 0);
    const offset = offsets.toValue(codes.offset, k);
    return cost(scale, isMin ? offset : -scale * offset);
  };
  let best = { codes: { scale: scales.codes[k], offset: offsets?.codes[k] ?? 0 }, cost: cost(s, m) };
  let idle = 0;
  for (let iteration = 0, b = beta; iteration < iterations && best.cost > 0; iteration++, b *= kappa) {
    let [rest, cross, square] = [0, 0, 0];
    for (const value of x) {
      const v = levels.values[nearestLevel(levels, (value - m) / s)];
      const e = (value - m - s * v) / s;
      const magnitude = Math.abs(e);
      const kept = magnitude === 0 ? 0 : Math.sign(e) * Math.max(0, magnitude - magnitude ** (norm - 1) / b);
      const target = value - kept * s;
      rest += target - s * v;
      cross += target * v;
      square += v * v;
    }
    if (offsets) m = rest / x.length;
    else if (square > 0 && cross !== 0) s = cross / square;
    const codes = codesOf();
    const now = costOf(codes);
    if (now < best.cost) best = { codes, cost: now };
    else if (++idle === PATIENCE) break;
  }
  setCode(scales, k, best.codes.scale);
  if (offsets) setCode(offsets, k, best.codes.offset);
}
