import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { InputError } from "../errors.js";
import {
  compareFormats,
  decimalText,
  decode,
  describe,
  encode,
  explain,
  format,
  formatFamilies,
  formats,
  hexText,
  ROUNDINGS,
  randomBits,
  readCode,
  readNumber,
  sample,
} from "./index.js";

const all = [...formats.entries, ...formatFamilies.flatMap(({ examples }) => examples.map(format))];

test("decimal and hexadecimal texts read back to the same number", () => {
  fc.assert(
    fc.property(fc.double(), (x) => {
      assert.ok(Object.is(readNumber(decimalText(x)), x));
      assert.ok(Object.is(readNumber(hexText(x)), x));
    }),
  );
  for (const x of [2 ** -1074, 3 * 2 ** -1074, Number.MAX_VALUE, -0]) assert.ok(Object.is(readNumber(hexText(x)), x));
});

test("a hexadecimal float with too many digits is rounded once, to nearest even", () => {
  assert.equal(readNumber("0x1.00000000000008p0"), 1);
  assert.equal(readNumber("0x1.000000000000080000000001p0"), 1 + 2 ** -52);
  assert.equal(readNumber("0x1.8p-1075"), 2 ** -1074);
  assert.equal(readNumber("0x1p-1075"), 0);
});

test("what is no number or no code is an input error that says what was wanted", () => {
  for (const text of ["", "1.2.3", "0x7e", "one", "0xp3", "--1"])
    assert.throws(() => readNumber(text), InputError, text);
  for (const text of ["0x100", "-1", "1.5", "0b2"]) assert.throws(() => readCode(text, 8), InputError, text);
  assert.deepEqual(
    ["0x7e", "0b101", "126"].map((text) => readCode(text, 8)),
    [126, 5, 126],
  );
});

test("an explanation ends in the code that encode gives, for every format and rounding", () => {
  for (const f of all) {
    for (const rounding of ROUNDINGS) {
      for (const x of [0.3, -1.7, 464, 1e9, 0, 1e-9]) {
        const options = () => ({ rounding, overflow: "saturate" as const, random: randomBits(3) });
        const { code, value, steps } = explain(f, x, options());
        assert.equal(code, encode(f, x, options()), f.name);
        assert.ok(Object.is(value, decode(f, code)));
        assert.equal(steps[0].step, "input");
        assert.equal(steps[steps.length - 1].step, "code");
      }
    }
  }
});

test("an explanation names the tie, the rule and the overflow", () => {
  const text = (x: number) =>
    explain(format("e4m3fn"), x)
      .steps.map((s) => s.text)
      .join("\n");
  assert.match(text(464), /a tie[\s\S]*a tie, lower code 126 is even, so towards zero to 126/);
  assert.match(text(500), /away from zero to 128[\s\S]*overflow rule "nan"/);
  assert.match(text(0.001), /subnormal/);
});

test("every format has a data sheet with its table up to 8 bits, and its texts read back", () => {
  for (const f of [...all, format("Binary16p1ue"), format("Binary15p2sf")]) {
    const sheet = describe(f);
    assert.equal(sheet.codes?.length, f.bits <= 8 ? 2 ** f.bits : undefined, f.name);
    for (const { code, value } of sheet.codes ?? []) {
      assert.ok(Object.is(readNumber(value), decode(f, code)), `${f.name} ${code}`);
    }
  }
});

test("on normal data at equal bits NF4 beats e2m1, and int4 loses less than 2 % of its values to clipping", () => {
  const [e2m1, nf4, int4] = compareFormats(["e2m1", "nf4", "int4"].map(format), sample("normal", 1 << 14));
  assert.ok(nf4.relativeMse < e2m1.relativeMse);
  assert.ok(int4.clipped < 0.02 && e2m1.clipped === 0);
  assert.equal(e2m1.bitsPerValue, 4.5);
});

test("sample distributions repeat by their seed and have the spread that they should", () => {
  for (const [name, wanted] of [
    ["normal", 1],
    ["laplace", 2],
  ] as const) {
    const x = sample(name, 1 << 14);
    const variance = x.reduce((sum, v) => sum + v * v, 0) / x.length;
    // 16384 draws: the variance is known to about 3 %.
    assert.ok(Math.abs(variance / wanted - 1) < 0.1, `${name} ${variance}`);
    assert.deepEqual(sample(name, 100), x.slice(0, 100));
  }
});
