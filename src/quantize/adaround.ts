/**
 * AdaRound: rounding up or down is learned, not taken from the nearer side. Every weight lies between two neighbouring
 * levels v and v + d of its group, and takes
 *
 *     w' = v + d h(V),      h(V) = clip(1.2 sigmoid(V) - 0.1, 0, 1),
 *
 * with V found by gradient descent (Adam) on the output error tr((W - W') H (W - W')^T), H = E[x x^T], plus a penalty
 * lambda (1 - |2h - 1|^beta) that drives h to 0 or 1 while beta falls. As H is known, no activations are needed.
 *
 * Nothing in it asks for even spacing: floating point and codebooks only have another d for each weight.
 */
import { type LoadedFactor, plainProducts } from "../kernels/index.js";
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import { type Grid, hasGrid, levelIn, nearestLevels, packGrid, valueIn } from "./grid.js";
import { method, type QuantizationJob } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { type InputStatistics, outputError } from "./statistics.js";

const OPTIONS = {
  iterations: { kind: "integer", summary: "steps of gradient descent", default: 400, min: 1, max: 100000 },
  rate: { kind: "number", summary: "learning rate of Adam", default: 0.05, min: 0.0001, max: 1 },
  penalty: { kind: "number", summary: "lambda, against the mean squared step at the output", default: 3, min: 0 },
  ...SCALE_OPTIONS,
} as const;

interface Descent {
  readonly iterations: number;
  readonly rate: number;
  readonly penalty: number;
}

export const adaround = method({
  name: "adaround",
  summary: "rounding up or down learned by gradient descent on the output error of the matrix",
  source: "Nagel et al. 2020, arXiv 2004.10568, equations 21 to 25, the error taken from E[x x^T]",
  options: OPTIONS,
  needs: () => "hessian",
  objective: () => (job, other) => (job.statistics ? outputError(job.values, other, job.statistics) : 0),
  quantize(job, options) {
    const { scheme, values, shape, statistics, products = plainProducts } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = searchedGrid(job, options);
    const levels = nearestLevels(grid, values);
    if (!statistics?.hessian) return { packed: packGrid(grid, levels) };
    const hessian = products.load(Float32Array.from(statistics.hessian), grid.columns);
    try {
      const moved = learnLevels(grid, values, levels, statistics, hessian, options);
      return { packed: betterThanRule(job, packGrid(grid, levels), hessian), notes: { moved } };
    } finally {
      hessian.dispose();
    }
  },
});

/** Rows that are worked on together: memory is bounded, products are large enough. */
const ROWS = 1024;

/** Changes `levels` of every row whose error becomes smaller by it; how many moved. */
function learnLevels(
  grid: Grid,
  values: Float32Array,
  levels: Uint16Array,
  { meanSquare }: InputStatistics,
  hessian: LoadedFactor,
  descent: Descent,
): number {
  const { rows, columns } = grid;
  let moved = 0;
  for (let first = 0; first < rows; first += ROWS) {
    const count = Math.min(ROWS, rows - first);
    const choices = choicesOf(grid, values, first, count);
    const up = learn(choices, meanSquare, columns, hessian, descent);
    const learned = choices.low.map((level, i) => level + up[i]);
    const nearest = levels.subarray(first * columns, (first + count) * columns);
    const costs = [nearest, learned].map((chosen) => rowErrors(choices, chosen, columns, hessian));
    for (let row = 0; row < count; row++) {
      if (costs[1][row] >= costs[0][row]) continue;
      for (let i = row * columns; i < (row + 1) * columns; i++) {
        if (learned[i] !== nearest[i]) moved++;
        nearest[i] = learned[i];
      }
    }
  }
  return moved;
}

/** Between which levels each of some rows' weights lies. */
interface Choices {
  readonly values: Float32Array;
  /** The level of lower index. */
  readonly low: Uint16Array;
  /** w - v and d; d = 0 where only one level is within reach. */
  readonly rest: Float32Array;
  readonly step: Float32Array;
}

function choicesOf(grid: Grid, all: Float32Array, first: number, count: number): Choices {
  const { columns, size, groups, scales, levels } = grid;
  const values = all.subarray(first * columns, (first + count) * columns);
  const low = new Uint16Array(values.length);
  const [rest, step] = [new Float32Array(values.length), new Float32Array(values.length)];
  for (let i = 0; i < values.length; i++) {
    const group = (first + Math.floor(i / columns)) * groups + Math.floor((i % columns) / size);
    const nearest = levelIn(grid, group, values[i]);
    const side = (values[i] - valueIn(grid, group, nearest)) * scales.values[group] > 0 ? 1 : -1;
    const other = nearest + side;
    const alone = scales.values[group] === 0 || other < 0 || other >= levels.values.length;
    low[i] = alone ? nearest : Math.min(nearest, other);
    const v = valueIn(grid, group, low[i]);
    rest[i] = values[i] - v;
    step[i] = alone ? 0 : valueIn(grid, group, low[i] + 1) - v;
  }
  return { values, low, rest, step };
}

/** e H e^T of every row, for levels that are `low` or the one above. */
function rowErrors({ low, rest, step }: Choices, chosen: Uint16Array, columns: number, hessian: LoadedFactor) {
  const e = rest.map((x, i) => x - step[i] * (chosen[i] - low[i]));
  const product = hessian.times(e);
  const sums = new Float64Array(e.length / columns);
  for (let i = 0; i < e.length; i++) sums[Math.floor(i / columns)] += e[i] * product[i];
  return sums;
}

/** Where h is clipped, and so the range of V. */
const LIMIT = Math.log(11);

/** h and its derivative, and that of the penalty, as functions of V in so many places: V needs no finer resolution. */
const PLACES = 4096;
const H = new Float32Array(PLACES + 1);
const SLOPE = new Float32Array(PLACES + 1);
for (let i = 0; i <= PLACES; i++) {
  const sigmoid = 1 / (1 + Math.exp(-LIMIT * ((2 * i) / PLACES - 1)));
  H[i] = Math.min(1, Math.max(0, 1.2 * sigmoid - 0.1));
  SLOPE[i] = 1.2 * sigmoid * (1 - sigmoid);
}

/** d/dV of -|2 h - 1|^beta. */
function penaltySlopes(beta: number, out: Float32Array): void {
  for (let i = 0; i <= PLACES; i++) {
    const side = 2 * H[i] - 1;
    out[i] = -2 * beta * Math.sign(side) * Math.abs(side) ** (beta - 1) * SLOPE[i];
  }
}

/** Share of the iterations before the penalty sets in; beta falls from the first to the second number after that. */
const WARM_UP = 0.2;
const BETA = [20, 2] as const;
/** Adam's decay of the mean gradient and of the mean square. */
const [DECAY, SQUARE_DECAY] = [0.9, 0.999];

/** Minimises over V; 1 where h ends above one half. */
function learn(
  { values, rest, step }: Choices,
  meanSquare: Float64Array,
  columns: number,
  hessian: LoadedFactor,
  { iterations, rate, penalty }: Descent,
): Uint8Array {
  const count = values.length;
  const place = PLACES / (2 * LIMIT);
  const v = new Float32Array(count);
  let power = 0;
  for (let i = 0; i < count; i++) {
    const h = step[i] === 0 ? 0 : Math.min(1, Math.max(0, rest[i] / step[i]));
    v[i] = -Math.log(1.2 / (h + 0.1) - 1);
    power += (step[i] * step[i] * meanSquare[i % columns]) / count;
  }
  const up = () => Uint8Array.from(v, (x) => (x > 0 ? 1 : 0)).map((x, i) => (step[i] === 0 ? 0 : x));
  if (power === 0) return up();
  const [mean, square] = [new Float32Array(count), new Float32Array(count)];
  const slopes = new Float32Array(PLACES + 1);
  const e = step.map((d, i) => d * H[((v[i] + LIMIT) * place) | 0] - rest[i]);
  for (let t = 0; t < iterations; t++) {
    const progress = (t / iterations - WARM_UP) / (1 - WARM_UP);
    if (progress >= 0) penaltySlopes(BETA[0] + (BETA[1] - BETA[0]) * progress, slopes);
    const gradient = hessian.times(e);
    const scale = 2 / power;
    const stepSize = (rate * Math.sqrt(1 - SQUARE_DECAY ** (t + 1))) / (1 - DECAY ** (t + 1));
    for (let i = 0; i < count; i++) {
      const at = ((v[i] + LIMIT) * place) | 0;
      const g = scale * gradient[i] * step[i] * SLOPE[at] + penalty * slopes[at];
      const m = mean[i] + (1 - DECAY) * (g - mean[i]);
      const s = square[i] + (1 - SQUARE_DECAY) * (g * g - square[i]);
      const next = v[i] - (stepSize * m) / (Math.sqrt(s) + 1e-8);
      const kept = next < -LIMIT ? -LIMIT : next > LIMIT ? LIMIT : next;
      mean[i] = m;
      square[i] = s;
      v[i] = kept;
      e[i] = step[i] * H[((kept + LIMIT) * place) | 0] - rest[i];
    }
  }
  return up();
}

/** Searched scales may lose on a strongly correlated input; then the scheme's own rounding to nearest stays. */
function betterThanRule(
  { scheme, values, shape }: QuantizationJob,
  packed: PackedTensor,
  hessian: LoadedFactor,
): PackedTensor {
  const rule = quantize(values, shape, scheme);
  const costs = [packed, rule].map((one) => {
    const e = dequantize(one).map((x, i) => x - values[i]);
    return hessian.times(e).reduce((sum, x, i) => sum + x * e[i], 0);
  });
  return costs[0] <= costs[1] ? packed : rule;
}
