/** What holds for every number format, over all of its codes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import {
  codeArray,
  DETERMINISTIC_ROUNDINGS,
  decode,
  decodeArray,
  decodeTable,
  encode,
  encodeArray,
  formatFamilies,
  formats,
  limits,
  type NumberFormat,
} from "../../src/formats/index.js";

interface Golden {
  readonly values: Readonly<Record<string, readonly string[]>>;
  readonly valueDigests: Readonly<Record<string, string>>;
  readonly encodeDigests: Readonly<Record<string, Readonly<Record<string, string>>>>;
}
const golden: Golden = JSON.parse(
  readFileSync(new URL("../../../test/conformance/golden/formats.json", import.meta.url), "utf8"),
);
const sha256 = (data: Uint8Array | Uint16Array | Float32Array) =>
  createHash("sha256")
    .update(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
    .digest("hex");
const families = formatFamilies.flatMap(({ examples }) => examples.map(formats.get)).filter(({ bits }) => bits <= 12);
const small = [...formats.entries.filter((format) => format.bits <= 16), ...families];
const number = (text: string) =>
  text === "nan" ? Number.NaN : text === "inf" ? Infinity : text === "-inf" ? -Infinity : Number(text);

test("every code up to 16 bits comes back from its own value, except that equal values share their lowest code", () => {
  for (const format of small) {
    const firstOf = new Map<number, number>();
    const { hasNaN, min, max } = limits(format);
    decodeTable(format).forEach((value, code) => {
      const key = Object.is(value, -0) && encode(format, -0) !== encode(format, 0) ? Number.MIN_VALUE : value;
      if (Number.isNaN(value) && !hasNaN) return; // a code that means nothing
      if (Number.isFinite(value) && (value < min || value > max)) return; // a code that encoding does not give
      if (Number.isNaN(value)) assert.ok(Number.isNaN(decode(format, encode(format, value))), `${format.name} NaN`);
      else {
        if (!firstOf.has(key)) firstOf.set(key, code);
        assert.equal(encode(format, value), firstOf.get(key), `${format.name} code ${code} = ${value}`);
      }
    });
  }
});

test("codes are ordered like values: a greater value never gets a lower value back, in any rounding mode", () => {
  for (const format of small.filter(({ bits }) => bits <= 8)) {
    const values = [...new Set(decodeTable(format))].filter(Number.isFinite).sort((a, b) => a - b);
    const inputs = values.flatMap((value, i) =>
      i === 0 ? [value] : [between(values[i - 1], value, 0.3), between(values[i - 1], value, 0.5), value],
    );
    for (const rounding of DETERMINISTIC_ROUNDINGS) {
      let last = Number.NEGATIVE_INFINITY;
      for (const x of inputs) {
        const value = decode(format, encode(format, x, { rounding, overflow: "saturate" }));
        assert.ok(value >= last, `${format.name} ${rounding} ${x} gave ${value} after ${last}`);
        last = value;
      }
    }
  }
});

const between = (a: number, b: number, share: number) => a + (b - a) * share;

test("decoded values equal those of ml_dtypes, code by code", () => {
  for (const [name, texts] of Object.entries(golden.values)) {
    const format = formats.find(name);
    if (!format) continue;
    for (const [code, text] of texts.entries())
      assert.equal(decode(format, code), number(text), `${name} code ${code}`);
  }
  for (const [name, digest] of Object.entries(golden.valueDigests)) {
    const values = Float32Array.from(decodeTable(formats.get(name)), (value) => (Number.isNaN(value) ? 0 : value));
    assert.equal(sha256(values), digest, name);
  }
});

const u16 = Uint16Array.from({ length: 65536 }, (_, i) => i);
const widened = (name: string) => Float32Array.from(u16, (code) => decode(formats.get(name), code));
const scattered = () => {
  const bits = Uint32Array.from({ length: 200000 }, (_, i) => Number((BigInt(i) * 2654435761n + 12345n) & 0xffffffffn));
  return new Float32Array(bits.buffer);
};
const inputs: Readonly<Record<string, Float32Array>> = { f16: widened("f16"), bf16: widened("bf16"), f32: scattered() };

test("codes of every f16, every bf16 and 200000 f32 inputs equal those of ml_dtypes (E8M0: ties away, as it rounds)", () => {
  for (const [name, digests] of Object.entries(golden.encodeDigests)) {
    const format = formats.find(name);
    if (!format) continue;
    for (const [kind, digest] of Object.entries(digests)) {
      const kept = inputs[kind].filter((x) => !Number.isNaN(x) && !(name === "e8m0" && x > 0 && x < 2 ** -126));
      const codes = codeArray(format.bits, kept.length);
      encodeArray(format, kept, codes, name === "e8m0" ? { rounding: "nearest-away" } : {});
      assert.equal(sha256(codes as Uint8Array), digest, `${name} from ${kind}`);
    }
  }
});

test("the array paths give the codes of the exact codec for every f16, bf16 and 20000 f32 inputs, and decode every code", () => {
  for (const format of small) {
    for (const [kind, all] of Object.entries(inputs)) {
      const some =
        kind === "f32"
          ? all.subarray(0, format.kind === "minifloat" ? 20000 : 4000)
          : all.filter(
              (_, i) =>
                i % (format.kind === "minifloat" ? 31 : 211) === 0 || (format.bits > 8 && format.kind === "minifloat"),
            );
      const finite = some.filter(Number.isFinite);
      const codes = codeArray(format.bits, finite.length);
      encodeArray(format, finite, codes);
      for (let i = 0; i < finite.length; i++) {
        // No assertion for each of a million values: building its message takes longer than the cast.
        if (codes[i] !== encode(format, finite[i]))
          assert.equal(codes[i], encode(format, finite[i]), `${format.name} of ${finite[i]}`);
      }
    }
    const codes = codeArray(format.bits, 2 ** format.bits).map((_, i) => i);
    const out = new Float32Array(codes.length);
    decodeArray(format, codes, out);
    const table = decodeTable(format);
    for (const [code, value] of out.entries())
      assert.ok(Object.is(value, Math.fround(table[code])), `${format.name} code ${code}`);
  }
});

test("f32 casts are the identity on bits, through the codec and through arrays", () => {
  const format: NumberFormat = formats.get("f32");
  const x = scattered().filter((v) => !Number.isNaN(v));
  const codes = new Uint32Array(x.length);
  encodeArray(format, x, codes);
  assert.deepEqual(codes, new Uint32Array(x.buffer));
  for (let i = 0; i < 5000; i++) assert.equal(encode(format, x[i]), codes[i]);
  for (let i = 0; i < 5000; i++) assert.equal(decode(format, codes[i]), x[i]);
});
