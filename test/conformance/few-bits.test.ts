/**
 * Activations of 1 to 8 bits times weights of 1 to 8 bits: exact integers inside of blocks, so every backend, every way to multiply
 * (bytes, looked up sums, counted bits) and every number of threads gives the same bits.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { UnsupportedError } from "../../src/errors.js";
import { scheme } from "../../src/formats/index.js";
import type { Activations, Backend } from "../../src/kernels/backend.js";
import { createBackend } from "../../src/kernels/index.js";
import type { WasmBackend } from "../../src/kernels/wasm/backend.js";
import { layoutBits, planBits } from "../../src/kernels/wasm/bit-planes.js";
import { BitProducts } from "../../src/kernels/wasm/bit-products.js";
import { loadBits } from "../../src/kernels/wasm/matrix.js";
import { weightRows } from "../../src/kernels/weight-rows.js";
import { dequantize } from "../../src/tensor/dequantize.js";
import { quantize } from "../../src/tensor/quantize.js";
import { assertSame, numbers } from "./numbers.js";

const LEVELS: readonly Activations[] = ["int8", "int7", "int6", "int5", "int4", "int3", "int2", "int1"];
/** Weights of 1 to 8 bits, with offsets of both kinds, scales of several forms, and blocks from 16 columns to a row. */
const SCHEMES = [
  ...["binary-g128", "binary-row", "ternary-g64", "int2-g32", "int2-g128", "int3-g32", "int4-g32", "int4-g64-asym"],
  ...["q4_0", "q4_1", "mxfp4", "nvfp4", "int5-g32", "int6-g64", "int7-g32", "int8-g32", "int8-row", "int8-g1024"],
];

const packed = (name: string, rows: number, columns: number) =>
  quantize(numbers(rows * columns, rows + columns), [rows, columns], scheme(name));

const reference = await createBackend("reference");
const others: Backend[] = [];
for (const threads of [1, 2]) others.push(await createBackend("wasm", { threads }));
// Few weights may be held in another way than many; one backend has many.
others[1].loadMatrix(packed("f32", 2 ** 11, 2 ** 11));
after(() => Promise.all(others.map((backend) => backend.dispose())));

/** The product of a weight with rows of activations, and some of its rows. */
function results(backend: Backend, name: string, activations: Activations, shape: readonly number[], x: Float32Array) {
  const [rows, columns, batch] = shape;
  const matrix = backend.loadMatrix(packed(name, rows, columns), activations);
  const [input, out, table] = [backend.upload(x), backend.allocate(batch * rows), backend.allocate(3 * columns)];
  backend.batch(() => backend.matmul(out, input, matrix, batch));
  backend.embed(table, [rows - 1, 0, rows >> 1], matrix);
  const made = [out.data().slice(), table.data().slice()] as const;
  for (const buffer of [table, out, input]) backend.free(buffer);
  backend.freeMatrix(matrix);
  return made;
}

const SHAPES = [
  [1, 16, 1],
  [5, 33, 1],
  [9, 200, 3],
  [30, 257, 5],
] as const;

for (const activations of LEVELS) {
  test(`${activations} activations: products with weights of 1 to 8 bits, and their rows, are the reference's bit for bit`, () => {
    for (const name of SCHEMES) {
      for (const shape of SHAPES) {
        const x = numbers(shape[1] * shape[2], 7);
        const wanted = results(reference, name, activations, shape, x);
        for (const backend of others) {
          const what = `${name} [${shape}], ${backend.info.threads} thread(s)`;
          const got = results(backend, name, activations, shape, x);
          assertSame(got[0], wanted[0], what);
          assertSame(got[1], wanted[1], `rows of ${what}`);
        }
      }
    }
  });
}

test("any weights of 1 to 8 bits can be counted with activations of 1 to 8 bits: the same integers", () => {
  const wide = new Set<number>();
  for (const name of SCHEMES) {
    for (const [bits, activations] of LEVELS.map((level, i) => [8 - i, level] as const)) {
      for (const backend of others as unknown as readonly WasmBackend[]) {
        const [rows, columns, batch] = [10, 290, 2];
        const x = numbers(columns * batch, 3);
        const weight = packed(name, rows, columns);
        const reader = weightRows(weight);
        const layout = layoutBits(reader, activations, bits);
        wide.add(layout.weightBits);
        const matrix = loadBits(backend.engine, reader, layout, activations);
        const [input, out] = [backend.upload(x), backend.allocate(batch * rows)];
        const at = (buffer: typeof input) => (buffer as unknown as { readonly address: number }).address;
        new BitProducts(backend.engine).run(at(out), at(input), matrix, batch);
        const [wanted] = results(reference, name, activations, [rows, columns, batch], x);
        assertSame(out.data(), wanted, `${name} x ${activations}`);
        backend.free(out);
        backend.free(input);
        backend.freeMatrix(matrix);
      }
    }
  }
  assert.deepEqual(
    [...wide].sort((a, b) => a - b),
    [1, 2, 3, 4, 5, 6, 7, 8],
  );
});

test("one bit: the mean magnitude times signs, so that binary weights and activations count where signs agree", () => {
  const columns = 32;
  const w = dequantize(packed("binary-row", 1, columns));
  const x = numbers(columns, 5);
  const [[got]] = results(reference, "binary-row", "int1", [1, columns, 1], x);
  const agree = x.reduce((sum, value, i) => sum + (value < 0 === w[i] < 0 ? 1 : -1), 0);
  const magnitude = x.reduce((sum, value) => sum + Math.abs(value), 0) / columns;
  // Sums in f32 err by 2^-24 a term.
  assert.ok(Math.abs(got - agree * magnitude * Math.abs(w[0])) < 1e-6 * columns * magnitude * Math.abs(w[0]));
});

test("products of one input at several levels in one batch each round it in their own way", () => {
  const [rows, columns] = [8, 128];
  const x = numbers(columns, 9);
  const weights = ["int4-g32", "binary-g128"].map((name) => packed(name, rows, columns));
  const of = (backend: Backend) => {
    const matrices = weights.flatMap((weight) => LEVELS.map((level) => backend.loadMatrix(weight, level)));
    const [input, out] = [backend.upload(x), backend.allocate(matrices.length * rows)];
    backend.batch(() => {
      matrices.forEach((matrix, i) => {
        backend.matmul(out.view(i * rows, rows), input, matrix, 1);
      });
    });
    return out.data().slice();
  };
  const wanted = of(reference);
  for (const backend of others) assertSame(of(backend), wanted, `${backend.info.threads} thread(s)`);
});

test("rows of zeros, huge, tiny and senseless numbers: every level and backend agrees with the reference", () => {
  const columns = 130;
  const rows = [0, 1e-40, 1e38, Number.POSITIVE_INFINITY, Number.NaN, -0].map((special, i) => {
    const row = i % 2 === 0 ? new Float32Array(columns) : numbers(columns, i);
    row[5] = special;
    row[columns - 1] = special;
    return row;
  });
  const x = Float32Array.from(rows.flatMap((row) => [...row]));
  for (const name of ["binary-g128", "ternary-g64", "q4_0"]) {
    for (const activations of LEVELS) {
      const shape = [6, columns, rows.length];
      const [wanted] = results(reference, name, activations, shape, x);
      for (const backend of others) {
        assertSame(results(backend, name, activations, shape, x)[0], wanted, `${name} x ${activations}`);
      }
    }
  }
});

test("the plan counts bits where that is faster, multiplies bytes elsewhere, and says so; other weights are refused", () => {
  const plan = (name: string, activations: Activations, relaxedDot: "none" | "unsigned") =>
    planBits(weightRows(packed(name, 4, 256)), activations, relaxedDot)?.why;
  assert.equal(plan("binary-g128", "int1", "none"), "bits counted, 1 plane of weights and 1 plane of activations");
  assert.equal(plan("binary-g128", "int1", "unsigned"), undefined);
  assert.equal(plan("int4-g32", "int1", "none"), "bits counted, 4 planes of weights and 1 plane of activations");
  assert.equal(plan("int4-g32", "int1", "unsigned"), undefined);
  assert.equal(plan("int4-g32", "int4", "unsigned"), undefined);
  assert.equal(plan("int2-g32", "int2", "none"), undefined);
  assert.equal(plan("int2-g32", "int2", "unsigned"), undefined);
  assert.equal(plan("binary-g128", "int8", "none"), undefined);
  const [backend] = others;
  assert.match(
    backend.loadMatrix(packed("binary-g128", 4, 256), "int1").plan,
    /^(bits counted|one row by lookup).*, scale \(.*\) for 128 columns.*; .* bits a/,
  );
  for (const one of [backend, reference]) {
    assert.throws(() => one.loadMatrix(packed("mxfp8", 4, 256), "int2"), UnsupportedError);
    assert.throws(() => one.loadMatrix(packed("nf4-g64", 4, 256), "int1"), UnsupportedError);
  }
});
