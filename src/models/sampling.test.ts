import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError, NumericError } from "../errors.js";
import { sample } from "./sampling.js";

const logits = Float32Array.of(1, 3, 2, -Infinity, 0);

test("temperature 0 takes the most likely token, the first of equals", () => {
  assert.equal(sample(logits, {}, 0), 1);
  assert.equal(sample(Float32Array.of(2, 5, 5), { temperature: 0 }, 9), 1);
});

test("the same seed and draw number give the same token, other draws give others", () => {
  const draw = (seed: number) => Array.from({ length: 40 }, (_, i) => sample(logits, { temperature: 1, seed }, i));
  assert.deepEqual(draw(7), draw(7));
  assert.notDeepEqual(draw(7), draw(8));
});

test("draws follow softmax(logits / temperature) within 4 standard errors of 20,000 draws", () => {
  const count = 20_000;
  const temperature = 0.7;
  const seen = new Float64Array(logits.length);
  for (let i = 0; i < count; i++) seen[sample(logits, { temperature, seed: 3 }, i)]++;
  const weights = Array.from(logits, (logit) => Math.exp(logit / temperature));
  const total = weights.reduce((a, b) => a + b);
  weights.forEach((weight, token) => {
    const p = weight / total;
    assert.ok(Math.abs(seen[token] / count - p) <= 4 * Math.sqrt((p * (1 - p)) / count), `token ${token}`);
  });
});

test("top-k and top-p leave only the most likely tokens", () => {
  const reached = (options: object) =>
    [...new Set(Array.from({ length: 400 }, (_, i) => sample(logits, { temperature: 2, ...options }, i)))].sort();
  assert.deepEqual(reached({ topK: 2 }), [1, 2]);
  assert.deepEqual(reached({ topP: 0.4 }), [1]);
  assert.deepEqual(reached({ topP: 0.999 }), [0, 1, 2, 4]);
});

test("senseless options and logits are refused", () => {
  assert.throws(() => sample(logits, { temperature: -1 }, 0), InputError);
  assert.throws(() => sample(logits, { temperature: 1, topP: 0 }, 0), InputError);
  assert.throws(() => sample(Float32Array.of(0, Number.NaN), {}, 0), NumericError);
});
