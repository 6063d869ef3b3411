import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedError } from "../../errors.js";
import { scheme } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import type { Activations, Backend } from "../backend.js";
import { createBackend } from "../index.js";
import type { WasmBackend } from "./backend.js";
import { detectFeatures } from "./features.js";
import type { WasmMatrix } from "./matrix.js";

const { multiMemory } = detectFeatures();
const skip = multiMemory ? false : "skipped, because this engine has no modules with several memories (Node 22 has)";
const numbers = (count: number, seed: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * i));

/** Products and embedded rows of weights in many schemes, more than 1 MiB in all; and in which memories they lay. */
function outcomes(backend: Backend) {
  const rooms: number[] = [];
  const results = ["f32", "q4_0", "mxfp8", "posit8-g32", "q6_k", "bf16", "q4_1", "binary-g128"].flatMap((name, i) => {
    const [rows, columns] = [name === "posit8-g32" ? 20 : 260 + i, 512];
    const weight = quantize(numbers(rows * columns, i), [rows, columns], scheme(name));
    const integers: Activations[] = ["q4_0", "q6_k", "q4_1"].includes(name) ? ["f32", "int8"] : ["f32"];
    const kinds: Activations[] = name === "binary-g128" ? ["int8", "int1"] : integers;
    return kinds.map((activations) => {
      const matrix = backend.loadMatrix(weight, activations);
      rooms.push((matrix as WasmMatrix).place.room);
      const x = backend.upload(numbers(6 * columns, 99));
      const [one, six, row] = [backend.allocate(rows), backend.allocate(6 * rows), backend.allocate(2 * columns)];
      backend.matmul(one, x, matrix, 1);
      backend.matmul(six, x, matrix, 6);
      backend.embed(row, [rows - 1, 3], matrix);
      const found = [one, six, row].map((buffer) => buffer.data().slice());
      for (const buffer of [x, one, six, row]) backend.free(buffer);
      return found;
    });
  });
  return { rooms, results: results.flat() };
}

test("weights in several memories give the bits that they give in one, with one thread and two", { skip }, async () => {
  const single = await createBackend("wasm");
  const wanted = outcomes(single);
  assert.deepEqual(new Set(wanted.rooms), new Set([0]));
  for (const threads of [1, 2]) {
    const backend = await createBackend("wasm", { threads, memories: 3, memoryBytes: 2 ** 20 });
    const { rooms, results } = outcomes(backend);
    assert.deepEqual(new Set(rooms), new Set([1, 2]), "all memories of weights are in use, and no other");
    results.forEach((found, i) => {
      assert.ok(
        Buffer.from(found.buffer).equals(Buffer.from(wanted.results[i].buffer)),
        `${threads} thread(s), result ${i}`,
      );
    });
    await backend.dispose();
  }
  await single.dispose();
});

test("memories of weights are given back, and a weight that fits none is refused with the bytes", {
  skip,
}, async () => {
  const backend = (await createBackend("wasm", { memories: 2, memoryBytes: 2 ** 20 })) as WasmBackend;
  const weight = quantize(numbers(512 * 512, 1), [512, 512], scheme("q8_0"));
  for (let i = 0; i < 20; i++) backend.freeMatrix(backend.loadMatrix(weight));
  const held = [1, 2, 3].map(() => backend.loadMatrix(weight));
  assert.throws(
    () => backend.loadMatrix(weight),
    (error) => {
      return error instanceof UnsupportedError && /no room for \d+ bytes of a q8_0 weight/.test(error.message);
    },
  );
  for (const matrix of held) backend.freeMatrix(matrix);
  backend.freeMatrix(backend.loadMatrix(weight));
  await backend.dispose();
});

test("an engine without such modules refuses several memories and says what it lacks", {
  skip: multiMemory ? "skipped, because this engine has them" : false,
}, async () => {
  await assert.rejects(
    () => createBackend("wasm", { memories: 2 }),
    (error) =>
      error instanceof UnsupportedError && /4 GB/.test(error.message) && /several/.test(error.details.why ?? ""),
  );
});
