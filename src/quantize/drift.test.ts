import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../errors.js";
import { scheme } from "../formats/index.js";
import { randomUniform } from "../random.js";
import { againstDrift, driftMap } from "./drift.js";
import { readRecipe } from "./index.js";
import type { InputStatistics } from "./statistics.js";

const [ROWS, COLUMNS, TOKENS] = [5, 12, 200];
const uniform = (stream: number, i: number) => 2 * randomUniform(17, stream, i) - 1;
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => uniform(1, i));
/** What the original model has as inputs, and what has become of them: errors that are correlated with them, and noise. */
const original = Float64Array.from({ length: TOKENS * COLUMNS }, (_, i) => uniform(2, i));
const moved = original.map((x, i) => 0.8 * x + 0.2 * uniform(3, i) + 0.1 * original[(i + 1) % original.length]);

/** E[a b^T] over tokens. */
function product(a: Float64Array, b: Float64Array): Float64Array {
  const sum = new Float64Array(COLUMNS * COLUMNS);
  for (let t = 0; t < TOKENS * COLUMNS; t += COLUMNS) {
    for (let at = 0; at < sum.length; at++) {
      sum[at] += (a[t + Math.floor(at / COLUMNS)] * b[t + (at % COLUMNS)]) / TOKENS;
    }
  }
  return sum;
}

const hessian = product(moved, moved);
const drift = product(
  original.map((x, i) => x - moved[i]),
  moved,
);
const diagonal = Float64Array.from({ length: COLUMNS }, (_, j) => hessian[j * COLUMNS + j]);
const statistics: InputStatistics = {
  columns: COLUMNS,
  tokens: TOKENS,
  meanSquare: diagonal,
  meanAbsolute: diagonal,
  maxAbsolute: diagonal,
  hessian,
  drift,
};
const job = { scheme: scheme("q4_0"), values, shape: [ROWS, COLUMNS], statistics, seed: 0 };

/** E||W x0 - W* x||^2. */
function distance(other: Float32Array): number {
  let sum = 0;
  for (let t = 0; t < TOKENS; t++) {
    for (let row = 0; row < ROWS; row++) {
      let apart = 0;
      for (let j = 0; j < COLUMNS; j++) {
        apart += values[row * COLUMNS + j] * original[t * COLUMNS + j];
        apart -= other[row * COLUMNS + j] * moved[t * COLUMNS + j];
      }
      sum += apart * apart;
    }
  }
  return sum / TOKENS;
}

test("weights against drift solve the normal equations (W* - W) H = W D, within 1e-5 (products in f32)", () => {
  const found = againstDrift(job, driftMap(job, 1, 0));
  for (let row = 0; row < ROWS; row++) {
    for (let j = 0; j < COLUMNS; j++) {
      let [left, right] = [0, 0];
      for (let k = 0; k < COLUMNS; k++) {
        const at = row * COLUMNS + k;
        left += (found[at] - values[at]) * hessian[k * COLUMNS + j];
        right += values[at] * drift[k * COLUMNS + j];
      }
      assert.ok(Math.abs(left - right) < 1e-5, `${row} ${j}: ${left} for ${right}`);
    }
  }
});

test("the nearer to the whole share, the nearer to the original outputs; none, or no drift, leaves the weights alone", () => {
  const distances = [0, 0.25, 0.5, 0.75, 1].map((share) => distance(againstDrift(job, driftMap(job, share, 0.01))));
  for (let i = 1; i < distances.length; i++) assert.ok(distances[i] < distances[i - 1], distances.join(" "));
  assert.equal(driftMap(job, 0, 0.01), undefined);
  assert.equal(driftMap({ ...job, statistics: { ...statistics, drift: undefined } }, 1, 0.01), undefined);
  assert.equal(againstDrift(job), values);
});

test("a recipe that propagates errors and changes inputs too is refused before work starts", () => {
  const step = { quantize: "gptq", scheme: "q4_0", options: { propagation: 0.5 } };
  assert.equal(readRecipe({ recipe: 1, steps: [step] }).needs, "drift");
  assert.throws(() => readRecipe({ recipe: 1, steps: [{ transform: "awq" }, step] }), InputError);
});
