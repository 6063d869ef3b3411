import assert from "node:assert/strict";
import { test } from "node:test";
import { geluF32, geluTanhF32 } from "./gelu.js";

/** erfc by its series near 0 and its continued fraction beyond (Abramowitz and Stegun 7.1.5 and 7.1.14), in binary64. */
function erfc(z: number): number {
  if (z < 0) return 2 - erfc(-z);
  if (z < 2) {
    let [term, sum] = [z, z];
    for (let n = 1; n < 60; n++) {
      term *= (-z * z) / n;
      sum += term / (2 * n + 1);
    }
    return 1 - (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = z;
  for (let k = 120; k > 0; k--) fraction = z + k / 2 / fraction;
  return Math.exp(-z * z) / Math.sqrt(Math.PI) / fraction;
}

test("gelu stays within 2^-20 of the true value above -2, relatively, and within 2^-25 below, by its fit and roundings", () => {
  for (let i = 0; i <= 60_000; i++) {
    const x = Math.fround(-14 + i * 0.0005);
    const exact = 0.5 * x * erfc(-x / Math.SQRT2);
    const error = Math.abs(geluF32(x) - exact);
    assert.ok(error <= (x > -2 ? 2 ** -20 * Math.abs(exact) : 2 ** -25), `${x}: ${geluF32(x)} for ${exact}`);
  }
});

test("the tanh form stays within 2^-20 of its formula, absolutely, because 1 + tanh cancels below 0", () => {
  for (let i = 0; i <= 20_000; i++) {
    const x = Math.fround(-10 + i * 0.001);
    const exact = 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
    assert.ok(Math.abs(geluTanhF32(x) - exact) <= 2 ** -20 * Math.max(1, Math.abs(x)), `${x}`);
  }
});

test("gelu keeps 0, infinity and NaN, and ends at 0 on the left", () => {
  for (const gelu of [geluF32, geluTanhF32]) {
    assert.equal(gelu(0), 0);
    assert.equal(gelu(Infinity), Infinity);
    assert.ok(Number.isNaN(gelu(Number.NaN)));
  }
  assert.ok(Math.abs(geluF32(-Infinity)) < 2 ** -120);
});
