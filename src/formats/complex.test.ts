import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError, NumericError, UnsupportedError } from "../errors.js";
import {
  complexUnits,
  decodeComplex,
  dequantizeComplex,
  encodeComplex,
  format,
  quantizeComplex,
  scheme,
} from "./index.js";

test("code c of the complex units is i^c, and encoding finds it again", () => {
  let [re, im] = [1, 0];
  for (let code = 0; code < 4; code++) {
    assert.deepEqual(decodeComplex(complexUnits, code), [re + 0, im + 0]);
    assert.equal(encodeComplex(complexUnits, re, im), code);
    [re, im] = [-im, re];
  }
  assert.throws(() => decodeComplex(complexUnits, 4), InputError);
});

test("a complex number gets the unit nearest in phase, whatever its magnitude, and the lower code on a diagonal", () => {
  for (const magnitude of [1e-30, 1, 1e30]) {
    for (let degree = 0; degree < 360; degree++) {
      const angle = (degree * Math.PI) / 180;
      const code = encodeComplex(complexUnits, magnitude * Math.cos(angle), magnitude * Math.sin(angle));
      if (degree % 90 !== 45) assert.equal(code, Math.round(degree / 90) % 4, `${degree} degrees`);
    }
  }
  assert.deepEqual(
    [encodeComplex(complexUnits, 1, 1), encodeComplex(complexUnits, -1, 1), encodeComplex(complexUnits, 1, -1)],
    [0, 1, 0],
  );
  assert.throws(() => encodeComplex(complexUnits, Number.NaN, 0), NumericError);
});

test("quantized complex numbers take 2 bits each and one scale for each axis: the mean of what went there", () => {
  const values = Float32Array.of(3, 1, -5, 0.5, 0.25, -2, 1, 6, 0, 7);
  const packed = quantizeComplex(values);
  assert.equal(packed.codes.length, 2);
  assert.deepEqual(packed.scale, { re: 4, im: 5 });
  assert.deepEqual(
    dequantizeComplex(packed).map((v) => v + 0),
    Float32Array.of(4, 0, -4, 0, 0, -5, 0, 5, 0, 5),
  );
  assert.deepEqual(dequantizeComplex(quantizeComplex(new Float32Array(0))), new Float32Array(0));
  assert.throws(() => quantizeComplex(new Float32Array(3)), InputError);
});

test("asking for a complex codebook as a number format or in a scheme is an error that says where it is", () => {
  for (const ask of [() => format("complex-units"), () => scheme("complex-units-g32")]) {
    assert.throws(ask, (error) => error instanceof UnsupportedError && /quantizeComplex/.test(error.details.try ?? ""));
  }
});
