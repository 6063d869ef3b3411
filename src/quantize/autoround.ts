/**
 * AutoRound (SignRound): rounding and ranges of all linear maps of a layer learned together on the layer's own output. Every
 * weight gets a shift V in [-1/2, 1/2], in steps of its grid, before it is rounded; every group a factor for its scale and,
 * where it has an offset, a shift of it:
 *
 *     w' = S v(nearest level to (w - M) / S + V d) + M,      S = S0 a,  M = M0 + S0 range c
 *
 * with d the distance of the two levels beside the weight: even for integers, local for floating point and codebooks. Rounding
 * has no gradient, so that of what is rounded is taken (straight through), and of it only the sign: with steps that fall
 * linearly to 0, each V can reach every value of its range and none runs away.
 */
import { plainProducts } from "../kernels/index.js";
import { randomUniform } from "../random.js";
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import { type Grid, hasGrid, levelIn, nearestLevels, packGrid, setCode, valueIn } from "./grid.js";
import { importanceWeights } from "./imatrix.js";
import { nearestLevel } from "./levels.js";
import { method, type QuantizationJob, type QuantizationOutcome } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";

const OPTIONS = {
  iterations: { kind: "integer", summary: "steps of signed gradient descent", default: 200, min: 1, max: 100000 },
  rate: {
    kind: "number",
    summary: "size of the first step, in steps of the grid; 0: 1 / iterations",
    default: 0,
    min: 0,
  },
  ranges: { kind: "switch", summary: "whether scales and offsets are learned too", default: true },
  texts: { kind: "integer", summary: "pieces of calibration text in a batch", default: 8, min: 1, max: 4096 },
  tokens: { kind: "integer", summary: "tokens of each piece", default: 64, min: 2, max: 65536 },
  ...SCALE_OPTIONS,
} as const;

export const autoround = method({
  name: "autoround",
  summary: "rounding and ranges of a layer's maps learned together by signed gradient descent on the layer's output",
  source: "Cheng et al. 2023, arXiv 2309.05516 (SignRound); batches smaller than in its reference code",
  options: OPTIONS,
  needs: () => "layers",
  /** Of a matrix alone, as `quantize` has it: the error weighted by E[x^2]. */
  objective: () => (job, other) => {
    const columns = job.shape[job.shape.length - 1];
    const weights = new Float64Array(columns);
    importanceWeights(job, "squares")(0, weights);
    return other.reduce((sum, x, i) => sum + weights[i % columns] * (job.values[i] - x) ** 2, 0);
  },
  quantize(job, options) {
    const { scheme, values, shape } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = searchedGrid(job, options);
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
  quantizeLayer(job, options) {
    const { iterations, ranges, texts, tokens } = options;
    const rate = options.rate || 1 / iterations;
    const { hidden, trace, seed, width } = job;
    const products = [...job.members.values()][0]?.products ?? plainProducts;
    const pieces = piecesOf(hidden, width, tokens);
    const learners = new Map<string, Learner>();
    const settled = new Map<string, PackedTensor>();
    for (const [role, member] of job.members) {
      if (hasGrid(member.scheme)) learners.set(role, new Learner(member, searchedGrid(member, options)));
      else settled.set(role, quantize(member.values, member.shape, member.scheme));
    }
    const fixed = new Map([...settled].map(([role, packed]) => [role, dequantize(packed)]));
    const numbers = () => new Map([...fixed, ...[...learners].map(([role, one]) => [role, one.round()] as const)]);
    const targets = new Map<Float32Array, Float32Array>();
    const targetOf = (piece: Float32Array) => {
      const known = targets.get(piece) ?? trace(products, new Map(), piece, tokens).outputs;
      targets.set(piece, known);
      return known;
    };
    const errorOf = (weights: ReadonlyMap<string, Float32Array>) => {
      const { outputs } = trace(products, weights, joined(judged), tokens);
      return squaredError(outputs, joined(judged.map(targetOf)));
    };

    // Pieces from all of the text that candidates are judged by, round to nearest among them.
    const judged = spread(pieces, 2 * texts);
    const rule = new Map<string, PackedTensor>();
    for (const [role, { values, shape, scheme }] of job.members) rule.set(role, quantize(values, shape, scheme));
    const ruleError = errorOf(new Map([...rule].map(([role, packed]) => [role, dequantize(packed)])));
    const packAll = () => new Map([...settled, ...[...learners].map(([role, one]) => [role, one.pack()] as const)]);
    let best = { packed: packAll(), error: errorOf(numbers()), iteration: 0 };
    const start = best.error;
    if (ruleError < best.error) best = { packed: rule, error: ruleError, iteration: 0 };
    const every = Math.max(1, Math.floor(iterations / CHECKS));
    for (let t = 0; t < iterations && learners.size > 0 && best.error > 0; t++) {
      const picked = Array.from({ length: texts }, (_, i) => {
        return pieces[Math.floor(pieces.length * randomUniform(seed, job.layer, t * texts + i))];
      });
      const target = joined(picked.map(targetOf));
      const { outputs, backward } = trace(products, numbers(), joined(picked), tokens);
      const gradients = backward(outputs.map((y, i) => y - target[i]));
      const step = rate * (1 - t / iterations);
      for (const [role, learner] of learners) learner.step(gradients.get(role) as Float32Array, step, ranges);
      if ((t + 1) % every !== 0 && t + 1 < iterations) continue;
      const error = errorOf(numbers());
      if (error < best.error) best = { packed: packAll(), error, iteration: t + 1 };
    }
    const notes = { startError: start / ruleError, blockError: best.error / ruleError, bestIteration: best.iteration };
    return new Map([...best.packed].map(([role, packed]): [string, QuantizationOutcome] => [role, { packed, notes }]));
  },
});

/** How often candidates are judged. */
const CHECKS = 10;

/** Windows cut into pieces of `tokens` hidden states; what is left over at an end is not used. */
function piecesOf(hidden: readonly Float32Array[], width: number, tokens: number): Float32Array[] {
  const size = tokens * width;
  return hidden.flatMap((states) => {
    return Array.from({ length: Math.floor(states.length / size) }, (_, i) =>
      states.subarray(i * size, (i + 1) * size),
    );
  });
}

/** `count` of them (or all), evenly. */
function spread<T>(all: readonly T[], count: number): T[] {
  if (all.length <= count) return [...all];
  return Array.from({ length: count }, (_, i) => all[Math.floor((i * all.length) / count)]);
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const squaredError = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0);

/** Largest change of a scale's factor and of an offset in ranges. */
const LIMIT = 0.5;

/** One matrix with what is learned about it. The grid's scales are what the factors make of those it began with. */
class Learner {
  private readonly values: Float32Array;
  private readonly grid: Grid;
  private readonly shifts: Float32Array;
  private readonly factors: Float32Array;
  private readonly moves: Float32Array;
  private readonly firstScales: Float32Array;
  private readonly firstOffsets: Float32Array | undefined;
  private readonly levels: Uint16Array;
  /** What the rounded weight changes by with its shift, its group's scale and its group's offset. */
  private readonly slopes: Float32Array;
  private readonly scaleSlopes: Float32Array;
  private readonly inside: Uint8Array;

  constructor({ values }: QuantizationJob, grid: Grid) {
    const groups = grid.rows * grid.groups;
    this.values = values;
    this.grid = grid;
    this.shifts = new Float32Array(values.length);
    this.factors = new Float32Array(groups).fill(1);
    this.moves = new Float32Array(groups);
    this.firstScales = grid.scales.values.slice();
    this.firstOffsets = grid.offsets?.values.slice();
    this.levels = new Uint16Array(values.length);
    this.slopes = new Float32Array(values.length);
    this.scaleSlopes = new Float32Array(values.length);
    this.inside = new Uint8Array(values.length);
  }

  /** The weights as they are rounded now. */
  round(): Float32Array {
    const { grid, values } = this;
    const out = new Float32Array(values.length);
    for (let row = 0, group = 0; row < grid.rows; row++) {
      for (let start = 0; start < grid.columns; start += grid.size, group++) {
        const end = Math.min(start + grid.size, grid.columns);
        this.roundGroup(group, row * grid.columns + start, row * grid.columns + end, out);
      }
    }
    return out;
  }

  private roundGroup(group: number, start: number, end: number, out: Float32Array): void {
    const { grid, values, shifts, levels, slopes, scaleSlopes, inside } = this;
    const table = grid.levels.values;
    const top = table.length - 1;
    const s = grid.scales.values[group];
    const o = grid.offsets?.values[group] ?? 0;
    const isZero = grid.offsetKind === "zeroPoint";
    for (let i = start; i < end; i++) {
      const u = s === 0 ? 0 : isZero ? values[i] / s + o : (values[i] - o) / s;
      const d = grid.levels.step || localStep(grid, u);
      const level = s === 0 ? levelIn(grid, group, 0) : nearestLevel(grid.levels, u + shifts[i] * d);
      const within = u > table[0] - d / 2 && u < table[top] + d / 2;
      levels[i] = level;
      slopes[i] = s * d;
      inside[i] = within ? 1 : 0;
      scaleSlopes[i] = table[level] - (within ? u : isZero ? o : 0);
      out[i] = valueIn(grid, group, level);
    }
  }

  /** One step against the signs of the gradient of the rounded weights. */
  step(gradient: Float32Array, size: number, ranges: boolean): void {
    const { grid, shifts, slopes, scaleSlopes, inside } = this;
    for (let i = 0; i < gradient.length; i++) {
      if (inside[i] === 0) continue;
      const next = shifts[i] - size * Math.sign(gradient[i] * slopes[i]);
      shifts[i] = Math.min(0.5, Math.max(-0.5, next));
    }
    if (!ranges) return;
    const { columns, size: groupSize, groups } = grid;
    for (let group = 0; group < grid.rows * groups; group++) {
      if (this.firstScales[group] === 0) continue;
      const first = Math.floor(group / groups) * columns;
      const start = first + (group % groups) * groupSize;
      const end = Math.min(start + groupSize, first + columns);
      let [along, shift] = [0, 0];
      for (let i = start; i < end; i++) {
        along += gradient[i] * scaleSlopes[i];
        if (inside[i] === 0) shift += gradient[i];
      }
      this.moveRange(group, size * Math.sign(along * this.firstScales[group]), size * Math.sign(shift));
    }
  }

  private moveRange(group: number, scaleStep: number, offsetStep: number): void {
    const { grid, factors, moves, firstScales, firstOffsets } = this;
    const { scales, offsets, offsetKind, levels } = grid;
    factors[group] = Math.min(1 + LIMIT, Math.max(1 - LIMIT, factors[group] - scaleStep));
    const code = scales.toCode(firstScales[group] * factors[group], group);
    if (scales.toValue(code, group) !== 0) setCode(scales, group, code);
    if (!offsets || !firstOffsets) return;
    const range = levels.values[levels.values.length - 1] - levels.values[0];
    const sign = Math.sign(firstScales[group]);
    moves[group] = Math.min(LIMIT, Math.max(-LIMIT, moves[group] - offsetStep * sign));
    const unit = offsetKind === "zeroPoint" ? -range : range * firstScales[group];
    setCode(offsets, group, offsets.toCode(firstOffsets[group] + moves[group] * unit, group));
  }

  pack(): PackedTensor {
    this.round();
    return packGrid(this.grid, this.levels);
  }
}

/** The distance of the two levels beside u, of the outermost two beyond the ends. */
function localStep({ levels }: Grid, u: number): number {
  const { values } = levels;
  const nearest = nearestLevel(levels, u);
  const other = u < values[nearest] ? nearest - 1 : nearest + 1;
  const low = Math.min(Math.max(0, Math.min(nearest, other)), values.length - 2);
  return values[low + 1] - values[low];
}
