/**
 * What the generators of products write, as text beside this file: a change of theirs shows as a change of it.
 * BITLOOM_WRITE_WAT=1 writes the files anew.
 */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { test } from "node:test";
import { compile } from "watr";
import { scheme as schemeOf } from "../../src/formats/index.js";
import type { Activations } from "../../src/kernels/backend.js";
import type { RelaxedDot } from "../../src/kernels/wasm/features.js";
import { planLayout } from "../../src/kernels/wasm/layout.js";
import { matmulModule } from "../../src/kernels/wasm/matmul-f32.js";
import { weightRows } from "../../src/kernels/weight-rows.js";
import { quantize } from "../../src/tensor/quantize.js";
import { textOf } from "./text.js";

interface Sample {
  readonly scheme: string;
  readonly activations: Activations;
  readonly relaxedDot: RelaxedDot;
  readonly fused?: boolean;
  /** The function whose text is kept. */
  readonly kernel: string;
}

/** One of each way to multiply. */
const samples: readonly Sample[] = [
  { scheme: "q4_0", activations: "int8", relaxedDot: "unsigned", kernel: "gemvInt8" },
  { scheme: "q8_0", activations: "int8", relaxedDot: "none", kernel: "gemvInt8" },
  { scheme: "q8_0", activations: "int8", relaxedDot: "none", kernel: "gemmInt8" },
  { scheme: "mxfp4", activations: "int8", relaxedDot: "7 bits", kernel: "gemvInt8" },
  { scheme: "int2-g64", activations: "int8", relaxedDot: "unsigned", kernel: "gemvInt8" },
  { scheme: "binary-g32", activations: "int8", relaxedDot: "unsigned", kernel: "gemvInt8" },
  { scheme: "binary-g32", activations: "int8", relaxedDot: "none", kernel: "lookupTables" },
  { scheme: "int2-g64", activations: "int8", relaxedDot: "none", kernel: "gemvInt8" },
  { scheme: "q4_0", activations: "int8", relaxedDot: "unsigned", kernel: "roundRows" },
  { scheme: "mxfp8", activations: "f32", relaxedDot: "none", kernel: "gemv" },
  { scheme: "q4_1", activations: "f32", relaxedDot: "none", kernel: "gemm" },
];

const values = Float32Array.from({ length: 8 * 64 }, (_, i) => Math.sin(i));

for (const { scheme, activations, relaxedDot, fused = false, kernel } of samples) {
  const title = `${scheme} with ${activations} activations, relaxed dot "${relaxedDot}": ${kernel}`;
  test(`${title} is generated as kept, and watr assembles its text to the same bytes`, () => {
    const packed = quantize(values, [8, 64], schemeOf(scheme));
    const layout = planLayout(weightRows(packed), activations, { relaxedDot, fused });
    const bytes = matmulModule(layout, { initialPages: 0 });
    const { functions, module } = textOf(bytes);
    assert.deepEqual([...compile(module)], [...bytes]);
    const text = `${functions.get(kernel)}\n`;
    const name = `${kernel}-${scheme}-${relaxedDot.replace(" ", "-")}.wat`;
    // The compiled test runs in a build folder beside the sources.
    const file = new URL(`../../../test/wat/${name}`, import.meta.url);
    if (process.env.BITLOOM_WRITE_WAT) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, "utf8"));
  });
}
