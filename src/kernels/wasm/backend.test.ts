import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import { createBackend } from "../index.js";
import type { WasmBackend } from "./backend.js";
import { wasm } from "./index.js";

const weight = quantize(Float32Array.from({ length: 64 * 256 }, Math.random), [64, 256], schemes.get("q4_0"));

test("a thousand loads and frees, multiplied in between, end in the same memory as one", async () => {
  const backend = (await createBackend("wasm")) as WasmBackend;
  const round = () => {
    const matrix = backend.loadMatrix(weight);
    const [x, out] = [backend.allocate(256), backend.allocate(64)];
    backend.matmul(out, x, matrix, 1);
    for (const buffer of [x, out]) backend.free(buffer);
    backend.freeMatrix(matrix);
  };
  round();
  const { used } = backend.engine.heap;
  const bytes = backend.engine.memory.buffer.byteLength;
  for (let i = 0; i < 1000; i++) round();
  assert.equal(backend.engine.heap.used, used);
  assert.equal(backend.engine.memory.buffer.byteLength, bytes);
  await backend.dispose();
});

test("backends can be made and disposed of again and again, with threads", async () => {
  for (let i = 0; i < 20; i++) {
    const backend = await createBackend("wasm", { threads: 1 + (i % 3) });
    assert.equal(backend.info.threads, 1 + (i % 3));
    await backend.dispose();
    assert.throws(() => backend.allocate(1), /disposed/);
  }
});

test("packed weights stay packed, scales too: as many bits in memory as in a file", async () => {
  const backend = await createBackend("wasm");
  const values = Float32Array.from({ length: 64 * 512 }, (_, i) => Math.sin(i));
  const bits = (name: string) =>
    (backend.loadMatrix(quantize(values, [64, 512], schemes.get(name))).bytes * 8) / 64 / 512;
  assert.deepEqual(["q4_0", "q8_0", "bf16", "mxfp4", "nvfp4"].map(bits), [4.5, 8.5, 16, 4.25, 4.5]);
  assert.deepEqual(["q4_1", "int2-g32", "mxfp8"].map(bits), [5, 2.5, 8.25]);
  await backend.dispose();
});

test("what was freed, or belongs to another backend, is refused", async () => {
  const [one, two] = [await createBackend("wasm"), await createBackend("wasm")];
  const matrix = one.loadMatrix(weight);
  const [x, out] = [one.allocate(256), one.allocate(64)];
  assert.throws(() => two.matmul(two.allocate(64), two.allocate(256), matrix, 1), InputError);
  assert.throws(() => two.add(x, x, x, 1), InputError);
  one.freeMatrix(matrix);
  assert.throws(() => one.matmul(out, x, matrix, 1), /freed/);
  one.free(x);
  assert.throws(() => one.add(out, out, x, 1), /freed/);
  await Promise.all([one.dispose(), two.dispose()]);
});

test("a number of threads that makes no sense is refused, and the backend says what it uses", async () => {
  await assert.rejects(() => wasm.create({ threads: 0 }), InputError);
  const backend = await wasm.create();
  assert.equal(backend.info.threads, 1);
  assert.ok(backend.info.features.includes("simd128"));
  assert.equal(backend.info.features.includes("relaxed-simd"), backend.info.fallbacks.length === 0);
  await backend.dispose();
});
