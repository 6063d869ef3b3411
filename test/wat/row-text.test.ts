/** The text of the kernels between products, kept as kernel-text.test.ts keeps that of products. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { compile } from "watr";
import { defineAttention } from "../../src/kernels/wasm/attention.js";
import { createModule } from "../../src/kernels/wasm/emitter.js";
import { defineRowKernels } from "../../src/kernels/wasm/rows.js";
import { textOf } from "./text.js";

const core = createModule({ initialPages: 0 });
defineRowKernels(core);
defineAttention(core);
const bytes = core.bytes();
const { functions, module } = textOf(bytes);

test("watr assembles the text of all kernels between products to the same bytes", () => {
  assert.deepEqual([...compile(module)], [...bytes]);
});

for (const kernel of ["rmsNorm", "softmax", "rope", "siluMultiply", "attention"]) {
  test(`${kernel} is generated as kept`, () => {
    const file = new URL(`../../../test/wat/${kernel}.wat`, import.meta.url);
    const text = `${functions.get(kernel)}\n`;
    if (process.env.BITLOOM_WRITE_WAT) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, "utf8"));
  });
}
