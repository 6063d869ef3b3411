import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { scheme } from "../formats/index.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { dequantize } from "../tensor/index.js";
import { inverseUpperFactor } from "./cholesky.js";
import { improve } from "./coordinate-descent.js";
import { gptq } from "./gptq.js";
import { levelIn, nearestLevels, packGrid, ruleGrid, valueIn } from "./grid.js";
import { type InputStatistics, outputError } from "./statistics.js";

const uniform = (stream: number) => (i: number) => 2 * randomUniform(3, stream, i) - 1;

/** Statistics of `tokens` random inputs of mixed channels; channels in `dead` are always 0. */
function statisticsOf(n: number, tokens: number, stream: number, dead: readonly number[] = []): InputStatistics {
  const draw = uniform(stream);
  const hessian = new Float64Array(n * n);
  for (let t = 0; t < tokens; t++) {
    const raw = Array.from({ length: n }, (_, j) => draw(t * n + j));
    const x = raw.map((v, j) => (dead.includes(j) ? 0 : v + 0.7 * raw[(j + 1) % n] + 0.4 * raw[(3 * j) % n]));
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) hessian[i * n + j] += (x[i] * x[j]) / tokens;
  }
  const meanSquare = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  return { columns: n, tokens, meanSquare, meanAbsolute: meanSquare, maxAbsolute: meanSquare, hessian };
}

const optionsWith = (change: Record<string, unknown>) => readOptions(gptq.options, change, "gptq");

/** H^-1 by Gauss-Jordan, slow and clear. */
function inverseOf(h: Float64Array, n: number): number[][] {
  const a = Array.from({ length: n }, (_, i) => [
    ...h.subarray(i * n, (i + 1) * n),
    ...Array.from({ length: n }, (_, j) => (i === j ? 1 : 0)),
  ]);
  for (let i = 0; i < n; i++) {
    const pivot = a[i][i];
    a[i] = a[i].map((x) => x / pivot);
    for (let r = 0; r < n; r++) {
      const factor = a[r][i];
      if (r !== i) a[r] = a[r].map((x, j) => x - factor * a[i][j]);
    }
  }
  return a.map((row) => row.slice(n));
}

test("the factor U of H satisfies U^T U = H^-1, within 1e-9 of the largest (binary64, well conditioned)", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 24 }), fc.nat(1000), (n, stream) => {
      const { hessian } = statisticsOf(n, 4 * n + 8, stream);
      const h = Float64Array.from(hessian as Float64Array, (x, at) => x + (at % (n + 1) === 0 ? 0.1 : 0));
      const inverse = inverseOf(h, n);
      const largest = Math.max(...inverse.flat().map(Math.abs));
      const u = inverseUpperFactor(h.slice(), n) as Float64Array;
      for (let i = 0; i < n; i++) {
        for (let j = 0; j < n; j++) {
          let sum = 0;
          for (let k = 0; k < n; k++) sum += u[k * n + i] * u[k * n + j];
          assert.ok(Math.abs(sum - inverse[i][j]) <= 1e-9 * largest, `${i} ${j}`);
          if (j < i) assert.equal(u[i * n + j], 0);
        }
      }
    }),
    { numRuns: 30 },
  );
});

test("a matrix that is not positive definite has no factor", () => {
  assert.equal(inverseUpperFactor(Float64Array.of(1, 2, 2, 1), 2), undefined);
  assert.equal(inverseUpperFactor(new Float64Array(4), 2), undefined);
});

/** Optimal brain quantization in a fixed order with the inverse Hessian updated outright: what GPTQ computes, naively. */
function naive(
  values: Float32Array,
  rows: number,
  n: number,
  statistics: InputStatistics,
  damping: number,
  name: string,
) {
  const grid = ruleGrid(scheme(name), values, [rows, n]);
  const mean = statistics.meanSquare.reduce((sum, x) => sum + x, 0) / n;
  const h = Float64Array.from(
    statistics.hessian as Float64Array,
    (x, at) => x + (at % (n + 1) === 0 ? damping * mean : 0),
  );
  const inverse = inverseOf(h, n);
  const w = Float64Array.from(values);
  const levels = new Uint16Array(values.length);
  for (let i = 0; i < n; i++) {
    for (let row = 0; row < rows; row++) {
      const group = row * grid.groups + Math.floor(i / grid.size);
      const level = levelIn(grid, group, w[row * n + i]);
      levels[row * n + i] = level;
      const e = (w[row * n + i] - valueIn(grid, group, level)) / inverse[i][i];
      for (let j = i; j < n; j++) w[row * n + j] -= e * inverse[i][j];
    }
    const [pivot, row] = [inverse[i][i], [...inverse[i]]];
    for (let a = i; a < n; a++) for (let b = i; b < n; b++) inverse[a][b] -= (row[a] * row[b]) / pivot;
  }
  return dequantize(packGrid(grid, levels));
}

test("blocks and factors give the codes of naive optimal brain quantization, but for ties (at most 1 code in 200)", () => {
  const [rows, n] = [6, 96];
  const values = Float32Array.from({ length: rows * n }, (_, i) => 0.1 * uniform(7)(i));
  const statistics = statisticsOf(n, 400, 8);
  for (const name of ["q4_0", "q4_1", "mxfp4", "int3-g32-asym", "q8_0"]) {
    const options = optionsWith({ order: "none", scales: "rule", damping: 0.02, block: 20, sweeps: 0 });
    const job = { scheme: scheme(name), values, shape: [rows, n], statistics, seed: 0 };
    const mine = dequantize(gptq.quantize(job, options).packed);
    const wanted = naive(values, rows, n, statistics, 0.02, name);
    const different = mine.filter((x, i) => x !== wanted[i]).length;
    // The work is kept in f32, so a value within 1e-8 of a boundary may fall on its other side, and its row follows.
    assert.ok(different <= (rows * n) / 200, `${name}: ${different} codes differ`);
  }
});

test("channels that were never active are rounded to nearest and counted", () => {
  const [rows, n] = [4, 64];
  const values = Float32Array.from({ length: rows * n }, (_, i) => uniform(9)(i));
  const dead = [3, 40, 41];
  const statistics = statisticsOf(n, 300, 10, dead);
  const job = { scheme: scheme("q4_0"), values, shape: [rows, n], statistics, seed: 0 };
  const { packed, notes } = gptq.quantize(job, optionsWith({ scales: "rule", sweeps: 0 }));
  assert.equal(notes?.deadColumns, 3);
  const grid = ruleGrid(job.scheme, values, job.shape);
  const nearest = dequantize(packGrid(grid, nearestLevels(grid, values)));
  const mine = dequantize(packed);
  for (let row = 0; row < rows; row++) {
    for (const j of dead) assert.equal(mine[row * n + j], nearest[row * n + j]);
  }
});

test("a singular Hessian is damped until it can be factorised, and the retries are reported", () => {
  const [rows, n] = [4, 64];
  const values = Float32Array.from({ length: rows * n }, (_, i) => uniform(12)(i));
  const job = { scheme: scheme("q4_0"), values, shape: [rows, n], statistics: statisticsOf(n, 5, 13), seed: 0 };
  const { notes } = gptq.quantize(job, optionsWith({ damping: 0 }));
  assert.ok(notes && notes.dampingRetries >= 1 && notes.damping > 0, JSON.stringify(notes));
});

test("coordinate descent never makes the error larger, and ends where no single code can improve it", () => {
  const [rows, n] = [4, 64];
  for (const name of ["q4_0", "q4_1", "q4_k", "nvfp4", "int3-g32-asym"]) {
    const values = Float32Array.from({ length: rows * n }, (_, i) => 0.2 * uniform(20)(i));
    const statistics = statisticsOf(n, 300, 21);
    const grid = ruleGrid(scheme(name), values, [rows, n]);
    const levels = nearestLevels(grid, values);
    const errorNow = () => outputError(values, dequantize(packGrid(grid, levels)), statistics);
    let before = errorNow();
    for (let sweep = 0; sweep < 20; sweep++) {
      const moved = improve(grid, values, levels, statistics, { damping: 0, sweeps: 1 });
      const now = errorNow();
      assert.ok(now <= before * (1 + 1e-6), `${name}: ${before} to ${now}`);
      before = now;
      if (moved === 0) break;
    }
    const [row, j] = [1, 5];
    const settled = levels[row * n + j];
    for (const other of [settled - 1, settled + 1].filter((x) => x >= 0 && x < grid.levels.values.length)) {
      levels[row * n + j] = other;
      assert.ok(errorNow() >= before * (1 - 1e-6), `${name}: level ${other} would be better than ${settled}`);
    }
  }
});
