import assert from "node:assert/strict";
import { test } from "node:test";
import { schemes } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import type { Backend, Recording } from "../backend.js";
import { createBackend } from "../index.js";

const [heads, kvHeads, headSize, positions] = [4, 2, 8, 40];
const [width, kvWidth] = [heads * headSize, kvHeads * headSize];
const numbers = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * i));
const weights = [width, kvWidth, kvWidth].map((rows, seed) =>
  quantize(numbers(rows * width, seed), [rows, width], schemes.get("q4_0")),
);

/** A layer of one token at a time: what it makes at each position. */
function layer(backend: Backend) {
  const matrices = weights.map((weight) => backend.loadMatrix(weight, "int8"));
  const angles = { cos: backend.upload(numbers(positions * 4, 5)), sin: backend.upload(numbers(positions * 4, 6)) };
  const [x, q, out] = [0, 1, 2].map((seed) => backend.upload(numbers(width, seed)));
  const [k, v] = [0, 1].map(() => backend.allocate(kvWidth));
  const [keys, values] = [0, 1].map(() => backend.allocate(positions * kvWidth));
  const shape = { batch: 1, heads, kvHeads, headSize };
  const step = (position: number) => {
    for (const [i, target] of [q, k, v].entries()) backend.matmul(target, x, matrices[i], 1);
    backend.ropeAndStore(q, k, v, { keys, values, row: position }, { ...angles, position }, shape);
    backend.attention(out, q, keys, values, { ...shape, position });
  };
  return { x, out, step };
}

/** The outputs of every position, a new input at each; `run` decides how a step is done. */
function outputs(backend: Backend, run: (position: number, work: () => void) => void): number[][] {
  const { x, out, step } = layer(backend);
  return Array.from({ length: positions }, (_, position) => {
    x.data().set(numbers(width, position));
    backend.batch(() => run(position, () => step(position)));
    return [...out.data()];
  });
}

test("operations that were recorded at one position give the bits of operations called at others, with any number of threads", async () => {
  const wanted = outputs(await createBackend("reference"), (_, work) => work());
  for (const threads of [1, 2, 3]) {
    const backend = await createBackend("wasm", { threads });
    let recording: Recording | undefined;
    let recorded = 0;
    const found = outputs(backend, (position, work) => {
      if (recording?.run(position)) return;
      recorded++;
      recording = backend.record?.(position, work);
    });
    assert.deepEqual(found, wanted, `${threads} thread(s)`);
    assert.equal(recorded, 1, `${threads} thread(s)`);
    recording?.dispose();
    await backend.dispose();
  }
});

test("nothing is recorded where memory is read in between, and nothing is repeated once memory was given back", async () => {
  for (const threads of [1, 2]) {
    const backend = await createBackend("wasm", { threads });
    const { x, out, step } = layer(backend);
    const reading = () => {
      step(0);
      x.data()[0] = 1;
    };
    assert.equal(backend.record?.(0, reading), undefined);
    const recording = backend.record?.(0, () => step(0));
    assert.equal(recording?.run(1), true);
    const inner = backend.record?.(0, () => assert.equal(recording?.run(1), false));
    assert.equal(backend.profile?.(() => recording?.run(1)).result, false);
    const profiled = backend.profile?.(() => backend.record?.(0, () => step(0))).result;
    assert.equal(profiled?.run(0), false, "what was recorded while operations are profiled does not hold");
    const spare = backend.allocate(4);
    assert.equal(recording?.run(2), true);
    backend.free(spare);
    assert.equal(recording?.run(3), false);
    assert.ok(out.data().every(Number.isFinite));
    recording?.dispose();
    inner?.dispose();
    await backend.dispose();
  }
});

test("a list too long to be kept runs all the same, and so does what comes after an error in the middle of one", async () => {
  for (const threads of [1, 2]) {
    const backend = await createBackend("wasm", { threads });
    const [x, one] = [backend.allocate(8), backend.upload(new Float32Array(8).fill(1))];
    const add = (times: number) => {
      for (let i = 0; i < times; i++) backend.add(x, x, one, 8);
    };
    assert.equal(
      backend.record?.(0, () => add(20_000)),
      undefined,
    );
    const broken = () => {
      add(1);
      throw new Error("in the middle");
    };
    assert.throws(() => backend.record?.(0, broken), /in the middle/);
    const recording = backend.record?.(0, () => add(2));
    recording?.run(0);
    assert.deepEqual([...x.data()], new Array(8).fill(20_005));
    recording?.dispose();
    await backend.dispose();
  }
});
