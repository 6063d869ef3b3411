import assert from "node:assert/strict";
import { test } from "node:test";
import { philox, randomUniform, randomWord } from "./random.js";

const hex = (words: readonly number[]) => words.map((word) => word.toString(16).padStart(8, "0")).join(" ");

test("philox gives the known answers of the Random123 distribution (kat_vectors, philox4x32 10)", () => {
  assert.equal(hex(philox([0, 0, 0, 0], [0, 0])), "6627e8d5 e169c58d bc57ac4c 9b00dbd8");
  const ones = 0xffffffff;
  assert.equal(hex(philox([ones, ones, ones, ones], [ones, ones])), "408f276d 41c83b0e a20bc7c6 6d5451fd");
  const pi = philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0]);
  assert.equal(hex(pi), "d16cfe09 94fdcceb 5001e420 24126ea1");
});

test("a draw depends on seed, stream and index, and on nothing else", () => {
  assert.equal(randomWord(7, 3, 1001), randomWord(7, 3, 1001));
  const draws = [randomWord(7, 3, 0), randomWord(8, 3, 0), randomWord(7, 4, 0), randomWord(7, 3, 1)];
  assert.equal(new Set([...draws, randomWord(7 + 2 ** 32, 3, 0)]).size, 5);
});

test("uniform draws have mean 1/2 and variance 1/12 within 5 standard errors of 100,000 draws", () => {
  const count = 100_000;
  let [sum, squares] = [0, 0];
  for (let i = 0; i < count; i++) {
    const x = randomUniform(1, 0, i) - 0.5;
    sum += x;
    squares += x * x;
  }
  assert.ok(Math.abs(sum / count) < 5 * Math.sqrt(1 / 12 / count));
  assert.ok(Math.abs(squares / count - 1 / 12) < 5 * Math.sqrt(1 / 180 / count));
});
