import assert from "node:assert/strict";
import { test } from "node:test";
import { createBackend } from "../kernels/index.js";
import { benchKernels } from "./kernels.js";
import { planScheme } from "./plan.js";
import { twoPassSoftmax } from "./softmax-forms.js";
import { summary, timedInTurns } from "./timing.js";

test("the summary of times has the median, the best and the distance of the quartiles over the median", () => {
  assert.deepEqual(summary([4, 1, 2, 3]), { medianMs: 3, bestMs: 1, spread: 2 / 3 });
  assert.deepEqual(summary([5]), { medianMs: 5, bestMs: 5, spread: 0 });
});

test("work and a probe take turns, and every call is compared with the probes before and after it", () => {
  let now = 0;
  const order: string[] = [];
  const run = () => {
    order.push("run");
    now += 10;
  };
  const probe = () => {
    order.push("probe");
    return order.length % 4 === 0 ? 3 : 5;
  };
  const { times, probe: rate, share } = timedInTurns(run, 20, probe, () => now);
  assert.deepEqual(order.slice(0, 6), ["run", "probe", "run", "probe", "run", "probe"]);
  assert.deepEqual([times.bestMs, times.medianMs], [10, 10]);
  assert.ok(rate === 3 || rate === 5);
  assert.equal(share, 20 / 10 / 4);
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

test("softmax without a pass for the largest errs by 2^-20 at most, also where exponentials alone would overflow", () => {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { twoPass } = new WebAssembly.Instance(new WebAssembly.Module(twoPassSoftmax()), { env: { memory } }).exports;
  const x = new Float32Array(memory.buffer, 0, 16);
  x.set(Float32Array.from({ length: 16 }, (_, i) => (i < 8 ? 100 + i / 3 : 900 + i / 3)));
  (twoPass as (...args: number[]) => void)(64, 0, 2, 8);
  for (const row of [0, 1]) {
    const terms = Array.from(x.subarray(8 * row, 8 * row + 8), (v) => Math.exp(v - x[8 * row]));
    const sum = terms.reduce((a, b) => a + b, 0);
    const got = new Float32Array(memory.buffer, 64 + 32 * row, 8);
    terms.forEach((term, i) => {
      assert.ok(Math.abs(got[i] - term / sum) <= 2 ** -20 * (term / sum));
    });
  }
});
