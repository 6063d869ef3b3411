/** What holds for every scheme, and the bytes of GGUF's own quantizer. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NumericError } from "../../src/errors.js";
import {
  decodeTable,
  minFinite,
  type Scheme,
  scaleTarget,
  scheme,
  schemes,
  unpackCodes,
} from "../../src/formats/index.js";
import { dequantize, type PackedTensor, packedBytes, planeBytes, quantize } from "../../src/tensor/index.js";

const FAMILIES = [
  "int4-g32",
  "int8-row",
  "int3-g64",
  "int2-g16",
  "int4-g64-asym",
  "int8-row-asym",
  "e2m1-g32",
  "e3m2-g16",
  "e4m3fn-g128",
  "e4m3fn",
  "e5m2",
  "int4-mx32",
  "bfp6-g16",
  "e2m1-g16-ue5m3",
  "nf4-g64",
  "posit6-g32",
  "int4-g32@onnx",
  "int8-g32-asym@onnx",
  "int4-4x32",
  "bitmod3-g32",
  "bitmod4-ea-g64",
  "mxfp4+",
  "mxfp8+",
];
const all = [...schemes.entries, ...FAMILIES.map(scheme)];

/** Integers spread over -2^23 .. 2^23, the same as in golden/make_gguf.py. */
function scattered(count: number, seed: number, power: number): Float32Array {
  return Float32Array.from({ length: count }, (_, i) => {
    const u = (BigInt(i) * 2654435761n + BigInt(seed) * 40503n) & 0xffffffffn;
    return (Number(u >> 8n) - 2 ** 23) * 2 ** power;
  });
}
const map = (count: number, f: (i: number) => number) => Float32Array.from({ length: count }, (_, i) => f(i));

test("the error of every scheme on plain data is below that of its element's step", () => {
  for (const s of all) {
    const x = scattered(32 * 96, 3, -23);
    const y = dequantize(quantize(x, [32, 96], s));
    const error = x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0) / x.reduce((sum, v) => sum + v * v, 0);
    const wanted = 4 ** (1.6 - Math.min(s.element.bits, 4));
    assert.ok(error < wanted, `${s.name}: relative squared error ${error}, wanted below ${wanted}`);
  }
});

test("quantizing a scheme's own output again changes nothing after the second time", () => {
  for (const s of all) {
    const x = scattered(8 * 256, 5, -20);
    const once = dequantize(quantize(x, [8, 256], s));
    const twice = dequantize(quantize(once, [8, 256], s));
    const thrice = dequantize(quantize(twice, [8, 256], s));
    const change = (a: Float32Array, b: Float32Array) => a.reduce((m, v, i) => Math.max(m, Math.abs(v - b[i])), 0);
    const largest = x.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    // At most one step of the coarsest level: a searched scale may settle on a neighbouring grid.
    assert.ok(
      change(once, twice) <= 1.01 * largest * 2 ** -Math.min(3, s.element.bits - 1),
      `${s.name} moved by ${change(once, twice)}`,
    );
    assert.ok(change(twice, thrice) <= change(once, twice), `${s.name} does not settle`);
  }
});

/** Every value of the element format, with what spans the rule's grid at the head of each group of 16. */
function representable(s: Scheme): Float32Array {
  const [low, high] = [minFinite(s.element), scaleTarget(s.element)];
  const table = [...decodeTable(s.element)].filter((v) => v >= low && v <= high);
  const offsetBinary = s.element.kind === "integer" && s.element.offset !== undefined;
  const heads = s.offset ? [low, high] : [offsetBinary ? low : high];
  const usable = s.offset || offsetBinary ? table : table.filter((v) => Math.abs(v) <= high);
  const groups = Math.ceil(usable.length / (16 - heads.length));
  return map(groups * 16, (i) => {
    const place = (i % 16) - heads.length;
    return 2 ** -3 * (place < 0 ? heads[i % 16] : usable[((i >> 4) * (16 - heads.length) + place) % usable.length]);
  });
}

test("values that a scheme with one level of scales represents come back exactly", () => {
  // A searched or two-level scale need not meet the grid that the values were made on.
  for (const s of all.filter(({ name, scale }) => scale && !scale.super && name !== "iq4_nl")) {
    const x = representable(s);
    assert.deepEqual(dequantize(quantize(x, [1, x.length], s)).map(unsigned), x.map(unsigned), s.name);
  }
});

/** -0 and 0 are the same value. */
const unsigned = (x: number) => (x === 0 ? 0 : x);

test("tails, single rows, vectors, scalars and empty tensors work in every scheme", () => {
  for (const s of all) {
    for (const shape of [[3, 37], [1, 5], [33], [], [0, 32], [4, 0], [2, 3, 7]]) {
      const count = shape.reduce((a, b) => a * b, 1);
      const packed = quantize(scattered(count, 9, -22), shape, s);
      const columns = shape.length === 0 ? 1 : shape[shape.length - 1];
      const rows = columns === 0 ? shape[0] : count / columns;
      const bytes = Object.values(planeBytes(s, rows, columns)).reduce((a, b) => a + b, 0);
      assert.equal(packedBytes(packed), bytes);
      assert.equal(dequantize(packed).length, count);
      assert.ok(dequantize(packed).every(Number.isFinite), s.name);
    }
  }
});

test("2-D blocks share one scale over 16 or 32 rows, that of the tile's largest magnitude", () => {
  for (const [name, tileRows, per] of [
    ["nvfp4-2d", 16, 16],
    ["mxfp8-2d", 32, 32],
  ] as const) {
    const [rows, columns] = [tileRows + 3, 2 * per + 5];
    const x = scattered(rows * columns, 4, -23);
    const { planes } = quantize(x, [rows, columns], scheme(name));
    // Every tile as a row of its own, under the tensor's amax: its scale is that of a group of all its elements.
    const tiles = [0, tileRows].map((top) => {
      const height = Math.min(tileRows, rows - top);
      return [0, 1, 2].map((g) => {
        const width = Math.min(per, columns - g * per);
        return Array.from(
          { length: height * width },
          (_, i) => x[(top + Math.floor(i / width)) * columns + g * per + (i % width)],
        );
      });
    });
    const amaxes = Float32Array.from(
      tiles.flat().flatMap((tile) => [Math.max(...tile.map(Math.abs)), ...new Array(per - 1).fill(0)]),
    );
    const groups = quantize(amaxes, [1, amaxes.length], scheme(name.replace("-2d", "")));
    assert.deepEqual(planes.scales, groups.planes.scales, name);
    // The tile of one row alone has that row's own scales.
    const last = quantize(x.slice(0, columns), [1, columns], scheme(name));
    const plain = quantize(x.slice(0, columns), [1, columns], scheme(name.replace("-2d", "")));
    assert.deepEqual(last.planes, plain.planes);
  }
});

test("zeros stay zeros in every scheme", () => {
  for (const s of all) {
    assert.ok(
      dequantize(quantize(new Float32Array(300), [2, 150], s)).every((v) => v === 0),
      s.name,
    );
  }
});

test("a value that is not finite is an error that names its index", () => {
  for (const s of all) {
    for (const bad of [Number.NaN, Infinity, -Infinity]) {
      const x = map(64, (i) => (i === 41 ? bad : i));
      assert.throws(
        () => quantize(x, [2, 32], s),
        (error) => error instanceof NumericError && /index 41/.test(error.message),
      );
    }
  }
});

test("a scale beyond its format is an error, not an infinity", () => {
  for (const name of ["q4_0", "q4_1", "q8_0", "q6_k", "int4-g32", "int4-g32-asym", "f16"]) {
    assert.throws(
      () =>
        quantize(
          map(64, (i) => i * 1e37),
          [1, 64],
          scheme(name),
        ),
      NumericError,
      name,
    );
  }
});

interface GoldenType {
  readonly special?: readonly string[];
  readonly large?: string;
  readonly largeValues?: string;
  readonly bytes?: string;
  readonly values?: string;
}
const golden: { types: Record<string, GoldenType> } = JSON.parse(
  readFileSync(new URL("../../../test/conformance/golden/gguf.json", import.meta.url), "utf8"),
);
const sha256 = (data: Uint8Array | Float32Array) =>
  createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");

/** The special rows of golden/make_gguf.py. */
const special: readonly Float32Array[] = [
  new Float32Array(64),
  scattered(64, 1, -23),
  scattered(64, 2, -8),
  scattered(64, 3, -83),
  scattered(64, 4, -40),
  scattered(64, 5, -24).map((v, i) => (i % 32 === 5 ? -1 : v)),
  map(64, (i) => (i % 16) - 7.5),
  map(64, (i) => (i % 17) * 0.5),
  map(64, (i) => -((i % 13) * 0.25) - 1),
  new Float32Array(64).fill(0.7109375),
  scattered(64, 6, -21).map((v, i) => (i % 32 === 9 ? 8 - 2 ** -21 : v)),
  scattered(64, 7, -9).map((v, i) => (i % 32 === 9 ? 2 ** 15 - 2 ** -9 : v)),
  map(64, (i) => (i === 0 ? 1 : 0)),
  map(64, (i) => (((i * 7) % 25) - 12) / 4),
];

/** GGUF's interleaving of one tensor, said plainly: scale, minimum, high bits, nibbles of elements j and j + 16. */
function ggufBytes(packed: PackedTensor, columns: number): Uint8Array {
  const { scheme: s, planes } = packed;
  if (!s.scale) return planes.codes;
  const bits = s.element.bits;
  const blocks = (planes.codes.length * 8) / bits / 32;
  const rowCodes = new Uint8Array(blocks * 32);
  const rowBytes = (columns * bits) / 8;
  for (let r = 0; r < rowCodes.length / columns; r++) {
    const row = new Uint8Array(columns);
    unpackCodes(planes.codes, r * rowBytes, bits, row, columns);
    rowCodes.set(row, r * columns);
  }
  const out: number[] = [];
  const width = s.scale.format.bits / 8;
  for (let b = 0; b < blocks; b++) {
    const q = rowCodes.subarray(32 * b, 32 * b + 32);
    out.push(...planes.scales!.subarray(b * width, (b + 1) * width));
    if (planes.offsets) out.push(...planes.offsets.subarray(2 * b, 2 * b + 2));
    if (bits === 5)
      for (let k = 0; k < 4; k++) out.push(q.subarray(8 * k, 8 * k + 8).reduce((m, c, j) => m | ((c >> 4) << j), 0));
    if (bits === 8) out.push(...q);
    else for (let j = 0; j < 16; j++) out.push((q[j] & 15) | ((q[j + 16] & 15) << 4));
  }
  return Uint8Array.from(out);
}

test("bytes and values of GGUF's block types equal those of the Python package gguf, bit for bit", () => {
  for (const [name, type] of Object.entries(golden.types)) {
    if (!type.special) continue;
    const s = scheme(name);
    type.special.forEach((hex, i) => {
      assert.equal(
        Buffer.from(ggufBytes(quantize(special[i], [1, 64], s), 64)).toString("hex"),
        hex,
        `${name} row ${i}`,
      );
    });
    const large = quantize(scattered(65536, 11, -23), [256, 256], s);
    assert.equal(sha256(ggufBytes(large, 256)), type.large, name);
    assert.equal(sha256(dequantize(large)), type.largeValues, name);
  }
});

test("Q6_K blocks mean the same values as in the Python package gguf, bit for bit", () => {
  const { bytes, values } = golden.types.q6_k;
  const raw = Buffer.from(bytes ?? "", "hex");
  const count = raw.length / 210;
  const s: Scheme = scheme("q6_k");
  const codes = new Uint8Array(count * 256);
  const scales = new Uint8Array(count * 16);
  const superScales = new Uint8Array(count * 2);
  for (let b = 0; b < count; b++) {
    const block = raw.subarray(b * 210, (b + 1) * 210);
    for (let half = 0; half < 2; half++) {
      for (let l = 0; l < 128; l++) {
        const low = block[64 * half + (l % 64)] >> (l < 64 ? 0 : 4);
        const high = block[128 + 32 * half + (l % 32)] >> (2 * (l >> 5));
        codes[b * 256 + 128 * half + l] = (low & 15) | ((high & 3) << 4);
      }
    }
    scales.set(block.subarray(192, 208), b * 16);
    superScales.set(block.subarray(208), b * 2);
  }
  const packedCodes = new Uint8Array(count * 192);
  for (let i = 0; i < codes.length; i++) {
    const at = i * 6;
    packedCodes[at >> 3] |= codes[i] << (at & 7);
    if ((at & 7) > 2) packedCodes[(at >> 3) + 1] |= codes[i] >> (8 - (at & 7));
  }
  const packed: PackedTensor = {
    scheme: s,
    shape: [1, count * 256],
    planes: { codes: packedCodes, scales, superScales },
  };
  assert.equal(sha256(dequantize(packed)), values);
});
