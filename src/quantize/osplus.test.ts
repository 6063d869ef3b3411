import assert from "node:assert/strict";
import { test } from "node:test";
import { createBackend } from "../kernels/index.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { osplus } from "./osplus.js";
import { StatisticsSum } from "./statistics.js";
import { isFold, type TransformOutcome } from "./transform.js";

const [TOKENS, COLUMNS] = [64, 16];

/** Inputs near 1, but for channel 3 of the first token, as after the GELU of BERT's first layer. */
const x = Float32Array.from({ length: TOKENS * COLUMNS }, (_, i) => (i === 3 ? 24 : 0.5 + randomUniform(5, 0, i)));
const backend = await createBackend("reference");
const statistics = (() => {
  const sum = new StatisticsSum(backend.sumMoments(COLUMNS, false));
  sum.add(backend.upload(x), TOKENS);
  return sum.result();
})();

/** What OS+ chooses where `roundingError` is what rounding leaves. */
function chosen(roundingError: (change: TransformOutcome) => number, canShift = true): TransformOutcome | undefined {
  if (isFold(osplus)) throw new Error("OS+ rescales");
  const job = { consumers: [], statistics, canShift, outputError: () => 0, roundingError };
  return osplus.choose(job, readOptions(osplus.options, {}, "osplus") as never);
}

test("channels are shifted to their middle, to their mean or not at all, whichever leaves the least error", () => {
  for (const wanted of [(24 + (statistics.signed?.smallest[3] ?? 0)) / 2, statistics.signed?.mean[3] ?? 0, 0]) {
    const found = chosen(({ scales, shift }) => Math.abs((shift?.[3] ?? 0) - wanted) + (scales[3] > 1 ? 0 : 1));
    assert.equal(found?.shift?.[3] ?? 0, wanted);
  }
});

test("outliers are divided down to the threshold of least error, other channels stay as they are", () => {
  const found = chosen(({ scales, shift }) => (shift ? 100 : Math.abs(scales[3] - 12)));
  assert.ok(found && Math.abs(found.scales[3] - 12) < 2, `${found?.scales[3]}: thresholds are tried in steps of 15 %`);
  assert.deepEqual([...found.scales.filter((s) => s !== 1)], [found.scales[3]]);
});

test("nothing is shifted where no bias can take it over, and nothing done where it does not help", () => {
  assert.equal(
    chosen(({ shift }) => (shift ? 0 : 1), false),
    undefined,
  );
  assert.equal(
    chosen(() => 1),
    undefined,
  );
});
