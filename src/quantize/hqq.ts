/**
 * Half-quadratic quantization: no data, a robust norm. Outliers should not pull a group's grid, so the error is measured
 * with |e|^p, p < 1. Splitting e = e' + rest turns that into two steps in turn: e' by generalised soft thresholding,
 * the grid's free parameter (the offset, or the scale where there is none) by a closed-form mean.
 *
 * Errors are counted in steps of the group's scale, so that the threshold means the same for every tensor; the paper
 * thresholds the weights' own units.
 */
import { openShrinkage, type Shrinkage } from "../kernels/index.js";
import { quantize } from "../tensor/index.js";
import { type Grid, hasGrid, nearestLevels, packGrid, ruleGrid, setCode } from "./grid.js";
import { type Levels, nearestLevel } from "./levels.js";
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
  rowwise: true,
  needs: () => "nothing",
  objective: ({ norm }) => powerError(norm),
  quantize({ scheme, values, shape }, options) {
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    const { rows, columns, size, groups } = grid;
    const pass = new GroupPass(grid.levels, options.norm);
    const fine =
      (scheme.offset ?? scheme.scale)?.format.bits === 16 || (scheme.offset ?? scheme.scale)?.format.bits === 32;
    for (let k = 0; k < rows * groups; k++) {
      const first = Math.floor(k / groups) * columns;
      const start = first + (k % groups) * size;
      improveGroup(grid, k, values.subarray(start, Math.min(start + size, first + columns)), pass, fine, options);
    }
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});

interface Settings {
  readonly beta: number;
  readonly kappa: number;
  readonly iterations: number;
}

/** Iterations with hardly any gain that end the work on a group. (The paper stops at the first, over a whole tensor.) */
const PATIENCE = 3;

/** Smaller gains than a thousandth are no longer worth an iteration. */
const GAIN = 1e-3;

/** Gains within the error of tabulated powers are none at all. */
const ERROR = 1e-5;

/** Scale and offset of one group, kept only if the p-norm of its error becomes smaller. */
function improveGroup(
  grid: Grid,
  k: number,
  x: Float32Array,
  pass: GroupPass,
  fine: boolean,
  { beta, kappa, iterations }: Settings,
): void {
  const { scales, offsets, offsetKind } = grid;
  const isMin = offsetKind === "min";
  let s = scales.values[k];
  if (s === 0) return;
  // The shift m of w = s v + m, whatever the scheme's own form of it.
  const shiftOf = (scale: number, offset: number) => (isMin ? offset : -scale * offset);
  let m = offsets ? shiftOf(s, offsets.values[k]) : 0;
  pass.take(x);
  pass.run(s, m, beta);
  let best = { scale: scales.codes[k], offset: offsets?.codes[k] ?? 0, cost: pass.cost };
  let last = { scale: best.scale, offset: best.offset };
  let idle = 0;
  for (let iteration = 0, b = beta; iteration < iterations && best.cost > 0; iteration++) {
    if (offsets) m = pass.rest / x.length;
    else if (pass.square > 0 && pass.cross !== 0) s = pass.cross / pass.square;
    const scale = offsets ? scales.codes[k] : scales.toCode(s, k);
    const offset = offsets ? offsets.toCode(isMin ? m : -m / s, k) : 0;
    const isNew = scale !== last.scale || offset !== last.offset;
    const stored = scales.toValue(scale, k);
    if (stored === 0) break;
    last = { scale, offset };
    b *= kappa;
    let cost = best.cost;
    if (fine) {
      // What is stored is as good as the mean: the next step starts from it, and one pass gives its cost too.
      s = stored;
      if (offsets) m = shiftOf(stored, offsets.toValue(offset, k));
      pass.run(s, m, b);
      cost = pass.cost;
    } else {
      if (isNew) cost = pass.costOf(stored, offsets ? shiftOf(stored, offsets.toValue(offset, k)) : 0);
      pass.run(s, m, b);
    }
    const before = best.cost;
    if (cost < before * (1 - ERROR)) best = { scale, offset, cost };
    if (cost > before * (1 - GAIN) && ++idle === PATIENCE) break;
  }
  setCode(scales, k, best.scale);
  if (offsets) setCode(offsets, k, best.offset);
}

/** The sums that one iteration needs, over a group; errors are counted in steps of the scale. */
class GroupPass {
  /** sum |w - w'|^p. */
  cost = 0;
  /** sum of t - s v, of t v and of v^2, where t is what remains of the weight after its thresholded error. */
  rest = 0;
  cross = 0;
  square = 0;
  private readonly levels: Levels;
  private readonly power: PowerTable;
  private readonly fast: Shrinkage | undefined;
  /** The group in hand. */
  private x: Float32Array = new Float32Array();

  constructor(levels: Levels, norm: number) {
    this.levels = levels;
    this.power = new PowerTable(norm);
    const { values, step } = levels;
    const even = { first: values[0], step, count: values.length };
    const exact = values.every((value, i) => value === even.first + i * step);
    if (step > 0 && exact) this.fast = openShrinkage(even, { lines: this.power.lines, first: FIRST_LINE });
  }

  take(x: Float32Array): void {
    this.x = x;
    if (x.length % 2 === 0) this.fast?.take(x);
  }

  /** With thresholding: e' = e max(0, 1 - |e|^(p-2) / beta). */
  run(s: number, m: number, beta: number): void {
    const { x } = this;
    const sums = x.length % 2 === 0 ? this.fast?.run(s, m, beta) : undefined;
    if (!sums) {
      this.runSlowly(s, m, beta);
      return;
    }
    this.cost = sums.cost * Math.abs(s) ** this.power.norm;
    this.rest = sums.rest + m * x.length;
    this.cross = sums.cross;
    this.square = sums.square;
  }

  /**
   * The same for any levels and errors. Half of the tests that e' could branch on go wrong, so there are none: max(0, a) is
   * (a + |a|) / 2.
   */
  private runSlowly(s: number, m: number, beta: number): void {
    const { levels, power, x } = this;
    const { values, step } = levels;
    const { lines, float, bits, norm } = power;
    const top = values.length - 1;
    const inverse = 1 / s;
    const perStep = step > 0 ? 1 / step : 0;
    const shift = values[0];
    const perBeta = 1 / beta;
    let cost = 0;
    let rest = 0;
    let cross = 0;
    let square = 0;
    for (let i = 0; i < x.length; i++) {
      const u = (x[i] - m) * inverse;
      const place = (u - shift) * perStep + 0.5;
      const level = step === 0 ? nearestLevel(levels, u) : place < 0 ? 0 : place >= top ? top : place | 0;
      const v = values[level];
      const e = u - v;
      const size = Math.abs(e);
      float[0] = size;
      const line = (bits[0] >> 15) - FIRST_LINE;
      const raised = line < 0 ? 0 : line < OCTAVES * 256 ? lines[2 * line] + lines[2 * line + 1] * size : size ** norm;
      cost += raised;
      const left = 1 - (raised * perBeta) / (e * e + Number.MIN_VALUE);
      const kept = e * (0.5 * (left + Math.abs(left)));
      rest += (e - kept) * s;
      cross += (x[i] - kept * s) * v;
      square += v * v;
    }
    this.cost = cost * Math.abs(s) ** power.norm;
    // The mean wanted is that of x - s e' - s v = m + s (e - e').
    this.rest = rest + m * x.length;
    this.cross = cross;
    this.square = square;
  }

  costOf(s: number, m: number): number {
    const { levels, power, x } = this;
    const { values, step } = levels;
    const top = values.length - 1;
    const inverse = 1 / s;
    let cost = 0;
    for (let i = 0; i < x.length; i++) {
      const u = (x[i] - m) * inverse;
      const place = (u - values[0]) / step + 0.5;
      const level = step === 0 ? nearestLevel(levels, u) : place < 0 ? 0 : place >= top ? top : place | 0;
      cost += power.of(Math.abs(u - values[level]));
    }
    return cost * Math.abs(s) ** power.norm;
  }
}

/**
 * x^p by straight lines between 256 places of every octave from 2^-24 to 2^8: within 1e-6 of itself, and some ten times
 * faster than Math.pow. Smaller x count as 0, larger ones are computed.
 */
class PowerTable {
  readonly norm: number;
  /** Value at 0 and slope of each line. */
  readonly lines = new Float64Array(2 * OCTAVES * 256);
  readonly float = new Float32Array(1);
  readonly bits = new Int32Array(this.float.buffer);

  constructor(norm: number) {
    this.norm = norm;
    for (let k = 0; k < OCTAVES * 256; k++) {
      const [from, to] = [k, k + 1].map((place) => 2 ** (LOWEST + (place >> 8)) * (1 + (place & 255) / 256));
      const slope = (to ** norm - from ** norm) / (to - from);
      this.lines[2 * k] = from ** norm - slope * from;
      this.lines[2 * k + 1] = slope;
    }
  }

  of(x: number): number {
    this.float[0] = x;
    const place = (this.bits[0] >> 15) - FIRST_LINE;
    if (place < 0) return 0;
    return place < OCTAVES * 256 ? this.lines[2 * place] + this.lines[2 * place + 1] * x : x ** this.norm;
  }
}

const LOWEST = -24;
const OCTAVES = 32;
/** The exponent and the first eight bits of the fraction of the smallest x. */
const FIRST_LINE = (LOWEST + 127) << 8;
