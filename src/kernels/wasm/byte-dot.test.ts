import assert from "node:assert/strict";
import { test } from "node:test";
import { scheme } from "../../formats/index.js";
import { quantize } from "../../tensor/quantize.js";
import { weightRows } from "../weight-rows.js";
import { byLookup } from "./byte-dot.js";
import { describe, planLayout } from "./layout.js";

const planned = (name: string, relaxedDot: "none" | "unsigned", cacheRoom = 0) =>
  planLayout(weightRows(quantize(new Float32Array(512).fill(0.5), [4, 128], scheme(name))), "int8", {
    relaxedDot,
    fused: false,
    cacheRoom,
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

test("scales of at most 4 bits are held as f32 where the caches have room for them, packed elsewhere, and the plan says why", () => {
  for (const name of ["q4_0", "nvfp4", "int2-g32", "binary-g128"]) {
    const [few, many] = [planned(name, "unsigned", 2 ** 20), planned(name, "unsigned")];
    assert.deepEqual([few.scale?.kind, few.cached], ["f32", true], name);
    assert.match(
      describe(few),
      /scale \(f32\) for (\d+ columns|a row), ready for use because so few weights stay in the caches/,
    );
    assert.notEqual(many.scale?.kind, "f32", name);
    assert.equal(planned(name, "unsigned", few.bytes - 1).bytes, many.bytes, "no room, no byte more");
  }
  assert.equal(planned("q8_0", "unsigned", 2 ** 20).scale?.kind, planned("q8_0", "unsigned").scale?.kind);
});

test("rows share bytes where codes of 2 or 4 bits are multiplied as they are and bytes are read as unsigned", () => {
  for (const [name, relaxedDot, rows] of [
    ["q4_0", "unsigned", 8],
    ["int2-g32", "unsigned", 16],
    ["ternary-g128", "unsigned", 16],
    ["q4_0", "none", 4],
    ["mxfp4", "unsigned", 4],
    ["q8_0", "unsigned", 4],
  ] as const) {
    const layout = planned(name, relaxedDot);
    assert.equal(4 * layout.beside, rows, `${name}, ${relaxedDot}`);
    assert.equal(/rows share bytes/.test(layout.why), rows > 4, layout.why);
  }
});
