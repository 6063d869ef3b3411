import assert from "node:assert/strict";
import { test } from "node:test";
import { randomUniform } from "../random.js";
import { BLOCK_TOKENS, estimate, studentQuantile } from "./statistics.js";

test("Student quantiles agree with the printed table within 0.3 %, the stated error of the expansion", () => {
  const table: readonly (readonly [number, number])[] = [
    [1, 12.706],
    [2, 4.303],
    [3, 3.182],
    [5, 2.571],
    [10, 2.228],
    [30, 2.042],
    [120, 1.98],
  ];
  for (const [freedom, quantile] of table) {
    assert.ok(Math.abs(studentQuantile(freedom) / quantile - 1) < 0.003, `${freedom} degrees of freedom`);
  }
});

test("the interval covers the true mean in 93 to 97 % of 1,000 repetitions of independent draws", () => {
  let covered = 0;
  for (let stream = 0; stream < 1000; stream++) {
    const draws = Float64Array.from({ length: 20 * BLOCK_TOKENS }, (_, i) => randomUniform(5, stream, i));
    const { ci95 } = estimate(draws);
    if (ci95[0] <= 0.5 && 0.5 <= ci95[1]) covered++;
  }
  // Binomial standard deviation of the coverage: 0.7 %; three of them are 2 %.
  assert.ok(covered >= 930 && covered <= 970, `covered ${covered}`);
});

test("values repeated in runs give a wider interval than the same values shuffled apart", () => {
  const runs = Float64Array.from({ length: 64 * BLOCK_TOKENS }, (_, i) => randomUniform(1, 0, Math.floor(i / 32)));
  const apart = Float64Array.from(runs, (_, i) => runs[(i % 64) * BLOCK_TOKENS + Math.floor(i / 64)]);
  const width = (values: Float64Array) => estimate(values).ci95[1] - estimate(values).ci95[0];
  assert.ok(width(runs) > 2 * width(apart));
});

test("fewer than two blocks give an infinite interval, not a confident one", () => {
  assert.deepEqual(estimate(new Float64Array(BLOCK_TOKENS)).ci95, [-Infinity, Infinity]);
});
