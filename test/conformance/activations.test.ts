/** What holds for rounding activations on every backend: it is quantizing and dequantizing each row, bit for bit. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { InputError, NumericError } from "../../src/errors.js";
import { formats, schemes } from "../../src/formats/index.js";
import type { Backend } from "../../src/kernels/backend.js";
import { backends, createBackend } from "../../src/kernels/index.js";
import { dequantize } from "../../src/tensor/dequantize.js";
import { quantize } from "../../src/tensor/quantize.js";
import { numbers } from "./numbers.js";

const rowsOfTheirOwn = ["int8-row", "e4m3fn-row", "int4-g32", "int8-row-asym", "int4-4x32", "e2m1-g64"];
const all = [...schemes.entries, ...rowsOfTheirOwn.map((name) => schemes.get(name))];
const made: Backend[] = [];
for (const { name } of backends.entries) {
  for (const threads of name === "reference" ? [1] : [1, 2]) made.push(await createBackend(name, { threads }));
}
after(() => Promise.all(made.map((backend) => backend.dispose())));

/** A bell with one number in fifty that is thirty times as large. */
const activations = (count: number, seed: number) => numbers(count, seed, (bell) => 30 * bell);

function same(got: Float32Array, wanted: Float32Array, what: string): void {
  const bad = wanted.findIndex((value, i) => got[i] !== value);
  assert.equal(bad, -1, `${what}: element ${bad} is ${got[bad]}, wanted ${wanted[bad]}`);
}

test("every backend rounds rows to every scheme as tensors of their own, in place or not", () => {
  for (const scheme of all) {
    for (const [batch, columns] of [
      [3, 256],
      [2, 515],
      [1, 5],
    ]) {
      const x = activations(batch * columns, columns);
      const wanted = new Float32Array(x.length);
      for (let row = 0; row < batch; row++) {
        const values = x.slice(row * columns, (row + 1) * columns);
        wanted.set(dequantize(quantize(values, [columns], scheme)), row * columns);
      }
      for (const backend of made) {
        const what = `${backend.info.name}, ${backend.info.threads} threads, ${scheme.name} [${batch}, ${columns}]`;
        const [from, to] = [backend.upload(x), backend.allocate(x.length)];
        backend.round(to, from, scheme, batch, columns);
        same(to.data(), wanted, what);
        same(from.data(), x, `${what}, the input`);
        backend.round(from, from, scheme, batch, columns);
        same(from.data(), wanted, `${what}, in place`);
        for (const buffer of [from, to]) backend.free(buffer);
      }
    }
  }
});

test("every backend rounds rows of zeros, of blocks of zeros, and of numbers near either end of f32 to a scale above scales", () => {
  const stacks = ["torchao", "compressed-tensors", "auto-round", "modelopt"].map((name) =>
    schemes.get(`nvfp4@${name}`),
  );
  const registered = all.filter(({ scale }) => scale?.super?.per === "tensor" && scale.rows === undefined);
  assert.ok(registered.some(({ name }) => name === "nvfp4"));
  const columns = 64;
  const bell = numbers(columns, 3);
  const rows = [
    bell.map(() => 0),
    bell.map((v, i) => (i < 40 ? 0 : v)),
    bell.map((v) => v * 1e37),
    bell.map((v) => v * 1e-38),
    bell.map((v, i) => v * 2 ** (i - 32)),
    bell.map((v) => -v),
  ];
  const x = Float32Array.from(rows.flatMap((row) => [...row]));
  for (const scheme of [...registered, ...stacks]) {
    const results = made.map((backend) => {
      const buffer = backend.upload(x);
      backend.round(buffer, buffer, scheme, rows.length, columns);
      const rounded = buffer.data().slice();
      backend.free(buffer);
      return rounded;
    });
    for (const rounded of results)
      same(rounded, results[made.findIndex(({ info }) => info.name === "reference")], scheme.name);
  }
});

test("every backend rounds with given scales, one for all columns or one for each, and saturates", () => {
  const [batch, columns] = [3, 37];
  const x = activations(batch * columns, 5);
  for (const name of ["int8", "e4m3fn", "int4", "e2m1"]) {
    for (const scales of [Float32Array.of(0.01), Float32Array.from({ length: columns }, (_, j) => 0.003 * (j + 1))]) {
      const [reference, ...others] = [...made]
        .sort((a) => (a.info.name === "reference" ? -1 : 1))
        .map((backend) => {
          const buffers = [backend.allocate(x.length), backend.upload(x), backend.upload(scales)];
          backend.roundStatic(buffers[0], buffers[1], formats.get(name), buffers[2], batch, columns);
          const result = buffers[0].data().slice();
          for (const buffer of buffers) backend.free(buffer);
          return result;
        });
      const largest = Math.max(...reference.map((v, i) => Math.abs(v) / scales[scales.length === 1 ? 0 : i % columns]));
      assert.ok(largest <= 448.001, `${name} reaches ${largest} scales`);
      for (const other of others) same(other, reference, name);
    }
  }
});

test("every backend refuses to round what is not finite, and buffers that are too short", () => {
  for (const backend of made) {
    const bad = backend.upload(Float32Array.of(1, Number.NaN, 3, 4));
    assert.throws(() => backend.round(bad, bad, schemes.get("int8-row"), 1, 4), NumericError);
    const one = backend.upload(Float32Array.of(1));
    assert.throws(() => backend.roundStatic(bad, bad, formats.get("int8"), one, 1, 4), NumericError);
    assert.throws(() => backend.round(bad, bad, schemes.get("int8-row"), 2, 4), InputError);
    assert.throws(() => backend.roundStatic(bad, bad, formats.get("int8"), bad, 2, 2), InputError);
  }
});
