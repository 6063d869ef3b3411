/** Schemes whose groups carry tags: mixtures of codebooks, and MX+. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { UnsupportedError } from "../../src/errors.js";
import { decodeTable, format, planeLayouts, scheme, unpackCodes } from "../../src/formats/index.js";
import { decodeRow, weightRows } from "../../src/kernels/weight-rows.js";
import { gridOf } from "../../src/quantize/grid.js";
import { dequantize, gatherRows, type PackedTensor, packedBytes, quantize, sliceRows } from "../../src/tensor/index.js";

const NAMES = ["bitmod3-g32", "bitmod4-g32", "bitmod3-er-g32", "bitmod4-ea-g16", "mxfp4+", "mxfp6-e3m2+", "mxfp8+"];

function scattered(count: number, seed: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const u = (BigInt(i) * 2654435761n + BigInt(seed) * 40503n) & 0xffffffffn;
    return ((Number(u >> 8n) - 2 ** 23) * 2 ** -23) ** 3;
  });
}

function tagsOf({ scheme: s, shape, planes }: PackedTensor): number[] {
  const layout = planeLayouts(s, shape[0], shape[1]).tags!;
  const tags = new Uint8Array(layout.codesPerRow);
  return Array.from({ length: layout.rows }, (_, r) => {
    unpackCodes(planes.tags!, r * layout.bytesPerRow, layout.format.bits, tags, layout.codesPerRow);
    return [...tags];
  }).flat();
}

const squaredError = (x: Float32Array, y: Float32Array) => x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0);

test("a BitMoD group made of one of the four codebooks comes back exactly, with that codebook's tag", () => {
  for (const [bits, specials] of [
    [3, [3, -3, 6, -6]],
    [4, [10, -10, 16, -16]],
  ] as const) {
    const rows = specials.map((special) => {
      const table = decodeTable(format(`bitmod${bits}${special > 0 ? "+" : ""}${special}`));
      return Array.from({ length: 32 }, (_, i) => table[i % table.length] / 8);
    });
    const x = Float32Array.from(rows.flat());
    const packed = quantize(x, [4, 32], scheme(`bitmod${bits}-g32`));
    assert.deepEqual(tagsOf(packed), [0, 1, 2, 3]);
    assert.deepEqual(dequantize(packed), x);
  }
});

test("BitMoD groups have the values that the authors' own code gives them", () => {
  const file = new URL("../../../test/conformance/golden/bitmod.json", import.meta.url);
  const { values } = JSON.parse(readFileSync(file, "utf8")) as { values: Record<string, string> };
  const x = Float32Array.from({ length: 256 * 32 }, (_, i) => {
    const u = (BigInt(i) * 2654435761n + 977n) & 0xffffffffn;
    return (Number(u >> 8n) - 2 ** 23) * 2 ** -23 * 0.7;
  });
  for (let row = 0; row < 256; row++) x[row * 32 + ((row * 7) % 32)] = row % 2 === 1 ? 0.75 : -0.75;
  for (const [bits, digest] of Object.entries(values)) {
    // Adding 0 takes the sign from -0, which the authors' lists do not have.
    const y = dequantize(quantize(x, [256, 32], scheme(`bitmod${bits}-g32`))).map((value) => value + 0);
    assert.equal(createHash("sha256").update(new Uint8Array(y.buffer)).digest("hex"), digest, `${bits} bits`);
  }
});

test("a BitMoD group errs no more than under any single one of its codebooks", () => {
  const x = scattered(64 * 32, 7);
  for (let row = 0; row < 64; row++) {
    const group = x.slice(32 * row, 32 * row + 32);
    const error = (name: string) => squaredError(group, dequantize(quantize(group, [1, 32], scheme(name))));
    const best = Math.min(...["+3", "-3", "+6", "-6"].map((special) => error(`bitmod3${special}-g32`)));
    // Errors are summed here in f32-rounded values, there in exact products.
    assert.ok(error("bitmod3-g32") <= best * (1 + 1e-6), `row ${row}`);
    assert.ok(error("bitmod3-g32") <= error("bitmod3-er-g32") * (1 + 1e-6), `row ${row}`);
  }
});

test("tags are counted: 2 bits a group for BitMoD, 1 for its halves, 8 a block for MX+", () => {
  const bytes = (name: string) => packedBytes(quantize(scattered(1024, 1), [1, 1024], scheme(name)));
  assert.equal(bytes("bitmod3-g128"), (1024 * 3 + 8 * (16 + 2)) / 8);
  assert.equal(bytes("bitmod4-er-g128"), (1024 * 4 + 8 * (16 + 1)) / 8);
  assert.equal(bytes("mxfp4+"), (1024 * 4 + 32 * (8 + 8)) / 8);
});

test("the largest element of an MX+ block keeps as many significand bits as a code without its sign has", () => {
  const x = Float32Array.from({ length: 96 }, (_, i) => (i % 32) / 64);
  x[5] = -6.5; // 6 in mxfp4; the first of two
  x[6] = 6.5;
  x[32 + 31] = 7.9; // 7.5: rounding up would need another exponent
  const packed = quantize(x, [1, 96], scheme("mxfp4+"));
  const y = dequantize(packed);
  assert.deepEqual(tagsOf(packed), [5, 31, 31]);
  assert.deepEqual([y[5], y[6], y[63]], [-6.5, 6, 7.5]);
  const plain = dequantize(quantize(x, [1, 96], scheme("mxfp4@ocp")));
  for (let i = 0; i < 96; i++) if (![5, 63, 95].includes(i)) assert.equal(y[i], plain[i]);
});

test("MX+ errs no more than MX with the same scales and elements", () => {
  const x = scattered(64 * 96, 3);
  for (const base of ["mxfp4", "mxfp6-e2m3", "mxfp6-e3m2", "mxfp8", "mxfp8-e5m2"]) {
    const error = (name: string) => squaredError(x, dequantize(quantize(x, [64, 96], scheme(name))));
    assert.ok(error(`${base}+`) < error(`${base}@ocp`), base);
  }
});

test("blocks of zeros and blocks below the least scale have no largest element", () => {
  const x = new Float32Array(64);
  x.fill(2 ** -140, 32, 40);
  const packed = quantize(x, [1, 64], scheme("mxfp4+"));
  assert.deepEqual(tagsOf(packed), [255, 255]);
  assert.deepEqual(dequantize(packed), new Float32Array(64));
});

test("row slices, gathered rows and the reader of the kernels see the values of the whole", () => {
  for (const name of NAMES) {
    const packed = quantize(scattered(5 * 70, 2), [5, 70], scheme(name));
    const whole = dequantize(packed);
    const row = (r: number) => whole.subarray(70 * r, 70 * (r + 1));
    assert.deepEqual(dequantize(sliceRows(packed, 3, 4)), row(3), name);
    assert.deepEqual(dequantize(gatherRows(packed, [4, 1])), Float32Array.of(...row(4), ...row(1)), name);
    const reader = weightRows(packed);
    const out = new Float32Array(70);
    for (let r = 0; r < 5; r++) {
      reader.read(r);
      decodeRow(reader, out);
      assert.deepEqual(out, row(r), name);
    }
  }
});

test("grids, which need the same levels in every group, refuse tags by name", () => {
  const packed = quantize(scattered(64, 1), [2, 32], scheme("bitmod3-g32"));
  assert.throws(
    () => gridOf(packed),
    (error) => error instanceof UnsupportedError && /bitmod3-g32/.test(error.message),
  );
});
