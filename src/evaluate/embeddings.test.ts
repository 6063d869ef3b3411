import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../errors.js";
import { randomUniform } from "../random.js";
import { compareEmbeddings } from "./index.js";

const vectors = (count: number, width: number, stream: number) =>
  Array.from({ length: count }, (_, i) =>
    Float32Array.from({ length: width }, (_, j) => randomUniform(3, stream, i * width + j) - 0.5),
  );

test("vectors compared with themselves have no error and the same neighbours", () => {
  const own = vectors(30, 8, 0);
  const { cosineError, worstCosine, top1Agreement, top10Overlap, top1Ci95 } = compareEmbeddings(own, own);
  assert.deepEqual([cosineError, worstCosine, top1Agreement, top10Overlap], [0, 1, 1, 1]);
  assert.deepEqual(top1Ci95, [1, 1]);
});

test("length does not count, only direction: the error is 1 minus the cosine, computed by hand", () => {
  const base = [Float32Array.of(1, 0), Float32Array.of(0, 2), Float32Array.of(-3, 0)];
  const model = [Float32Array.of(5, 0), Float32Array.of(3, 3), Float32Array.of(-1, 0)];
  const { cosineError, worstCosine } = compareEmbeddings(base, model);
  assert.ok(Math.abs(worstCosine - Math.SQRT1_2) < 1e-12);
  assert.ok(Math.abs(cosineError - (1 - Math.SQRT1_2) / 3) < 1e-12);
});

test("more noise gives more error, fewer of the same neighbours, and intervals around the means", () => {
  const base = vectors(60, 16, 1);
  const noise = vectors(60, 16, 2);
  const noisy = (share: number) => base.map((v, i) => v.map((x, j) => x + share * noise[i][j]));
  const [little, much] = [compareEmbeddings(base, noisy(0.1)), compareEmbeddings(base, noisy(1))];
  assert.ok(little.cosineError < much.cosineError && little.top10Overlap > much.top10Overlap);
  assert.ok(little.top1Agreement > much.top1Agreement);
  assert.ok(much.cosineErrorCi95[0] < much.cosineError && much.cosineError < much.cosineErrorCi95[1]);
});

test("one text alone, or vectors of other lengths, cannot be compared", () => {
  assert.throws(() => compareEmbeddings(vectors(1, 4, 0), vectors(1, 4, 0)), InputError);
  assert.throws(() => compareEmbeddings(vectors(3, 4, 0), vectors(3, 5, 0)), InputError);
});
