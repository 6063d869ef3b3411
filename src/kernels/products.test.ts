import assert from "node:assert/strict";
import { test } from "node:test";
import { randomUniform } from "../random.js";
import { backends } from "./index.js";
import { plainProducts, productsOn, transposed } from "./products.js";

const matrix = (stream: number, length: number) =>
  Float32Array.from({ length }, (_, i) => 2 * randomUniform(1, stream, i) - 1);

test("a product on every backend has the bits of the plain loop, whatever the shape", async () => {
  for (const { name, create } of backends.entries) {
    const backend = await create({});
    try {
      for (const [rows, n, columns] of [
        [1, 1, 1],
        [3, 5, 7],
        [33, 18, 40],
        [6, 70, 129],
      ]) {
        const [x, a] = [matrix(1, rows * columns), matrix(2, n * columns)];
        const wanted = plainProducts.multiply(x, a, columns);
        assert.deepEqual(productsOn(backend).multiply(x, a, columns), wanted, `${name} ${rows} ${n} ${columns}`);
      }
    } finally {
      await backend.dispose();
    }
  }
});

test("transposing twice gives the matrix back, and (A B^T)^T = B A^T to the bit", () => {
  const [a, b] = [matrix(3, 37 * 50), matrix(4, 21 * 50)];
  assert.deepEqual(transposed(transposed(a, 50), 37), a);
  const product = plainProducts.multiply(a, b, 50);
  assert.deepEqual(transposed(product, 21), plainProducts.multiply(b, a, 50));
});
