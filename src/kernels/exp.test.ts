import assert from "node:assert/strict";
import { test } from "node:test";
import { expF32 } from "./exp.js";

test("exp stays within 2^-22 of the true value, relatively, because the polynomial is minimax and steps are rounded", () => {
  let worst = 0;
  for (let i = 0; i <= 350_000; i++) {
    const x = Math.fround(-87 + i * 0.0005);
    worst = Math.max(worst, Math.abs(expF32(x) / Math.exp(x) - 1));
  }
  assert.ok(worst < 2 ** -22, `worst relative error ${worst}`);
});

test("exp saturates at its ends, is exact at 0 and keeps NaN", () => {
  assert.equal(expF32(0), 1);
  assert.equal(expF32(-Infinity), expF32(-87));
  assert.equal(expF32(Infinity), expF32(88));
  assert.ok(Number.isNaN(expF32(Number.NaN)));
});
