import assert from "node:assert/strict";
import { test } from "node:test";
import { byteSize, dimensions, duration, grouped, percent, signed, significant } from "./numbers.js";

test("byte sizes use binary units with three digits", () => {
  assert.deepEqual([0, 1023, 1024, 9102336, 2 ** 40].map(byteSize), [
    "0 B",
    "1023 B",
    "1.00 KiB",
    "8.68 MiB",
    "1.00 TiB",
  ]);
});

test("durations read as a person would say them", () => {
  assert.deepEqual([0.04, 9.94, 9.96, 59.4, 93.4, 3700].map(duration), [
    "0.0 s",
    "9.9 s",
    "10 s",
    "59 s",
    "1 min 33 s",
    "1 h 1 min",
  ]);
});

test("significant digits are kept without an exponent, down to a hundred-thousandth", () => {
  assert.deepEqual(
    [0.0123, 31.24, 1240.4, 0, 0.000021, 0.0000012].map((value) => significant(value, 3)),
    ["0.0123", "31.2", "1,240", "0", "0.0000210", "1.20e-6"],
  );
});

test("differences carry their sign, shares a percent sign, counts commas, shapes a times sign", () => {
  assert.deepEqual([signed(0.01, 3), signed(-0.01, 3)], ["+0.010", "-0.010"]);
  assert.equal(percent(0.97312), "97.31 %");
  assert.equal(grouped(9102336), "9,102,336");
  assert.deepEqual([dimensions([]), dimensions([2, 3])], ["scalar", "2 x 3"]);
});
