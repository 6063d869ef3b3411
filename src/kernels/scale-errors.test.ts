import assert from "node:assert/strict";
import { test } from "node:test";
import { randomUniform } from "../random.js";
import { scaleErrors } from "./scale-errors.js";

test("errors of many scales, and the sums of their levels, have the bits of one loop over the weights for each", () => {
  for (const [count, tried] of [
    [0, 3],
    [1, 1],
    [32, 41],
    [61, 7],
    [5000, 6],
  ]) {
    const draw = (stream: number) => (_: unknown, i: number) => 2 * randomUniform(5, stream, i) - 1;
    const x = Float32Array.from({ length: count }, draw(1));
    const h = Float64Array.from({ length: count }, draw(2)).map(Math.abs);
    const scales = Array.from({ length: tried }, draw(3)).map((s) => s / 4);
    const shifts = Array.from({ length: tried }, draw(4));
    const levels = { first: -4, step: 1, count: 8 };
    const kernel = scaleErrors();
    kernel.take(x, h);
    const errors = [...kernel.errors(levels, scales, shifts)];
    const wanted = scales.map((s, k) => {
      let sum = 0;
      for (let i = 0; i < count; i++) {
        const place = (x[i] - shifts[k]) * (1 / s) + 4.5;
        const level = place < 0 ? 0 : place >= 7 ? 7 : Math.trunc(place);
        const e = x[i] - (shifts[k] + s * -4) - s * level;
        sum += h[i] * e * e;
      }
      return sum;
    });
    assert.deepEqual(errors, wanted, `${count} weights`);
    const { v1, v2, xv } = kernel.sums(levels, scales, shifts);
    scales.forEach((s, k) => {
      const sums = [0, 0, 0];
      for (let i = 0; i < count; i++) {
        const level = Math.round(((x[i] - shifts[k]) / s + 4) / 1);
        const v = -4 + Math.min(Math.max(level, 0), 7);
        sums[0] += h[i] * v;
        sums[1] += h[i] * v * v;
        sums[2] += h[i] * x[i] * v;
      }
      assert.deepEqual([v1[k], v2[k], xv[k]], sums, `${count} weights, scale ${s}`);
    });
  }
});
