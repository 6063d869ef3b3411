import assert from "node:assert/strict";
import { test } from "node:test";
import { memoriesFor } from "./engine.js";

test("models of less than 2.9 GiB run in one memory, larger ones get one for activations and 4 GiB each for weights", () => {
  const gib = 2 ** 30;
  assert.deepEqual([0, 2.8 * gib, 3 * gib, 3.3 * gib, 7 * gib].map(memoriesFor), [1, 1, 2, 3, 4]);
});
