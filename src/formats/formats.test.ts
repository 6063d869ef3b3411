import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError, NumericError } from "../errors.js";
import { decode, decodeTable, encode, format, formats, maxFinite, minifloat, scheme, schemes } from "./index.js";

test("the largest values are those of the standards", () => {
  const wanted = {
    f32: 3.4028234663852886e38,
    f16: 65504,
    bf16: 3.3895313892515355e38,
    e4m3fn: 448,
    e5m2: 57344,
    e3m2: 28,
    e2m3: 7.5,
    e2m1: 6,
    e8m0: 2 ** 127,
    int4: 7,
    uint8: 255,
  };
  for (const [name, max] of Object.entries(wanted)) assert.equal(maxFinite(format(name)), max, name);
});

test("e2m1 rounds ties to even: 0.25 to 0, 0.75 to 1, 2.5 to 2, 3.5 to 4, 5 to 4", () => {
  const ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5];
  assert.deepEqual(
    ties.map((x) => decode(format("e2m1"), encode(format("e2m1"), x))),
    [0, 1, 1, 2, 2, 4, 4],
  );
});

test("there is one rounding from binary64: a value just above an f32 tie does not fall back on it", () => {
  // 1 + 2^-11 is a tie of f16; the 2^-50 above it is lost in f32, and rounding twice would give 1.
  assert.equal(decode(format("f16"), encode(format("f16"), 1 + 2 ** -11 + 2 ** -50)), 1 + 2 ** -10);
});

test("every rounding mode decides 2.5 and -2.5, 2.25 and 2.75 as its name says", () => {
  const int8 = format("int8");
  const rounded = (rounding: Parameters<typeof encode>[2]) =>
    [2.5, -2.5, 2.25, -2.75].map((x) => decode(int8, encode(int8, x, rounding)));
  assert.deepEqual(rounded({ rounding: "nearest-even" }), [2, -2, 2, -3]);
  assert.deepEqual(rounded({ rounding: "nearest-away" }), [3, -3, 2, -3]);
  assert.deepEqual(rounded({ rounding: "nearest-zero" }), [2, -2, 2, -3]);
  assert.deepEqual(rounded({ rounding: "toward-zero" }), [2, -2, 2, -2]);
  assert.deepEqual(rounded({ rounding: "up" }), [3, -2, 3, -2]);
  assert.deepEqual(rounded({ rounding: "down" }), [2, -3, 2, -3]);
  assert.deepEqual(rounded({ rounding: "away" }), [3, -3, 3, -3]);
  assert.deepEqual(rounded({ rounding: "to-odd" }), [3, -3, 3, -3]);
});

test("overflow is an axis of its own: 500 in e4m3fn saturates, becomes NaN, or is an error", () => {
  const e4m3fn = format("e4m3fn");
  assert.equal(decode(e4m3fn, encode(e4m3fn, 500, { overflow: "saturate" })), 448);
  assert.equal(decode(e4m3fn, encode(e4m3fn, 500)), Number.NaN);
  assert.equal(decode(format("e5m2"), encode(format("e5m2"), 61440)), Infinity);
  assert.equal(decode(format("e5m2"), encode(format("e5m2"), 61440, { rounding: "toward-zero" })), 57344);
  assert.equal(decode(format("e5m2"), encode(format("e5m2"), Infinity, { overflow: "propagate" })), Infinity);
  assert.throws(() => encode(e4m3fn, 500, { overflow: "error" }), NumericError);
  assert.equal(encode(format("int4"), 9, { overflow: "wrap" }), 9);
  assert.equal(decode(format("int4"), 9), -7);
});

test("a format without NaN refuses NaN unless told what it becomes", () => {
  assert.throws(() => encode(format("e2m1"), Number.NaN), NumericError);
  assert.equal(encode(format("e2m1"), Number.NaN, { nan: "max" }), 7);
  assert.equal(encode(format("e2m1"), Number.NaN, { nan: "negative-zero" }), 8);
});

test("unknown names suggest, codes out of range are refused", () => {
  assert.throws(
    () => format("e4m3fm"),
    (error) => error instanceof InputError && /e4m3fn/.test(error.details.try ?? ""),
  );
  assert.throws(() => scheme("q4_2"), InputError);
  assert.throws(() => decode(format("e2m1"), 16), InputError);
  assert.throws(() => decode(format("e2m1"), -1), InputError);
});

test("families are made from names, and the same name gives the same record", () => {
  assert.equal(scheme("int4-g64"), scheme("int4-g64"));
  assert.equal(scheme("e2m3-g16").element, format("e2m3"));
  assert.equal(scheme("int3-g128-asym").offset?.kind, "zeroPoint");
  for (const name of ["f16-g32", "int4-g0", "e8m0-g32", "uint4-g32", "e4m3fn-g32-asym", "int4-g"]) {
    assert.equal(schemes.find(name), undefined, name);
  }
  assert.equal(formats.find("int17"), undefined);
});

test("a new minifloat is a record of a few parameters and works at once", () => {
  const e3m1 = minifloat({
    name: "e3m1",
    exponentBits: 3,
    significandBits: 1,
    nonFinite: "none",
    summary: "made up",
    source: "here",
  });
  assert.equal(e3m1.bits, 5);
  assert.deepEqual([...decodeTable(e3m1)].slice(0, 6), [0, 0.125, 0.25, 0.375, 0.5, 0.75]);
  assert.equal(maxFinite(e3m1), 24);
});
