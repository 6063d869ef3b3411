import assert from "node:assert/strict";
import { test } from "node:test";
import { createBackend } from "../kernels/index.js";
import { benchKernels } from "./kernels.js";
import { planScheme } from "./plan.js";
import { summary } from "./timing.js";

test("the summary of times has the median, the best and the distance of the quartiles over the median", () => {
  assert.deepEqual(summary([4, 1, 2, 3]), { medianMs: 3, bestMs: 1, spread: 2 / 3 });
  assert.deepEqual(summary([5]), { medianMs: 5, bestMs: 5, spread: 0 });
});

test("a bench of kernels reports every matching case beside limits of the same process", async () => {
  const backend = await createBackend("wasm");
  const seen: string[] = [];
  const { peaks, results } = benchKernels({
    ...{ backend, quick: true, only: /rmsNorm|gemv int8 q4_0/, onResult: ({ op }) => seen.push(op) },
  });
  assert.deepEqual(seen, ["gemv int8", "rmsNorm"]);
  assert.ok(Object.values(peaks).every((peak) => peak > 0));
  for (const { bestMs, medianMs, gmacs, gbs, ratioToLimit, threads } of results) {
    assert.ok(bestMs > 0 && bestMs <= medianMs && gmacs > 0 && gbs > 0 && ratioToLimit > 0);
    assert.equal(threads, 1);
  }
  assert.deepEqual(
    results.map(({ scheme, shape, limit }) => [scheme, shape, limit]),
    [
      ["q4_0", "1x1536x576", "dot"],
      ["f32", "1x576", "madd"],
    ],
  );
  await backend.dispose();
});

test("a plan tells how a scheme is held, in bytes and words, and holds nothing afterwards", async () => {
  const backend = await createBackend("wasm");
  const row = planScheme(backend, "q4_0", 64, 96, "int8");
  assert.deepEqual([row.scheme, row.shape, row.count], ["q4_0", [64, 96], 1]);
  assert.equal(row.bitsPerWeight, (8 * row.bytes) / (64 * 96));
  assert.match(row.plan, /bits a weight in memory/);
  await backend.dispose();
});
