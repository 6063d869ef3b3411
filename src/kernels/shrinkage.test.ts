import assert from "node:assert/strict";
import { test } from "node:test";
import { randomUniform } from "../random.js";
import { openShrinkage } from "./shrinkage.js";

const FIRST = (127 - 8) << 8;
const lines = Float64Array.from({ length: 2 * 16 * 256 }, (_, i) => randomUniform(9, 1, i));
const float = new Float32Array(1);
const bits = new Int32Array(float.buffer);

/** |e|^p as the lines have it; undefined beyond them. */
function raisedTo(size: number): number | undefined {
  float[0] = size;
  const line = (bits[0] >> 15) - FIRST;
  if (line < 0) return 0;
  return line < lines.length / 2 ? lines[2 * line] + lines[2 * line + 1] * size : undefined;
}

test("sums of a step have the bits of the loop over weights in order, and errors beyond the lines are refused", () => {
  const kernel = openShrinkage({ first: -4, step: 1, count: 8 }, { lines, first: FIRST });
  for (const [count, s] of [
    [0, 0.3],
    [2, -0.1],
    [64, 0.17],
    [20000, 0.2],
    [10, 1e-4],
  ]) {
    const [m, beta] = [0.05, 10];
    const x = Float32Array.from({ length: count }, (_, i) => 2 * randomUniform(9, 2, i) - 1);
    let [cost, rest, beyond] = [0, 0, false];
    for (const one of x) {
      const u = (one - m) * (1 / s);
      const v = -4 + Math.trunc(Math.min(Math.max(u + 4 + 0.5, 0), 7));
      const e = u - v;
      const raised = raisedTo(Math.abs(e));
      beyond ||= raised === undefined;
      const left = 1 - ((raised ?? 0) * (1 / beta)) / (e * e + Number.MIN_VALUE);
      const kept = e * (0.5 * (left + Math.abs(left)));
      cost += raised ?? 0;
      rest += (e - kept) * s;
    }
    kernel.take(x);
    assert.deepEqual(kernel.run(s, m, beta), beyond ? undefined : { cost, rest }, `${count} weights`);
    assert.equal(beyond, s === 1e-4);
  }
});
