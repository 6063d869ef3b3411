import assert from "node:assert/strict";
import { test } from "node:test";
import { scheme } from "../formats/index.js";
import { createBackend } from "../kernels/index.js";
import { plainProducts } from "../kernels/products.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { dequantize, quantize } from "../tensor/index.js";
import { lorc } from "./lorc.js";
import { outputError, StatisticsSum } from "./statistics.js";

const [ROWS, COLUMNS] = [24, 32];
const uniform = (stream: number, i: number) => randomUniform(5, stream, i) - 0.5;
const original = Float32Array.from({ length: ROWS * COLUMNS }, (_, i) => uniform(1, i));
const quantized = dequantize(quantize(original, [ROWS, COLUMNS], scheme("int3-g32")));

/** Inputs with six hidden causes, so that errors matter in some directions more than in others. */
function inputs(stream: number): Float32Array {
  return Float32Array.from({ length: 256 * COLUMNS }, (_, i) => {
    const [t, j] = [Math.floor(i / COLUMNS), i % COLUMNS];
    const cause = (k: number) => uniform(stream, t * 64 + (k % 6));
    return (j % 7 === 0 ? 4 : 1) * (cause(j) + cause(3 * j + 1) + 0.2 * uniform(stream, t * 64 + 8 + j));
  });
}
const backend = await createBackend("reference");
function statisticsOf(stream: number) {
  const sum = new StatisticsSum(backend.sumMoments(COLUMNS, true));
  sum.add(backend.upload(inputs(stream)), 256);
  return sum.result();
}
const [calibration, heldOut] = [statisticsOf(2), statisticsOf(3)];

function repaired(given: Readonly<Record<string, unknown>>): Float32Array {
  const options = readOptions(lorc.options, given, "lorc");
  const job = { original, quantized, shape: [ROWS, COLUMNS] as const, statistics: calibration, seed: 0 };
  const { a, b } = lorc.compensate({ ...job, products: plainProducts }, options as never);
  const correction = plainProducts.multiply(dequantize(a), transpose(dequantize(b)), b.shape[0]);
  return quantized.map((q, i) => q + correction[i]);
}
const transpose = (b: Float32Array) =>
  Float32Array.from(b, (_, i) => {
    const rank = b.length / COLUMNS;
    return b[(i % rank) * COLUMNS + Math.floor(i / rank)];
  });
const squares = (other: Float32Array) => original.reduce((sum, w, i) => sum + (w - other[i]) ** 2, 0);

test("a pair of full rank in f32 takes the error away, to 1e-8 of its square: products in f32", () => {
  for (const space of ["weights", "inputs"]) {
    const left = squares(repaired({ rank: COLUMNS, scheme: "f32", space, iterations: 1 }));
    assert.ok(left < 1e-8 * squares(quantized), `${space}: ${left}`);
  }
});

test("more rank leaves less error, of the weights for LoRC and of held-out outputs for EoRA, which serves outputs better", () => {
  const outputs = (other: Float32Array) => outputError(original, other, heldOut);
  let [weightsLeft, outputsLeft] = [squares(quantized), outputs(quantized)];
  for (const rank of [2, 4, 8]) {
    const [lorcMade, eoraMade] = [repaired({ rank, space: "weights" }), repaired({ rank, space: "inputs" })];
    assert.ok(squares(lorcMade) < weightsLeft, `weights, rank ${rank}`);
    assert.ok(outputs(eoraMade) < outputsLeft, `inputs, rank ${rank}`);
    assert.ok(outputs(eoraMade) < outputs(lorcMade), `rank ${rank}`);
    [weightsLeft, outputsLeft] = [squares(lorcMade), outputs(eoraMade)];
  }
});

test("the same seed gives the same pair, and a matrix without error gets a pair of zeros", () => {
  assert.deepEqual(repaired({ rank: 3 }), repaired({ rank: 3 }));
  const job = { original, quantized: original, shape: [ROWS, COLUMNS] as const, statistics: calibration, seed: 0 };
  const { a } = lorc.compensate(job, readOptions(lorc.options, {}, "lorc") as never);
  assert.ok(dequantize(a).every((v) => v === 0));
});
