import assert from "node:assert/strict";
import { test } from "node:test";
import { schemes } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import type { Backend, Buffer } from "../backend.js";
import { createBackend } from "../index.js";

const numbers = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * i));
const weights = [1, 2, 3].map((seed) => quantize(numbers(192 * 128, seed), [192, 128], schemes.get("q4_0")));

/** A chain in which inputs are shared, changed between two products, and read while it goes on. */
function chain(backend: Backend, deferred: boolean): Float32Array[] {
  const matrices = weights.map((weight) => backend.loadMatrix(weight, "int8"));
  const [x, y] = [backend.upload(numbers(6 * 128, 9)), backend.upload(numbers(6 * 128, 10))];
  const outs = Array.from({ length: 5 }, () => backend.allocate(6 * 192));
  const seen: Float32Array[] = [];
  const work = () => {
    for (const batch of [1, 6]) {
      backend.matmul(outs[0], x, matrices[0], batch);
      backend.matmul(outs[1], x, matrices[1], batch);
      backend.add(x, x, y, batch * 128);
      backend.matmul(outs[2], x, matrices[2], batch);
      seen.push(outs[2].data().slice());
      x.data()[3] = 7;
      backend.matmul(outs[3], x, matrices[0], batch);
      backend.siluMultiply(outs[4], outs[3], outs[1], batch * 192);
      const extra: Buffer = backend.upload(numbers(batch * 192, 11));
      backend.add(outs[4], outs[4], extra, batch * 192);
      backend.free(extra);
    }
  };
  if (deferred) backend.batch(work);
  else work();
  seen.push(...[x, ...outs].map((buffer) => buffer.data().slice()));
  for (const buffer of [x, y, ...outs]) backend.free(buffer);
  for (const matrix of matrices) backend.freeMatrix(matrix);
  return seen;
}

test("operations of a batch give the bits that they give one by one, with memory read, written and freed in between", async () => {
  const reference = await createBackend("reference");
  const wanted = chain(reference, true);
  for (const threads of [1, 2, 3]) {
    const backend = await createBackend("wasm", { threads });
    for (const deferred of [true, false]) {
      chain(backend, deferred).forEach((found, i) => {
        assert.deepEqual(found, wanted[i], `${threads} thread(s), ${deferred ? "a batch" : "one by one"}, part ${i}`);
      });
    }
    await backend.dispose();
  }
});

test("a batch longer than the list of operations runs in several, and one that throws leaves a backend that works", async () => {
  const backend = await createBackend("wasm", { threads: 2 });
  const [x, one] = [backend.allocate(8), backend.upload(new Float32Array(8).fill(1))];
  backend.batch(() => {
    for (let i = 0; i < 20_000; i++) backend.add(x, x, one, 8);
  });
  assert.deepEqual([...x.data()], new Array(8).fill(20_000));
  assert.throws(
    () =>
      backend.batch(() => {
        backend.add(x, x, one, 8);
        backend.add(x, x, one, 9);
      }),
    /add/,
  );
  assert.deepEqual([...x.data()], new Array(8).fill(20_001), "what came before the error was done");
  await backend.dispose();
});

test("a profile counts the calls of each kernel, products by weight, and changes no result, on one thread and two", async () => {
  for (const threads of [1, 2]) {
    const backend = await createBackend("wasm", { threads });
    const weight = backend.loadMatrix(
      quantize(new Float32Array(8 * 32).fill(0.5), [8, 32], schemes.get("q4_0")),
      "int8",
    );
    const x = backend.upload(Float32Array.from({ length: 32 }, (_, i) => i));
    const [first, second] = [backend.allocate(8), backend.allocate(8)];
    const work = () =>
      backend.batch(() => {
        backend.matmul(first, x, weight, 1);
        backend.matmul(second, x, weight, 1);
        backend.add(first, first, second, 8);
        return first.data().slice();
      });
    const wanted = work();
    const profile = backend.profile?.(work);
    assert.deepEqual(profile?.result, wanted);
    const counted = profile?.operations.map(({ kernel, weight, calls }) => [kernel, weight, calls]).sort();
    assert.deepEqual(counted, [
      ["add", undefined, 1],
      ["gemvInt8", "q4_0 8x32", 2],
      ["roundRows", undefined, 1],
    ]);
    await backend.dispose();
  }
});
