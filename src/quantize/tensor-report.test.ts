import assert from "node:assert/strict";
import { test } from "node:test";
import { schemes } from "../formats/index.js";
import { randomUniform } from "../random.js";
import { dequantize, quantize } from "../tensor/index.js";
import { gptq } from "./gptq.js";
import { outputError } from "./statistics.js";
import { reportOf } from "./tensor-report.js";

/** A map of 16 rows over 32 columns whose neighbours go together, which is what GPTQ makes use of. */
function jobWithRelatedChannels() {
  const [rows, columns, tokens] = [16, 32, 256];
  const uniform = (stream: number, index: number) => randomUniform(3, stream, index) - 0.5;
  const x = new Float64Array(tokens * columns);
  for (let i = 0; i < x.length; i++) x[i] = uniform(0, i) + (i % columns > 0 ? 0.9 * x[i - 1] : 0);
  const hessian = new Float64Array(columns * columns);
  for (let t = 0; t < tokens; t++) {
    for (let i = 0; i < columns; i++) {
      for (let j = 0; j < columns; j++) hessian[i * columns + j] += (x[t * columns + i] * x[t * columns + j]) / tokens;
    }
  }
  const diagonal = Float64Array.from({ length: columns }, (_, j) => hessian[j * columns + j]);
  const root = diagonal.map(Math.sqrt);
  const statistics = { columns, tokens, meanSquare: diagonal, meanAbsolute: root, maxAbsolute: root, hessian };
  const values = Float32Array.from({ length: rows * columns }, (_, i) => uniform(1, i));
  return { scheme: schemes.get("int3-g32"), values, shape: [rows, columns], seed: 0, statistics };
}

test("errors of outputs are those that the Hessian says, so that GPTQ is seen to lower them (f32 sums: 1e-5)", () => {
  const job = jobWithRelatedChannels();
  const options = { damping: 0.01, order: "none", scales: "rule", steps: 1, block: 32, sweeps: 0, propagation: 0 };
  const outcome = gptq.quantize(job, options as never);
  const report = reportOf(job, outcome, "gptq", 0);
  const wanted = (other: Float32Array) =>
    outputError(job.values, other, job.statistics) /
    outputError(job.values, new Float32Array(job.values.length), job.statistics);
  const near = (got: number | undefined, value: number) =>
    assert.ok(Math.abs((got ?? 0) / value - 1) < 1e-5, `${got}, ${value}`);
  near(report.relativeOutputError, wanted(dequantize(outcome.packed)));
  near(report.rtnOutputError, wanted(dequantize(quantize(job.values, job.shape, job.scheme))));
  assert.ok((report.relativeOutputError ?? 1) < 0.8 * (report.rtnOutputError ?? 0));
});

test("without a Hessian they are those of independent channels, and without statistics there are none", () => {
  const { statistics, ...job } = jobWithRelatedChannels();
  const packed = quantize(job.values, job.shape, job.scheme);
  const { hessian: _, ...squares } = statistics;
  const report = reportOf({ ...job, statistics: squares }, { packed }, "rtn", 0);
  assert.equal(report.relativeOutputError, report.rtnOutputError);
  assert.ok((report.relativeOutputError ?? 0) > 0);
  assert.equal(reportOf(job, { packed }, "rtn", 0).relativeOutputError, undefined);
});
