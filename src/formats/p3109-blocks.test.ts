import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError } from "../errors.js";
import {
  blockDotProduct,
  blockOperation,
  blockReduceAdd,
  blockReduceMultiply,
  convertFromBlock,
  convertToBlock,
  convertToBlockMaxAbsFinite,
  decode,
  encode,
  format,
  kappa,
  type NumberFormat,
} from "./index.js";

const element = format("Binary8p4se");
const power = format("Binary8p1uf");
const small = format("Binary4p2sf");
const f32 = format("f32");
const all = (f: NumberFormat) => Array.from({ length: 2 ** f.bits }, (_, code) => code);
const codesOf = (f: NumberFormat, ...values: number[]) => values.map((value) => encode(f, value));
const valuesOf = (f: NumberFormat, codes: readonly number[]) => codes.map((code) => decode(f, code));

test("every code becomes a block under every power-of-two scale as the exact quotient, rounded once", () => {
  const codes = all(element);
  for (const scale of [1, 120, 127, 128, 129, 140, 254]) {
    const block = convertToBlock(element, codes, { scaleFormat: power, scale }, small);
    // Dividing by a power of two is exact in binary64 here.
    const wanted = codes.map((code) => encode(small, decode(element, code) / decode(power, scale)));
    assert.deepEqual(block.codes, wanted, `scale code ${scale}`);
  }
});

test("quotients that binary64 cannot hold are still rounded once, in every direction", () => {
  // The neighbours of 1 / 3 are 0.3125 and 0.34375.
  const under = (rounding: "down" | "up") => {
    const scale = { scaleFormat: element, scale: encode(element, 3) };
    const block = convertToBlock(element, codesOf(element, 1, -1), scale, element, { rounding });
    return valuesOf(element, block.codes);
  };
  assert.deepEqual(under("down"), [0.3125, -0.34375]);
  assert.deepEqual(under("up"), [0.34375, -0.3125]);
});

test("the scale is the largest finite magnitude, rounded as asked; infinities do not count beside numbers", () => {
  const codes = codesOf(element, 0.5, -13, 3, Infinity);
  const up = convertToBlockMaxAbsFinite(element, codes, power, element, { scale: { rounding: "up" } });
  assert.equal(decode(power, up.scale), 16);
  assert.deepEqual(valuesOf(element, up.codes), [0.03125, -0.8125, 0.1875, Infinity]);
  assert.deepEqual(valuesOf(element, convertFromBlock(up, element)), [0.5, -13, 3, Infinity]);
  const down = convertToBlockMaxAbsFinite(element, codes, power, small, { scale: { rounding: "down" } });
  assert.equal(decode(power, down.scale), 8);
  // 13 / 8 lies nearer to 1.5 than to 2; an infinity stops at the largest value of a finite format.
  assert.deepEqual(valuesOf(small, down.codes), [0, -1.5, 0.5, 3]);
});

test("all NaN gives a scale of NaN, all infinite signs, a scale that rounds to zero zeros", () => {
  const nan = convertToBlockMaxAbsFinite(element, [0x80, 0x80], element, element);
  assert.ok([decode(element, nan.scale), ...valuesOf(element, nan.codes)].every(Number.isNaN));
  const infinite = convertToBlockMaxAbsFinite(element, codesOf(element, Infinity, -Infinity), element, element);
  assert.equal(decode(element, infinite.scale), Infinity);
  assert.deepEqual(valuesOf(element, infinite.codes), [1, -1]);
  const tiny = codesOf(f32, 2 ** -100, -(2 ** -101), Infinity, Number.NaN);
  const zeros = convertToBlockMaxAbsFinite(f32, tiny, element, element);
  assert.equal(decode(element, zeros.scale), 0);
  assert.deepEqual(valuesOf(element, zeros.codes), [0, 0, 0, Number.NaN]);
});

test("sums, products and dot products of blocks are exact before their one rounding", () => {
  const block = {
    scaleFormat: power,
    scale: encode(power, 2),
    format: element,
    codes: codesOf(element, 7, -0.5, 0.25),
  };
  assert.equal(decode(f32, blockReduceAdd(block, f32)), 13.5);
  assert.equal(decode(f32, blockReduceMultiply(block, f32)), -7);
  assert.equal(
    decode(f32, blockDotProduct(block, { ...block, scale: encode(power, 4) }, f32)),
    8 * (49 + 0.25 + 0.0625),
  );
  // 2^30 + 2^-30 - 2^30: rounded on the way it would be 0.
  const wide = {
    scaleFormat: power,
    scale: encode(power, 1),
    format: f32,
    codes: codesOf(f32, 2 ** 30, 2 ** -30, -(2 ** 30)),
  };
  assert.equal(decode(f32, blockReduceAdd(wide, f32)), 2 ** -30);
});

test("zero times infinity and infinities of opposite signs make NaN in blocks too", () => {
  const of = (scale: number, ...values: number[]) => ({
    scaleFormat: element,
    scale: encode(element, scale),
    format: element,
    codes: codesOf(element, ...values),
  });
  assert.ok(Number.isNaN(decode(f32, blockReduceMultiply(of(0, Infinity), f32))));
  assert.ok(Number.isNaN(decode(f32, blockReduceAdd(of(1, Infinity, -Infinity), f32))));
  assert.equal(decode(f32, blockReduceAdd(of(-2, Infinity, 5), f32)), -Infinity);
});

test("operations element by element equal those of exact values under the scale of the result", () => {
  const codes = all(element).filter((code) => Number.isFinite(decode(element, code)));
  const x = { scaleFormat: power, scale: encode(power, 4), format: element, codes };
  const y = { ...x, scale: encode(power, 0.5), codes: [...codes].reverse() };
  const z = { ...x, scale: encode(power, 8), codes: codes.map((_, i) => codes[(7 * i) % codes.length]) };
  const [a, b, c] = [x, y, z].map((block) => valuesOf(element, block.codes).map((v) => v * decode(power, block.scale)));
  const result = { scaleFormat: power, scale: encode(power, 16) };
  const wanted = {
    convert: a,
    negate: a.map((v) => -v),
    abs: a.map(Math.abs),
    add: a.map((v, i) => v + b[i]),
    subtract: a.map((v, i) => v - b[i]),
    multiply: a.map((v, i) => v * b[i]),
    // All of these are exact in binary64: at most 30 bits lie between the least and the largest product.
    fma: a.map((v, i) => v * b[i] + c[i]),
    faa: a.map((v, i) => v + b[i] + c[i]),
  };
  for (const [operation, values] of Object.entries(wanted)) {
    const block = blockOperation(operation as keyof typeof wanted, [x, y, z], result, element);
    assert.deepEqual(
      block.codes,
      values.map((v) => encode(element, v / 16)),
      operation,
    );
  }
});

test("kappa counts values between defined and approximate results: the example of P3109's annex D.1", () => {
  // Exp with subnormal results flushed to zero or to the smallest normal, whichever is nearer.
  const subnormals = [1, 2, 3, 4, 5, 6, 7];
  const flushed = subnormals.map((code) => (code <= 4 ? 0 : 8));
  assert.equal(kappa(element, subnormals, flushed), 4);
  assert.equal(kappa(element, [5, 6, 7], [8, 8, 8]), 3);
  assert.equal(kappa(element, [9], [9]), 0);
});

test("kappa crosses zero, knows NaN and infinity, and ranks codes of every kind of format by value", () => {
  assert.equal(kappa(element, [0x82], [3]), 5);
  assert.ok(Number.isNaN(kappa(element, [0x80, 1], [1, 1])));
  assert.equal(kappa(element, [0x7f], [0x7e]), Infinity);
  assert.equal(kappa(element, [0x7f], [0xff]), Infinity);
  assert.equal(kappa(element, [0x80, 0x7f], [0x80, 0x7f]), 0);
  for (const [name, a, b, steps] of [
    ["f32", 1, 1 + 2 ** -22, 2],
    ["e2m1", -0.5, 0.5, 2],
    ["int8", -3, 4, 7],
    ["bnb-fp4", 0, 1, 7],
    ["posit8", -1, 1, 128],
  ] as const) {
    const f = format(name);
    assert.equal(kappa(f, codesOf(f, a), codesOf(f, b)), steps, name);
  }
  assert.throws(() => kappa(f32, [1], []), InputError);
});
