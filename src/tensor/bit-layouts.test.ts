import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InputError } from "../errors.js";
import { bitLayouts, codeAt, codeView, sliceCodes } from "./bit-layouts.js";

const widthsOf = (name: string) =>
  [1, 2, 3, 4, 5, 6, 7, 8].filter((bits) => {
    try {
      return bitLayouts.get(name).bytes(bits, 1) > 0;
    } catch {
      return false;
    }
  });

test("every layout gives back what was packed, for every width that it has", () => {
  for (const layout of bitLayouts.entries) {
    for (const bits of widthsOf(layout.name)) {
      fc.assert(
        fc.property(fc.uint8Array({ max: 2 ** bits - 1, maxLength: 70 }), (codes) => {
          const packed = layout.pack(codes, bits);
          assert.equal(packed.length, layout.bytes(bits, codes.length));
          assert.deepEqual(layout.unpack(packed, bits, codes.length), codes);
        }),
        { numRuns: 20 },
      );
    }
  }
});

const codes = Uint8Array.from({ length: 8 }, (_, i) => i + 1);
const hex = (name: string, bits: number, values = codes) =>
  Buffer.from(bitLayouts.get(name).pack(values, bits)).toString("hex");

test("nibbles lie low first or high first, in AWQ's order, and in GGUF's halves", () => {
  assert.equal(hex("lsb", 4), "21436587");
  assert.equal(hex("msb", 4), "12345678");
  assert.equal(hex("awq", 4), "31754286");
  const block = Uint8Array.from({ length: 32 }, (_, i) => i & 15);
  assert.equal(hex("gguf-halves", 4, block), "00112233445566778899aabbccddeeff");
});

test("3-bit codes straddle 32-bit words, or ten of them fill one", () => {
  const eleven = new Uint8Array(11).fill(7);
  assert.equal(hex("words32", 3, eleven), "ffffffff01000000");
  assert.equal(hex("words32-padded", 3, eleven), "ffffff3f07000000");
});

test("6-bit codes split into nibbles and pairs, and any codes into planes of bits", () => {
  assert.equal(hex("segments-4-2", 6, Uint8Array.of(0b110101, 0b101010)), "a50b");
  assert.equal(hex("bit-planes", 2, Uint8Array.of(0, 1, 2, 3)), "0a0c");
});

test("widths that a layout does not have and rows that are too short are input errors", () => {
  assert.throws(() => bitLayouts.get("awq").pack(codes, 3), InputError);
  assert.throws(() => bitLayouts.get("words32").unpack(new Uint8Array(3), 4, 8), InputError);
});

test("a view of packed codes is sliced anywhere without copying", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 7 }),
      fc.integer({ min: 0, max: 20 }),
      fc.integer({ min: 0, max: 20 }),
      (bits, a, b) => {
        const all = Uint8Array.from({ length: 40 }, (_, i) => (i * 37) % 2 ** bits);
        const whole = codeView(bitLayouts.get("lsb").pack(all, bits), bits, 40);
        const slice = sliceCodes(sliceCodes(whole, a, 40), 0, b);
        assert.equal(slice.bytes, whole.bytes);
        assert.deepEqual(
          Array.from({ length: b }, (_, i) => codeAt(slice, i)),
          [...all.subarray(a, a + b)],
        );
      },
    ),
  );
  assert.throws(() => sliceCodes(codeView(new Uint8Array(4), 4, 8), 3, 9), InputError);
});
