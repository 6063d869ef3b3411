import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedError } from "../errors.js";
import { scheme } from "../formats/index.js";
import { dequantize } from "../tensor/dequantize.js";
import { quantize } from "../tensor/quantize.js";
import { openWeight } from "./rounded-rows.js";
import { decodeRow } from "./weight-rows.js";

const values = Float32Array.from({ length: 3 * 300 }, (_, i) => Math.sin(i * i) * 2 ** (i % 9));

test("float8 is rounded to int8 by at most 0.40 % of the largest of a block: half a 127th, and a scale of 8 significant bits", () => {
  for (const name of ["mxfp8", "e5m2-row", "mxfp6-e3m2", "posit8-g64"]) {
    const packed = quantize(values, [3, 300], scheme(name));
    const weight = openWeight(packed, "int8-rounded");
    assert.equal(weight.scheme.element.name, "int8");
    assert.equal(weight.rounded?.name, scheme(name).element.name);
    const wanted = dequantize(packed);
    const row = new Float32Array(300);
    for (let n = 0; n < 3; n++) {
      weight.read(n);
      decodeRow(weight, row);
      for (let start = 0; start < 300; start += weight.blockColumns) {
        const own = wanted.subarray(300 * n + start, 300 * n + Math.min(300, start + weight.blockColumns));
        const largest = own.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        own.forEach((v, k) => {
          assert.ok(Math.abs(row[start + k] - v) <= 0.004 * largest, `${name}: ${row[start + k]} for ${v}`);
        });
      }
    }
  }
});

test("integers, codebooks of few bits and weights for other activations are opened as they are", () => {
  for (const [name, activations] of [
    ["q8_0", "int8-rounded"],
    ["nf4-g64", "int8-rounded"],
    ["mxfp8", "int8"],
    ["mxfp8", "f32"],
  ] as const) {
    const weight = openWeight(quantize(values, [3, 300], scheme(name)), activations);
    assert.equal(weight.rounded, undefined);
    assert.equal(weight.scheme.name, name);
  }
});

test("a block of zeros stays zero, and codes that are no finite number are refused", () => {
  const zeros = openWeight(quantize(new Float32Array(64), [1, 64], scheme("mxfp8")), "int8-rounded");
  zeros.read(0);
  assert.ok(zeros.codes.every((code) => code === 0));
  const packed = quantize(values.subarray(0, 64), [1, 64], scheme("mxfp8"));
  packed.planes.codes[5] = 0x7f;
  assert.throws(() => openWeight(packed, "int8-rounded").read(0), UnsupportedError);
});
