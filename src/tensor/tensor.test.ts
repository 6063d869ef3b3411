import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InputError, UnsupportedError } from "../errors.js";
import { codeArray, packCodes, rowBytes, scheme, unpackCodes } from "../formats/index.js";
import { dequantize, gatherRows, packedBytes, quantize, sliceRows } from "./index.js";

test("packing codes of 1 to 32 bits and unpacking them gives them back, and touches no other byte", () => {
  fc.assert(
    fc.property(
      fc
        .integer({ min: 1, max: 32 })
        .chain((bits) =>
          fc.tuple(
            fc.constant(bits),
            fc.array(fc.integer({ min: 0, max: 2 ** bits - 1 }), { maxLength: 40 }),
            fc.nat(3),
          ),
        ),
      ([bits, list, offset]) => {
        const codes = codeArray(bits, list.length);
        codes.set(list);
        const bytes = new Uint8Array(offset + rowBytes(bits, list.length) + 1).fill(0xa5);
        packCodes(codes, list.length, bits, bytes, offset);
        const back = codeArray(bits, list.length);
        unpackCodes(bytes, offset, bits, back, list.length);
        assert.deepEqual(back, codes);
        assert.deepEqual([...bytes.subarray(0, offset), bytes[bytes.length - 1]], Array(offset + 1).fill(0xa5));
      },
    ),
  );
});

test("code i of a row takes bits i * bits to (i + 1) * bits, least significant first", () => {
  const bytes = new Uint8Array(3);
  packCodes(Uint8Array.of(0b001, 0b010, 0b011, 0b100, 0b101, 0b110, 0b111), 7, 3, bytes);
  assert.equal(bytes[0] | (bytes[1] << 8) | (bytes[2] << 16), 0o7654321);
});

const values = Float32Array.from({ length: 12 * 70 }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 9)));

test("a slice of rows decodes like those rows of the whole, and shares its memory", () => {
  for (const name of ["q4_0", "q6_k", "nvfp4", "int3-g32-asym", "f16"]) {
    const packed = quantize(values, [3, 4, 70], scheme(name));
    const slice = sliceRows(packed, 5, 9);
    assert.deepEqual(slice.shape, [4, 70]);
    assert.equal(slice.planes.codes.buffer, packed.planes.codes.buffer);
    assert.deepEqual(dequantize(slice), dequantize(packed).subarray(5 * 70, 9 * 70));
  }
});

test("gathered rows decode like the rows they came from, in the new order", () => {
  const order = [11, 0, 0, 7];
  for (const name of ["q5_1", "q6_k", "nvfp4", "int5-row"]) {
    const packed = quantize(values, [12, 70], scheme(name));
    const all = dequantize(packed);
    const gathered = dequantize(gatherRows(packed, order));
    order.forEach((row, i) => {
      assert.deepEqual(gathered.slice(i * 70, (i + 1) * 70), all.slice(row * 70, (row + 1) * 70));
    });
  }
});

test("rows that do not exist and shapes that do not fit are input errors", () => {
  const packed = quantize(values, [12, 70], scheme("q8_0"));
  assert.throws(() => sliceRows(packed, 3, 13), InputError);
  assert.throws(() => gatherRows(packed, [12]), InputError);
  assert.throws(() => quantize(values, [12, 71], scheme("q8_0")), InputError);
  assert.throws(() => quantize(values, [-12, -70], scheme("q8_0")), InputError);
});

test("bytes are counted to the bit: a 4-bit scheme with an f16 scale for 32 takes 18 bytes for 32 values", () => {
  assert.equal(packedBytes(quantize(new Float32Array(320), [10, 32], scheme("q4_0"))), 180);
  assert.equal(packedBytes(quantize(new Float32Array(320), [10, 32], scheme("nvfp4"))), 10 * (16 + 2) + 4);
});

test("elements are rounded as the caller wants where the scheme's rule leaves it open, else that is refused", () => {
  const x = Float32Array.from({ length: 64 }, (_, i) => Math.sin(i) + 0.01);
  for (const name of ["mxfp4@ocp", "mxfp8", "mxint8", "nvfp4", "int4-g16", "e2m1-4x16", "e4m3fn"]) {
    const up = dequantize(quantize(x, [4, 16], scheme(name), { rounding: "up", overflow: "none" }));
    const down = dequantize(quantize(x, [4, 16], scheme(name), { rounding: "down", overflow: "none" }));
    const nearest = dequantize(quantize(x, [4, 16], scheme(name)));
    assert.ok(up.some((value, i) => value > down[i]) && up.every((value, i) => value >= down[i]), name);
    assert.ok(
      nearest.every((value, i) => value === up[i] || value === down[i]),
      name,
    );
  }
  for (const name of ["q4_0", "q4_k", "int4-g32-asym", "bitmod3-g32", "mxfp4+", "int4-g32@onnx"]) {
    assert.throws(() => quantize(new Float32Array(256), [1, 256], scheme(name), { rounding: "up" }), UnsupportedError);
    quantize(new Float32Array(256), [1, 256], scheme(name), { rounding: undefined });
  }
});
