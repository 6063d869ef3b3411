import assert from "node:assert/strict";
import { test } from "node:test";
import { scheme } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import { weightRows } from "../weight-rows.js";
import { byLookup } from "./byte-dot.js";
import { describe, planLayout } from "./layout.js";

const planned = (name: string, relaxedDot: "none" | "unsigned") =>
  planLayout(weightRows(quantize(new Float32Array(512).fill(0.5), [4, 128], scheme(name))), "int8", {
    relaxedDot,
    fused: false,
  });

test("one row times weights of one bit looks sums up for four quads side by side, with and without a relaxed dot, and the plan says so", () => {
  for (const layout of [planned("binary-g128", "none"), planned("binary-g128", "unsigned")]) {
    assert.match(
      describe(layout),
      /^one row by lookup of sums of four activations, 16 rows side by side; more: 1-bit codes/,
    );
    assert.match(describe(layout), /reads 4 streams/);
    assert.deepEqual([layout.dot && byLookup(layout.dot), layout.beside], [true, 4]);
  }
  assert.equal(planned("int4-g32", "none").beside, 1);
});

test("two bits are looked up where there is no relaxed dot; four, and bits whose bytes are 0 and no power of two, never", () => {
  for (const [name, relaxedDot, looked] of [
    ["int2-g128", "none", true],
    ["ternary-g128", "none", true],
    ["int2-g128", "unsigned", false],
    ["int4-g128", "none", false],
  ] as const) {
    const { dot } = planned(name, relaxedDot);
    assert.equal(dot && byLookup(dot), looked, `${name}, ${relaxedDot}`);
  }
  assert.equal(byLookup({ bits: 1, step: undefined, arithmetic: "plain" }), false);
});
