/** Blocks of rows and columns whose scale is stored once: ELEMENT-RxG. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedError } from "../../src/errors.js";
import { scheme } from "../../src/formats/index.js";
import { decodeRow, weightRows } from "../../src/kernels/weight-rows.js";
import { gridOf } from "../../src/quantize/grid.js";
import { dequantize, gatherRows, packedBytes, quantize, sliceRows } from "../../src/tensor/index.js";

const numbers = (count: number) =>
  Float32Array.from({ length: count }, (_, i) => Math.fround(Math.sin(i * i) * (1 + (i % 7))));

test("a tile has one scale, that of a group made of all its elements", () => {
  const [rows, columns] = [11, 21];
  const x = numbers(rows * columns);
  const y = dequantize(quantize(x, [rows, columns], scheme("e4m3fn-4x8-f32")));
  for (let top = 0; top < rows; top += 4) {
    for (let left = 0; left < columns; left += 8) {
      const places: number[] = [];
      for (let r = top; r < Math.min(top + 4, rows); r++) {
        for (let c = left; c < Math.min(left + 8, columns); c++) places.push(r * columns + c);
      }
      const group = Float32Array.from(places, (i) => x[i]);
      const wanted = dequantize(quantize(group, [1, group.length], scheme("e4m3fn-g32-f32")));
      assert.deepEqual(
        Float32Array.from(places, (i) => y[i]),
        wanted,
        `tile at ${top}, ${left}`,
      );
    }
  }
});

test("tiles of one column are blocks along the other axis", () => {
  const [rows, columns] = [40, 6];
  const x = numbers(rows * columns);
  const transposed = x.map((_, i) => x[(i % rows) * columns + Math.floor(i / rows)]);
  const y = dequantize(quantize(x, [rows, columns], scheme("e2m1-16x1")));
  const wanted = dequantize(quantize(transposed, [columns, rows], scheme("e2m1-g16")));
  assert.deepEqual(
    y.map((_, i) => y[(i % rows) * columns + Math.floor(i / rows)]),
    wanted,
  );
});

test("scales are counted once: 8 bits and 1/512 for e4m3fn in tiles of 128 x 128 with f32 scales", () => {
  const packed = quantize(numbers(256 * 384), [256, 384], scheme("e4m3fn-128x128-f32"));
  assert.equal(packedBytes(packed), 256 * 384 + 4 * 6);
});

test("slices at tile borders and the reader of the kernels see the values of the whole", () => {
  const packed = quantize(numbers(10 * 40), [10, 40], scheme("int4-4x16"));
  const whole = dequantize(packed);
  assert.deepEqual(dequantize(sliceRows(packed, 4, 10)), whole.subarray(160));
  assert.deepEqual(dequantize(sliceRows(packed, 4, 6)), whole.subarray(160, 240));
  const reader = weightRows(packed);
  const row = new Float32Array(40);
  for (let r = 0; r < 10; r++) {
    reader.read(r);
    decodeRow(reader, row);
    assert.deepEqual(row, whole.subarray(40 * r, 40 * r + 40));
  }
});

test("what would tear a tile apart is refused by name", () => {
  const packed = quantize(numbers(8 * 16), [8, 16], scheme("int4-4x16"));
  for (const torn of [() => sliceRows(packed, 2, 8), () => gatherRows(packed, [1, 0]), () => gridOf(packed)]) {
    assert.throws(torn, (error) => error instanceof UnsupportedError && /int4-4x16/.test(error.message));
  }
});
