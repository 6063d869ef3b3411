import assert from "node:assert/strict";
import { test } from "node:test";
import { scheme } from "../formats/index.js";
import { createBackend, productsOn } from "../kernels/index.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { dequantize } from "../tensor/index.js";
import { adaround } from "./adaround.js";
import { levelIn, nearestLevels, packGrid, valueIn } from "./grid.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { type InputStatistics, outputError } from "./statistics.js";

const uniform = (stream: number) => (i: number) => 2 * randomUniform(5, stream, i) - 1;
const [rows, n] = [6, 64];
const values = Float32Array.from({ length: rows * n }, (_, i) => 0.1 * uniform(1)(i));

/** Correlated channels: each is the sum of two of its neighbours and itself. */
function statistics(): InputStatistics {
  const hessian = new Float64Array(n * n);
  for (let t = 0; t < 300; t++) {
    const raw = Array.from({ length: n }, (_, j) => uniform(2)(t * n + j));
    const x = raw.map((v, j) => v + 0.8 * raw[(j + 1) % n] + 0.5 * raw[(5 * j) % n]);
    for (let i = 0; i < n; i++) for (let j = 0; j < n; j++) hessian[i * n + j] += (x[i] * x[j]) / 300;
  }
  const meanSquare = Float64Array.from({ length: n }, (_, j) => hessian[j * n + j]);
  return { columns: n, tokens: 300, meanSquare, meanAbsolute: meanSquare, maxAbsolute: meanSquare, hessian };
}
const known = statistics();
const options = readOptions(adaround.options, { iterations: 120 }, "adaround");
const scales = readOptions(SCALE_OPTIONS, {}, "the grid");
const jobOf = (name: string) => ({ scheme: scheme(name), values, shape: [rows, n], statistics: known, seed: 0 });

test("every weight goes to one of the two levels beside it, in even, floating-point and codebook grids", () => {
  for (const name of ["q4_0", "q4_1", "mxfp4", "iq4_nl", "int3-g32-asym"]) {
    const job = jobOf(name);
    const grid = searchedGrid(job, scales);
    const mine = dequantize(adaround.quantize(job, options).packed);
    let moved = 0;
    for (let i = 0; i < values.length; i++) {
      const group = Math.floor(i / n) * grid.groups + Math.floor((i % n) / grid.size);
      const nearest = levelIn(grid, group, values[i]);
      const beside = [nearest - 1, nearest, nearest + 1].filter((k) => k >= 0 && k < grid.levels.values.length);
      const reached = beside.map((k) => valueIn(grid, group, k));
      assert.ok(reached.includes(mine[i]), `${name} ${i}`);
      const between = (mine[i] - values[i]) * (valueIn(grid, group, nearest) - values[i]) <= 0;
      if (mine[i] !== valueIn(grid, group, nearest)) {
        assert.ok(between, `${name} ${i}: the level on the other side of the weight`);
        moved++;
      }
    }
    assert.ok(moved > 20, `${name}: ${moved} moved`);
  }
});

test("the output error of no row is larger than that of the nearest levels, and all in all at least 15 % smaller", () => {
  for (const name of ["q4_0", "mxfp4", "int3-g32-asym"]) {
    const job = jobOf(name);
    const grid = searchedGrid(job, scales);
    const nearest = dequantize(packGrid(grid, nearestLevels(grid, values)));
    const mine = dequantize(adaround.quantize(job, options).packed);
    for (let row = 0; row < rows; row++) {
      const [w, a, b] = [values, mine, nearest].map((m) => m.subarray(row * n, (row + 1) * n));
      assert.ok(outputError(w, a, known) <= outputError(w, b, known) * (1 + 1e-5), `${name}, row ${row}`);
    }
    const [mineAll, nearestAll] = [outputError(values, mine, known), outputError(values, nearest, known)];
    assert.ok(mineAll < 0.85 * nearestAll, `${name}: ${mineAll} of ${nearestAll}`);
  }
});

test("products on a backend give the bytes of plain loops", async () => {
  const backend = await createBackend("wasm");
  try {
    const plain = adaround.quantize(jobOf("q4_0"), options).packed;
    assert.deepEqual(adaround.quantize({ ...jobOf("q4_0"), products: productsOn(backend) }, options).packed, plain);
  } finally {
    await backend.dispose();
  }
});
