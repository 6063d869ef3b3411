import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { dequantize } from "../tensor/dequantize.js";
import { quantize } from "../tensor/quantize.js";
import { decodeRow, weightRows } from "./weight-rows.js";

const names = [...schemes.names, "int4-g32", "int3-row", "int8-g128-asym", "e2m1-g16"];

test("weights read row by row are the numbers that dequantize gives, for every scheme", () => {
  const [rows, columns] = [3, 290];
  const values = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i) * (1 + (i % 7)));
  for (const name of names) {
    const packed = quantize(values, [rows, columns], schemes.get(name));
    const wanted = dequantize(packed);
    const reader = weightRows(packed);
    const row = new Float32Array(columns);
    for (let n = 0; n < rows; n++) {
      reader.read(n);
      decodeRow(reader, row);
      assert.deepEqual(row, wanted.subarray(n * columns, (n + 1) * columns), `${name}, row ${n}`);
    }
  }
});

test("a weight that is no matrix, or shorter than its shape says, is refused", () => {
  const packed = quantize(new Float32Array(64), [2, 32], schemes.get("q8_0"));
  assert.throws(() => weightRows({ ...packed, shape: [64] }), InputError);
  assert.throws(() => weightRows({ ...packed, shape: [3, 32] }), /too short/);
});
