/** Encoding against an independent exact reference, the P3109 tables, SoftPosit, Universal and bitsandbytes. */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NumericError } from "../../src/errors.js";
import {
  add,
  classify,
  DETERMINISTIC_ROUNDINGS,
  type Dyadic,
  decode,
  decodeExact,
  decodeTable,
  divide,
  dot,
  encode,
  format,
  formats,
  fusedMultiplyAdd,
  type MinifloatFormat,
  multiply,
  nextDown,
  nextUp,
  nextUp64,
  type Overflow,
  p3109Names,
  project,
  randomBits,
  squareRoot,
  subtract,
  totalOrder,
} from "../../src/formats/index.js";
import { type Answer, encodeReference } from "./rational.js";

const golden = <T>(name: string): T =>
  JSON.parse(readFileSync(new URL(`../../../test/conformance/golden/${name}`, import.meta.url), "utf8"));
const sha256 = (data: string | Uint8Array) => createHash("sha256").update(data).digest("hex");
const minifloats = (names: readonly string[]) => names.map((name) => formats.get(name) as MinifloatFormat);
const listed = formats.entries.filter((f): f is MinifloatFormat => f.kind === "minifloat");
const OVERFLOWS: readonly Overflow[] = ["saturate", "propagate", "none", "nan"];

/** All 504 formats are 8 million codes: 10 seconds and more. Those of at most 12 bits are always checked. */
const EXHAUSTIVE = process.env.BITLOOM_EXHAUSTIVE === "1";

function checkP3109(names: readonly string[]): void {
  const tables = golden<Record<string, string>>("p3109.json");
  for (const name of names) {
    const f = format(name);
    const lines = Array.from({ length: 2 ** f.bits }, (_, code) => line(decodeExact(f, code)));
    assert.equal(sha256(lines.join("\n")).slice(0, 32), tables[name], name);
  }
}

test("every code of the IEEE P3109 formats of 3 to 12 bits means what the standard's value tables say", () => {
  assert.deepEqual(p3109Names().sort(), Object.keys(golden<Record<string, string>>("p3109.json")).sort());
  checkP3109(p3109Names().filter((name) => format(name).bits <= 12));
});

test(
  "every code of the IEEE P3109 formats of 13 to 16 bits means what the standard's value tables say",
  {
    skip: EXHAUSTIVE ? false : "skipped, because it takes 10 seconds; set BITLOOM_EXHAUSTIVE=1",
  },
  () => checkP3109(p3109Names().filter((name) => format(name).bits > 12)),
);

/** "sign significand exponent" with an odd significand, as in golden/make_p3109.py. */
function line(value: ReturnType<typeof decodeExact>): string {
  if (typeof value === "number") return Number.isNaN(value) ? "nan" : value > 0 ? "inf" : "-inf";
  // At most 16 bits: plain numbers are exact.
  let significand = Math.abs(Number(value.significand));
  let exponent = value.exponent;
  if (significand === 0) return "+ 0 0";
  while (significand % 2 === 0) {
    significand /= 2;
    exponent++;
  }
  return `${value.significand < 0n ? "-" : "+"} ${significand} ${exponent}`;
}

/** The value an encoding has, in the words of the reference. */
function answer(
  f: MinifloatFormat,
  x: number,
  rounding: (typeof DETERMINISTIC_ROUNDINGS)[number],
  overflow: Overflow,
): Answer {
  try {
    const code = encode(f, x, { rounding, overflow });
    const value = decode(f, code);
    if (Number.isNaN(value)) return "nan";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
    const half = f.signed ? 2 ** (f.bits - 1) : Infinity;
    return code >= half ? half - code : code;
  } catch (error) {
    if (error instanceof NumericError) return "error";
    throw error;
  }
}

/** Each value, the middle to the next, and one ulp of binary64 to both sides of each; what lies beyond the ends too. */
function boundaries(f: MinifloatFormat): number[] {
  const finite = [...new Set(decodeTable(f))].filter((v) => Number.isFinite(v) && v >= 0).sort((a, b) => a - b);
  const top = finite[finite.length - 1];
  const beyond = [top + (top - (finite[finite.length - 2] ?? 0)) / 2, 2 * top, Number.MAX_VALUE];
  const exact = finite.flatMap((v, i) => (i + 1 < finite.length ? [v, v / 2 + finite[i + 1] / 2] : [v]));
  const around = [...exact, ...beyond].flatMap((v) => [v, nextUp64(v), v > 0 ? -nextUp64(-v) : Number.MIN_VALUE]);
  const positive = around.filter(Number.isFinite);
  return [...positive, ...positive.filter((v) => v > 0).map((v) => -v), Infinity, -Infinity];
}

type Way = readonly [rounding: (typeof DETERMINISTIC_ROUNDINGS)[number], overflow: Overflow];
const WAYS: readonly Way[] = DETERMINISTIC_ROUNDINGS.flatMap((r) => OVERFLOWS.map((o): Way => [r, o]));

function checkInput(f: MinifloatFormat, x: number, [rounding, overflow]: Way): void {
  const [got, wanted] = [answer(f, x, rounding, overflow), encodeReference(f, x, rounding, overflow)];
  // -0 is a matter of its own, tested below.
  if (got !== wanted && !(got === 0 && wanted === 0))
    assert.equal(got, wanted, `${f.name} ${x} ${rounding} ${overflow}`);
}

/** All ways for an input before the next input: the reference then looks for its place once. */
function checkAgainstReference(f: MinifloatFormat, inputs: readonly number[]): void {
  for (const x of inputs) for (const way of WAYS) checkInput(f, x, way);
}

test("every value, every midpoint and one ulp to each side encode as exact rationals do, in all roundings x overflows", () => {
  for (const f of listed) if (f.bits <= 8) checkAgainstReference(f, boundaries(f));
  for (const f of minifloats(p3109Names())) if (f.bits <= 5) checkAgainstReference(f, boundaries(f));
  for (const f of minifloats(["Binary8p1uf", "Binary8p1se", "Binary8p3se", "Binary8p4sf", "Binary6p6ue"])) {
    checkAgainstReference(f, boundaries(f));
  }
});

test("every midpoint of f16 and bf16 and one ulp to each side encode as exact rationals do, in one of the ways each", () => {
  for (const f of minifloats(["f16", "bf16"])) {
    boundaries(f).forEach((x, i) => {
      if (EXHAUSTIVE) for (const way of WAYS) checkInput(f, x, way);
      else checkInput(f, x, WAYS[i % WAYS.length]);
    });
  }
});

test("tf32 encodes as exact rationals do at scattered values and one ulp beside them", () => {
  const tf32 = format("tf32") as MinifloatFormat;
  const inputs = Array.from({ length: 300 }, (_, i) => (1 + ((i * 2654435761) % 4096) / 4096) * 2 ** ((i % 280) - 150));
  checkAgainstReference(
    tf32,
    inputs.flatMap((x) => [x, nextUp64(x), -x]),
  );
});

test("a million random binary64 inputs encode as exact rationals do, in formats of up to 16 bits, in all ways in turn", () => {
  const random = randomBits(2026, 5);
  const small = listed.filter(({ bits }) => bits <= 16);
  const count = Math.ceil(1_000_000 / small.length);
  for (const f of small) {
    const spread = 2 ** f.exponentBits + 8;
    for (let i = 0; i < count; i++) {
      const significand = 1 + (random.next() + random.next() / 2 ** 32) / 2 ** 32;
      const x = significand * 2 ** Math.round((random.next() / 2 ** 32 - 0.5) * spread) * (i % 2 === 0 ? 1 : -1);
      // Signs alternate with i, so that ways change with pairs.
      checkInput(f, x, WAYS[(i >> 1) % WAYS.length]);
    }
  }
});

test("negative zero keeps its sign where the format has one, and is zero elsewhere", () => {
  for (const f of listed.filter(({ bits }) => bits <= 16)) {
    const hasNegativeZero = [...decodeTable(f)].some((v) => Object.is(v, -0));
    const hasZero = decodeTable(f)[0] === 0;
    if (hasZero) assert.ok(Object.is(decode(f, encode(f, -0)), hasNegativeZero ? -0 : 0), f.name);
  }
});

test("stochastic rounding goes up as often as its definition says: all R of 4 random bits are counted", () => {
  const f = format("e2m1");
  const range = 16;
  const upShare = (rounding: Parameters<typeof encode>[2]) => {
    let ups = 0;
    for (let r = 0; r < range; r++)
      ups += Number(encode(f, x, { ...rounding, random: { bits: 4, next: () => r } }) === 3);
    return ups;
  };
  // 1 + nu / 2 between 1 and 1.5, nu in units of 1/64.
  let x = 0;
  for (let nu = 1; nu < 64; nu++) {
    x = 1 + nu / 128;
    const t = nu / 4;
    assert.equal(upShare({ rounding: "stochastic" }), Math.ceil(t), `stochastic ${nu}`);
    assert.equal(upShare({ rounding: "stochastic-a" }), Math.floor(t), `A ${nu}`);
    assert.equal(upShare({ rounding: "stochastic-b" }), Math.floor((Math.floor(2 * t) + 1) / 2), `B ${nu}`);
    const nearest = Math.floor(t) + Number(t % 1 > 0.5 || (t % 1 === 0.5 && Math.floor(t) % 2 === 1));
    assert.equal(upShare({ rounding: "stochastic-c" }), nearest, `C ${nu}`);
    assert.equal(upShare({ rounding: "stochastic-half" }), range / 2, `half ${nu}`);
  }
});

test("stochastic rounding with the shared generator is unbiased within 4 standard deviations, and repeats by its seed", () => {
  const f = format("e4m3fn");
  const count = 20000;
  const run = (rounding: "stochastic" | "stochastic-a" | "stochastic-b" | "stochastic-c", seed: number, x: number) => {
    const random = randomBits(seed, 1);
    return Array.from({ length: count }, () => decode(f, encode(f, x, { rounding, random })));
  };
  for (const rounding of ["stochastic", "stochastic-a", "stochastic-b", "stochastic-c"] as const) {
    for (const x of [1.03, -17.3, 0.0011, 300.7]) {
      const values = run(rounding, 7, x);
      const mean = values.reduce((a, b) => a + b, 0) / count;
      const spread = Math.sqrt(values.reduce((a, b) => a + (b - mean) ** 2, 0) / count / count);
      assert.ok(Math.abs(mean - x) < 4 * spread, `${rounding} ${x}: mean ${mean}, spread ${spread}`);
    }
  }
  assert.deepEqual(run("stochastic", 7, 1.03), run("stochastic", 7, 1.03));
  assert.notDeepEqual(run("stochastic", 8, 1.03), run("stochastic", 7, 1.03));
});

/** Number i of the inputs of golden/make_codebooks.py and golden/universal.cpp. */
function scatteredInput(i: number): number {
  const u = Number((BigInt(i) * 2654435761n + 977n) & 0xffffffffn);
  return (Math.floor(u / 256) / 2 ** 24 + 1) * 2 ** ((u & 127) - 64) * (u & 128 ? -1 : 1);
}

test("posits of 3 to 16 and of 32 bits decode and encode as SoftPosit does", () => {
  const wanted = golden<{ values: Record<string, string>; codes: Record<string, string> }>("posit.json");
  const inputs = Array.from({ length: 20000 }, (_, i) => scatteredInput(i));
  for (const [n, digest] of Object.entries(wanted.values)) {
    const values = Float64Array.from(decodeTable(format(`posit${n}`)), (v) => (Number.isNaN(v) ? 0 : v));
    assert.equal(sha256(new Uint8Array(values.buffer)), digest, `posit${n} values`);
  }
  for (const [n, digest] of Object.entries(wanted.codes)) {
    const codes = Uint32Array.from(inputs, (x) => encode(format(`posit${n}`), x));
    assert.equal(sha256(new Uint8Array(codes.buffer)), digest, `posit${n} codes`);
  }
});

/** The lines that golden/universal.cpp prints for one section. */
function universalLines(section: string, count: number): string[] {
  const [kind, width] = section.split(" ");
  const n = Number(width);
  const f = format(`posit${n}`);
  const lines = (lineOf: (i: number) => string) => Array.from({ length: count }, (_, i) => lineOf(i));
  if (kind === "codes") return lines((i) => encode(f, scatteredInput(i)).toString(16));
  const values = decodeTable(f);
  if (kind === "values") return lines((i) => binary64Hex(Number.isNaN(values[i]) ? 0 : values[i]));
  if (kind === "sqrt") return lines((i) => squareRoot(f, values[i]).toString(16));
  const operation = { "+": add, "-": subtract, "*": multiply, "/": divide }[kind as "+" | "-" | "*" | "/"];
  const all = 2 ** n;
  const scattered = (i: number) => Number(BigInt.asUintN(64, BigInt(i) * 0x9e3779b97f4a7c15n) >> 32n);
  return lines((i) => {
    const u = count === all * all ? i : scattered(i);
    return operation(f, values[u % all], values[Math.floor(u / all) % all]).toString(16);
  });
}

function binary64Hex(x: number): string {
  const bytes = new DataView(new ArrayBuffer(8));
  bytes.setFloat64(0, x);
  return bytes.getBigUint64(0).toString(16).padStart(16, "0");
}

test("posits decode, encode, add, subtract, multiply, divide and take roots as Universal does: all pairs of posit8", () => {
  const { sections } = golden<{ sections: Record<string, { lines: number; sha256: string }> }>("universal.json");
  for (const [name, { lines, sha256: digest }] of Object.entries(sections)) {
    assert.equal(sha256(universalLines(name, lines).join("\n")), digest, name);
  }
});

test("posit8 keeps what SoftPosit and Universal agree on: ties on the bit string, nothing becomes 0 or NaR", () => {
  const p = format("posit8");
  const to = (x: number) => decode(p, encode(p, x));
  assert.equal(encode(p, 1), 0x40);
  assert.deepEqual([to(2 ** 22), to(4194305), to(1e30), to(1e-30)], [2 ** 20, 2 ** 24, 2 ** 24, 2 ** -24]);
  assert.ok(Number.isNaN(to(Number.NaN)) && Number.isNaN(to(Infinity)));
});

test("NF4, AF4, FP4 and the dynamic trees hold the values of bitsandbytes, code by code", () => {
  const { values } = golden<{ values: Record<string, number[]> }>("bnb.json");
  for (const [name, list] of Object.entries(values)) {
    assert.deepEqual([...decodeTable(format(name))].map(Math.fround), list.map(Math.fround), name);
  }
});

test("E8M0's nearest-even goes by the code: 1.5 to 2, 3 to 2, 6 to 8, 12 to 8, and never leaves the format", () => {
  const e8m0 = format("e8m0");
  assert.deepEqual(
    [1.5, 3, 6, 12].map((x) => decode(e8m0, encode(e8m0, x))),
    [2, 2, 8, 8],
  );
  assert.equal(encode(e8m0, 2 ** -140), 0);
  assert.equal(encode(e8m0, 0), 255);
  assert.equal(encode(e8m0, -1), 255);
  assert.equal(encode(e8m0, 0, { overflow: "saturate" }), 0);
  assert.equal(encode(e8m0, Infinity, { overflow: "saturate" }), 254);
});

test("sums, products, quotients, roots and fused operations of all e4m3fn pairs round the exact result once", () => {
  const f = format("e4m3fn") as MinifloatFormat;
  const values = [...decodeTable(f)].filter((v, code) => !Number.isNaN(v) && code % 3 === 0);
  for (const a of values) {
    for (const b of values) {
      // Sums and products of two such values are exact in binary64; quotients of 4-bit significands are, up to their tail.
      assert.equal(add(f, a, b), encode(f, a + b), `${a} + ${b}`);
      assert.equal(multiply(f, a, b), encode(f, a * b), `${a} * ${b}`);
      assert.equal(divide(f, a, b), encode(f, a / b), `${a} / ${b}`);
    }
    assert.equal(squareRoot(f, a), encode(f, Math.sqrt(a)), `sqrt ${a}`);
  }
});

test("the fused operations do not round in between: 448 * 448 - 448 * 448 + 2^-9 is 2^-9", () => {
  const f = format("e4m3fn");
  assert.equal(decode(f, dot(f, [448, 448, 2 ** -9], [448, -448, 1])), 2 ** -9);
  const bf16 = format("bf16");
  const x = 1 + 2 ** -7;
  assert.equal(decode(bf16, fusedMultiplyAdd(bf16, x, x, -(1 + 2 ** -6))), 2 ** -14);
  // In f32 this sum is a tie only after the small term has been lost.
  const f32 = format("f32");
  assert.equal(decode(f32, dot(f32, [1, 2 ** -24, 2 ** -80], [1, 1, 1])), 1 + 2 ** -23);
});

test("formats wider than binary64 round exact numbers once, and compute with them: midpoints, products, quotients, roots", () => {
  for (const name of ["Binary16p1ue", "Binary16p1sf", "Binary16p2se", "Binary16p3uf", "Binary15p2uf", "Binary13p1se"]) {
    const f = format(name) as MinifloatFormat;
    const value = (code: number) => decodeExact(f, code) as Dyadic;
    const half = ({ significand, exponent }: Dyadic): Dyadic => ({ significand, exponent: exponent - 1 });
    const sum = (a: Dyadic, b: Dyadic): Dyadic => {
      const exponent = Math.min(a.exponent, b.exponent);
      const aligned = (d: Dyadic) => d.significand << BigInt(d.exponent - exponent);
      return { significand: aligned(a) + aligned(b), exponent };
    };
    const largest = f.signed ? 2 ** (f.bits - 1) - 2 : 2 ** f.bits - 3;
    const one = encode(f, 1);
    for (let code = 2; code + 1 < largest; code += 1 + (code % 97)) {
      const [x, next] = [value(code), value(code + 1)];
      assert.equal(project(f, x), code);
      const middle = half(sum(x, next));
      const far = middle.exponent - 90;
      const near = (by: bigint) => sum(middle, { significand: by, exponent: far });
      const even = code % 2 === 0 ? code : code + 1;
      assert.deepEqual([project(f, near(-1n)), project(f, middle), project(f, near(1n))], [code, even, code + 1], name);
      assert.equal(divide(f, x, x), one);
      assert.equal(multiply(f, x, { significand: 1n, exponent: 0 }), code);
      assert.equal(subtract(f, x, x), 0);
      assert.equal(squareRoot(f, { significand: x.significand ** 2n, exponent: 2 * x.exponent }), code);
      assert.equal(fusedMultiplyAdd(f, x, x, { significand: -(x.significand ** 2n), exponent: 2 * x.exponent }), 0);
      assert.equal(dot(f, [x, next, x], [1, 1, -1]), code + 1);
    }
  }
});

test("nextUp walks through every value of a format in order, and nextDown back", () => {
  for (const f of formats.entries.filter(({ bits }) => bits <= 8)) {
    const values = [...new Set([...decodeTable(f)].map((v) => (v === 0 ? 0 : v)))]
      .filter((v) => !Number.isNaN(v))
      .sort((a, b) => a - b);
    let code = encode(f, values[0], { overflow: "propagate" });
    for (const value of values) {
      assert.equal(decode(f, code) + 0, value, `${f.name} at ${value}`);
      code = nextUp(f, code);
      if (decode(f, code) === 0) code = encode(f, 0);
    }
    for (const value of values.reverse()) {
      assert.equal(decode(f, code) + 0, value, `${f.name} back at ${value}`);
      code = nextDown(f, code);
    }
  }
});

test("codes have classes and a total order", () => {
  const f = format("e5m2");
  assert.deepEqual(
    [0, 1, 4, 0x7c, 0x7d, 0x80].map((code) => classify(f, code)),
    ["zero", "subnormal", "normal", "infinity", "nan", "zero"],
  );
  const order = Array.from({ length: 256 }, (_, code) => code).sort((a, b) => totalOrder(f, a, b));
  assert.equal(order[0], 0xfc);
  assert.ok(order.indexOf(0x80) < order.indexOf(0));
  assert.ok(order.slice(-6).every((code) => Number.isNaN(decode(f, code))));
});
