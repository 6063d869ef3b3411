import assert from "node:assert/strict";
import { test } from "node:test";
import { randomUniform } from "../random.js";
import { openFeedback } from "./feedback.js";

test("errors are taken off a column as the plain loop does it, bit for bit, for any number of rows and columns", () => {
  for (const [rows, block] of [
    [1, 1],
    [5, 3],
    [16, 8],
    [37, 64],
  ]) {
    const kernel = openFeedback(rows, block);
    const draw = (stream: number, i: number) => randomUniform(rows, stream, i) - 0.5;
    for (let k = 0; k < block; k++) {
      kernel.factors[k] = k % 5 === 3 ? 0 : draw(1, k);
      for (let row = 0; row < rows; row++) kernel.errors[k * kernel.stride + row] = draw(2, k * rows + row);
    }
    for (const count of new Set([0, 1, block >> 1, block])) {
      const w = Float32Array.from({ length: rows }, (_, row) => (row === 2 ? -0 : draw(3, row)));
      const wanted = w.slice();
      for (let k = 0; k < count; k++) {
        if (kernel.factors[k] === 0) continue;
        for (let row = 0; row < rows; row++) wanted[row] -= kernel.factors[k] * kernel.errors[k * kernel.stride + row];
      }
      kernel.takeOff(w, count);
      assert.deepEqual(w, wanted, `${rows} rows, ${count} of ${block} columns`);
    }
  }
});
