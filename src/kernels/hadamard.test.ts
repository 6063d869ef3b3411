import assert from "node:assert/strict";
import { test } from "node:test";
import { hadamardBlocks, hadamardFactors, hadamardMatrix } from "./hadamard.js";

test("every constructed matrix has entries 1 and -1 and rows that are orthogonal", () => {
  const orders: number[] = [];
  for (let n = 1; n <= 200; n++) {
    const h = hadamardMatrix(n);
    if (!h) continue;
    orders.push(n);
    assert.ok(h.every((x) => x === 1 || x === -1));
    for (let i = 0; i < n; i++) {
      for (let j = 0; j <= i; j++) {
        let dot = 0;
        for (let k = 0; k < n; k++) dot += h[i * n + k] * h[j * n + k];
        assert.equal(dot, i === j ? n : 0, `order ${n}, rows ${i} and ${j}`);
      }
    }
  }
  for (const n of [1, 2, 4, 8, 12, 20, 24, 28, 36, 44, 60, 76]) assert.ok(orders.includes(n), `order ${n}`);
});

test("the widths of real models split into small factors, an odd width has none", () => {
  assert.deepEqual(hadamardFactors(576), [4, 12, 12]);
  assert.deepEqual(hadamardFactors(1536), [4, 2, 4, 4, 12]);
  assert.deepEqual(hadamardFactors(64), [4, 4, 4]);
  assert.equal(
    hadamardFactors(896)?.reduce((a, b) => a * b),
    896,
  );
  assert.equal(
    hadamardFactors(4864)?.reduce((a, b) => a * b),
    4864,
  );
  for (const n of [0, 1, 2, 6, 577, 4.5]) assert.equal(hadamardFactors(n), undefined);
});

test("blocks are rotated: lengths stay, twice with the transposed order is the identity, within 1e-12 (binary64)", () => {
  const same = (x: number) => x;
  for (const block of [4, 12, 64, 96, 576]) {
    const x = Float64Array.from({ length: 2 * block }, (_, i) => Math.sin(i * i));
    const signs = Array.from({ length: 2 * block }, (_, i) => (i % 3 === 0 ? -1 : 1));
    const y = hadamardBlocks(x, block, signs, same);
    const power = (v: Float64Array, start: number) =>
      v.subarray(start, start + block).reduce((sum, value) => sum + value * value, 0);
    for (const start of [0, block])
      assert.ok(Math.abs(power(x, start) - power(y, start)) < 1e-12 * power(x, start) * 8);
    // <Hx, Hz> = <x, z>
    const z = x.map((_, i) => Math.cos(i * 0.7));
    const turned = hadamardBlocks(z, block, signs, same);
    const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, value, i) => sum + value * b[i], 0);
    assert.ok(Math.abs(dot(x, z) - dot(y, turned)) < 1e-12 * block);
  }
});
