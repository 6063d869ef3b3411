import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { InputError } from "../errors.js";
import { scheme } from "../formats/index.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { dequantize } from "../tensor/index.js";
import { againstDrift, driftMap } from "./drift.js";
import { gptq } from "./gptq.js";
import { quantizeModel, readRecipe } from "./index.js";
import type { InputStatistics } from "./statistics.js";

const [ROWS, COLUMNS, TOKENS] = [5, 12, 200];
const uniform = (stream: number, i: number) => 2 * randomUniform(17, stream, i) - 1;
const values = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => uniform(1, i));
/** What the original model has as inputs, and what has become of them: errors that are correlated with them, and noise. */
function inputs(stream: number) {
  const original = Float64Array.from({ length: TOKENS * COLUMNS }, (_, i) => uniform(stream, i));
  const moved = original.map((x, i) => {
    return 0.8 * x + 0.2 * uniform(stream + 1, i) + 0.1 * original[(i + 1) % original.length];
  });
  return { original, moved };
}
const seen = inputs(2);
const { original, moved } = seen;

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
function distance(other: Float32Array, { original, moved } = seen): number {
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

const quantized = (propagation: number, to = job) =>
  dequantize(gptq.quantize(to, readOptions(gptq.options, { propagation }, "gptq")).packed);

test("gptq rounds the weights against drift: those of a scheme that rounds nothing are W + share W D H^-1", () => {
  const { damping } = readOptions(gptq.options, {}, "gptq");
  const exact = { ...job, scheme: scheme("f32") };
  assert.deepEqual(quantized(0.8, exact), againstDrift(job, driftMap(job, 0.8, damping)));
  assert.deepEqual(quantized(0, exact), values);
  assert.deepEqual(quantized(0), quantized(0.8, { ...job, statistics: { ...statistics, drift: undefined } }));
});

test("gptq with propagation comes nearer to the original outputs than without, on inputs that it has not seen too", () => {
  for (const on of [seen, inputs(10)]) {
    const [without, half, most] = [0, 0.5, 0.8].map((share) => distance(quantized(share), on));
    assert.ok(half < 0.9 * without && most < half, `${without} ${half} ${most}`);
  }
});

test("in a model, propagation leaves the first layer alone and moves what later layers are rounded from", async () => {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-drift-"));
  const demo = new URL("../../../demo", import.meta.url).pathname;
  const run = async (name: string, options: Record<string, unknown>) => {
    const output = join(folder, `${name}.gguf`);
    const steps = [
      { quantize: "gptq", scheme: "q8_0", tensors: "query", options: { ...options, scales: "rule", sweeps: 0 } },
      { quantize: "rtn", scheme: "q4_0" },
    ];
    const calibrationText = async () => readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 4096);
    const calibration = { windows: 2, window: 128 };
    const { tensors } = await quantizeModel({
      input: demo,
      output,
      recipe: { recipe: 1, calibration, steps },
      calibrationText,
    });
    const errors = tensors.filter(({ method }) => method === "gptq").map(({ relativeMse }) => relativeMse);
    return { errors };
  };
  try {
    const [plain, none, most] = [
      await run("a", {}),
      await run("b", { propagation: 0 }),
      await run("c", { propagation: 0.8 }),
    ];
    assert.deepEqual(none.errors, plain.errors);
    assert.equal(most.errors[0], plain.errors[0]);
    // Rounded to 8 bits, what is left of the distance to W is the change of the target.
    for (let i = 1; i < plain.errors.length; i++) {
      assert.ok(most.errors[i] > 10 * plain.errors[i], `${i}: ${most.errors[i]} after ${plain.errors[i]}`);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("a recipe that propagates errors and changes inputs too is refused before work starts", () => {
  const step = { quantize: "gptq", scheme: "q4_0", options: { propagation: 0.5 } };
  assert.equal(readRecipe({ recipe: 1, steps: [step] }).needs, "drift");
  assert.throws(() => readRecipe({ recipe: 1, steps: [{ transform: "awq" }, step] }), InputError);
});
