/** Block formats as other stacks compute them, against bytes that those stacks made. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { PRESETS, planeLayouts, presetNames, scheme, unpackCodes } from "../../src/formats/index.js";
import { dequantize, type PackedTensor, quantize } from "../../src/tensor/index.js";

type Digests = Readonly<Record<string, readonly [string, string]>>;
const read = (name: string): { readonly codes: Digests; readonly values?: Digests } =>
  JSON.parse(readFileSync(new URL(`../../../test/conformance/golden/${name}.json`, import.meta.url), "utf8"));
const [stacks, onnx] = [read("stacks"), read("onnx")];
const golden = { codes: { ...stacks.codes, ...onnx.codes }, values: stacks.values ?? {} };

function scattered(count: number, seed: number, power: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const u = (BigInt(i) * 2654435761n + BigInt(seed) * 40503n) & 0xffffffffn;
    return (Number(u >> 8n) - 2 ** 23) * 2 ** power;
  });
}
const row = (f: (i: number) => number) => Float32Array.from({ length: 64 }, (_, i) => f(i));
const spike = (at: number, high: number, low: number) => row((i) => (i % 32 === at ? high : low));

/** The special rows of golden/make_stacks.py. */
const rows = [
  scattered(64, 1, -23),
  scattered(64, 2, -5),
  scattered(64, 3, -60),
  scattered(64, 5, -24),
  row((i) => (i % 16) - 7.5),
  row((i) => (i % 17) * 0.5),
  row(() => 0.7109375),
  spike(9, 1.75, 0.25),
  spike(3, 1.875, 0.1),
  spike(3, 7.25, 1),
  spike(4, 448, 3),
  spike(4, 449, 3),
  spike(4, 6, 1),
  spike(4, 6.0001, 1),
  row((i) => (((i * 7) % 25) - 12) / 4),
  row((i) => (i < 32 ? 0 : 1 + i / 64)),
];
const special = new Float32Array(rows.length * 64);
for (const [i, values] of rows.entries()) special.set(values, i * 64);
const inputs = [
  { values: special, shape: [rows.length, 64] },
  { values: scattered(65536, 11, -23), shape: [256, 256] },
];

const sha256 = (...parts: readonly (Uint8Array | Float32Array)[]) => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(new Uint8Array(part.buffer, part.byteOffset, part.byteLength));
  return hash.digest("hex");
};

/** One byte for each code of a plane, padding left out; `drop` is a code that the golden data does not tell from 0. */
function codes({ scheme: s, shape, planes }: PackedTensor, plane: "codes" | "offsets", drop?: number): Uint8Array {
  const [layout, bytes] = [planeLayouts(s, shape[0], shape[1])[plane], planes[plane]];
  if (!layout || !bytes) return new Uint8Array();
  const { format, rows, codesPerRow, bytesPerRow } = layout;
  const out = new Uint8Array(rows * codesPerRow);
  for (let r = 0; r < rows; r++) {
    unpackCodes(bytes, r * bytesPerRow, format.bits, out.subarray(r * codesPerRow), codesPerRow);
  }
  return drop === undefined ? out : out.map((code) => (code === drop ? 0 : code));
}

for (const [name, digests] of Object.entries(golden.codes)) {
  test(`${name} gives the scales and codes of that stack, bit for bit`, () => {
    // The e2m1 codes of compressed-tensors and auto-round were read off values, where -0 is 0.
    const drop = /fp4@(compressed-tensors|auto-round)$/.test(name) ? 8 : undefined;
    for (const [i, { values, shape }] of inputs.entries()) {
      const packed = quantize(values, shape, scheme(name));
      assert.equal(
        sha256(packed.planes.scales!, codes(packed, "codes", drop), codes(packed, "offsets")),
        digests[i],
        i === 0 ? "special rows" : "large tensor",
      );
    }
  });
}

for (const [name, digests] of Object.entries(golden.values)) {
  test(`${name} gives the values of that stack, bit for bit`, () => {
    for (const [i, { values, shape }] of inputs.entries()) {
      const back = dequantize(quantize(values, shape, scheme(name))).map((v) => v + 0);
      assert.equal(sha256(back), digests[i], i === 0 ? "special rows" : "large tensor");
    }
  });
}

test("every preset that claims to be verified has golden data, and every preset works", () => {
  const proved = new Set(
    [...Object.keys(golden.codes), ...Object.keys(golden.values)].map((name) => name.split("@")[1]),
  );
  // The bytes of schemes that are a stack's own are proved in schemes.test.ts.
  for (const { stack, verified, own } of PRESETS) if (!own) assert.equal(proved.has(stack), verified, stack);
  for (const name of presetNames) {
    const [base, stack] = name.split("@");
    if (stack === "gguf") {
      assert.equal(scheme(name), scheme(base), name);
      continue;
    }
    const back = dequantize(quantize(inputs[1].values, inputs[1].shape, scheme(name)));
    const error = back.reduce((sum, v, i) => sum + (v - inputs[1].values[i]) ** 2, 0);
    const power = inputs[1].values.reduce((sum, v) => sum + v * v, 0);
    assert.ok(error / power < 0.03, `${name}: relative squared error ${error / power}`);
  }
});

test("searched scales lose no more than any fixed rule, by their own measure", () => {
  const errorOf = (name: string, measure: (d: number) => number) => {
    const back = dequantize(quantize(inputs[1].values, inputs[1].shape, scheme(name)));
    return back.reduce((sum, v, i) => sum + measure(v - inputs[1].values[i]), 0);
  };
  for (const other of ["ocp", "torchao-even", "torchao-rceil"]) {
    assert.ok(errorOf("mxfp4@mse", (d) => d * d) <= errorOf(`mxfp4@${other}`, (d) => d * d), other);
    assert.ok(errorOf("mxfp4@mae", Math.abs) <= errorOf(`mxfp4@${other}`, Math.abs), other);
  }
  assert.ok(errorOf("nvfp4-mse", (d) => d * d) <= errorOf("nvfp4", (d) => d * d));
});
