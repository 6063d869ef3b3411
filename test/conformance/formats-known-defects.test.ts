/**
 * What goes wrong, or went wrong, in other libraries, as tests that pass here. Each names the library and its report.
 *
 * Reports with nothing to test on a CPU without the stack in question: brevitas #1294 (stochastic rounding that fails on a
 * GPU), shumai #54, onnx #6283, ml_dtypes pull request 151 and Float8s.jl #7 (speed: bench/casts.ts measures it),
 * microxcaling's missing CUDA modes, pmetal #32 (a wish for NVFP4), mlxcel #1769 (a bound on Metal hosts; the rule itself is
 * tested under MLX #4353), trinity #694 (perplexities under three scale rules).
 */
import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { NumericError } from "../../src/errors.js";
import {
  decode,
  decodeTable,
  E8M0_RULES,
  type EncodeOptions,
  encode,
  format,
  minifloat,
  roundTo,
  scheme,
} from "../../src/formats/index.js";
import { dequantize, quantize } from "../../src/tensor/index.js";

const to = (name: string, x: number, options?: EncodeOptions) => roundTo(format(name), x, options);
const back = (name: string, values: readonly number[]) => [
  ...dequantize(quantize(Float32Array.from(values), [1, values.length], scheme(name))),
];

test("ml_dtypes #147, #260, #400, pytorch #104242, #178817, float8_experimental #33: overflow of e4m3fn is a choice, not a property of the library", () => {
  assert.ok(Number.isNaN(to("e4m3fn", 465)));
  assert.equal(to("e4m3fn", 465, { overflow: "saturate" }), 448);
  assert.equal(to("e4m3fn", Infinity, { overflow: "saturate" }), 448);
  assert.equal(to("e5m2", Infinity, { overflow: "propagate" }), Infinity);
});

test("onnx #4805, #6220, #7085: infinity in a FNUZ format is NaN unless saturation is asked for", () => {
  assert.ok(Number.isNaN(to("e4m3fnuz", Infinity)));
  assert.equal(to("e4m3fnuz", Infinity, { overflow: "saturate" }), 240);
});

test("ml_dtypes: NaN never becomes -0 in silence, and integers do not wrap unless told to", () => {
  for (const name of ["e2m1", "e3m2", "e2m3", "int4"]) assert.throws(() => to(name, Number.NaN), NumericError, name);
  assert.equal(to("int4", 9.9), 7);
  assert.equal(to("int4", 10, { overflow: "wrap" }), -6);
});

test("gfloat #49: no value of bfloat16 is skipped, though logarithms would round beside powers of two", () => {
  const bf16 = format("bf16");
  for (let exponent = -126; exponent <= 127; exponent++) {
    for (const code of [(exponent + 127) << 7, ((exponent + 127) << 7) - 1]) {
      const value = decode(bf16, code);
      assert.equal(encode(bf16, value), code);
      assert.equal(encode(bf16, value * (1 + 2 ** -40)), code);
      assert.equal(encode(bf16, value * (1 - 2 ** -40)), code);
    }
  }
});

test("gfloat #62: E8M0 gives no value outside the format, however small the input", () => {
  for (const x of [2 ** -128, 2 ** -140, 2 ** -1074]) assert.equal(to("e8m0", x), 2 ** -127);
});

test("gfloat on P3109: 1000 in Binary8p4sf is 240 without saturation, and -3 in an unsigned format is no -3", () => {
  assert.equal(to("Binary8p4sf", 1000), 240);
  assert.ok(Number.isNaN(to("Binary8p3ue", -3)));
  assert.equal(to("Binary8p3ue", -3, { overflow: "saturate" }), 0);
});

test("QPyTorch #48: 3.0 with 8 exponent and 23 significand bits stays 3.0", () => {
  const wide = minifloat({
    name: "e8m23",
    exponentBits: 8,
    significandBits: 23,
    nonFinite: "ieee",
    summary: "",
    source: "",
  });
  assert.equal(roundTo(wide, 3), 3);
});

test("QPyTorch #24, #42, #43: subnormals are there; #23: ties go to even, not away", () => {
  assert.equal(to("e5m2", 2 ** -16), 2 ** -16);
  assert.equal(to("e4m3fn", 3 * 2 ** -9), 3 * 2 ** -9);
  assert.equal(to("e4m3fn", 1.0625), 1);
  assert.equal(to("e4m3fn", 1.0625, { rounding: "nearest-away" }), 1.125);
});

test("auto-round #2302: the significand of UE5M3 carries into the exponent, and small values round to 0", () => {
  assert.equal(to("ue5m3", 1.96875), 2);
  assert.equal(to("ue5m3", 2 ** -18), 0);
  assert.equal(to("ue5m3", 2 ** -17), 2 ** -17);
});

test("Universal: MXINT8 of a block up to 1.92 keeps its values, 1.92 to 1.921875 and 1.26 to 1.265625", () => {
  assert.deepEqual(back("mxint8", [1.92, 1.26, -1.92]), [1.921875, 1.265625, -1.921875]);
});

test("microxcaling: a NaN that enters a block scheme is an error, not a number", () => {
  assert.throws(() => back("mxfp8", [1, Number.NaN]), NumericError);
});

test("qonnx #159 against Brevitas: 0.3125 is a value of e3m2, and in e2m3 a tie that goes to the even 0.25", () => {
  assert.equal(to("e3m2", 0.3125), 0.3125);
  assert.equal(to("e2m3", 0.3125), 0.25);
});

test("MLX before #4353: a scale rounded in logarithms loses up to 29 % of a block's largest value; rounding up loses none", () => {
  // amax / 6 = 2^0.5 less a little: the logarithm rounds down to 1, and 8.48 saturates to 6.
  const amax = Math.fround(6 * Math.SQRT2 * (1 - 2 ** -20));
  const loss = (name: string) => 1 - back(name, [amax])[0] / amax;
  assert.ok(loss("mxfp4@mlx-2025") > 0.29, String(loss("mxfp4@mlx-2025")));
  assert.ok(Math.abs(loss("mxfp4@mlx")) < 0.06);
});

test("jax #30467, auto-round #2362: NVFP4's tensor scale is applied once and the right way round", () => {
  for (const size of [1e-6, 1, 3e4]) {
    const values = [1, -0.5, 0.25, 0.75].map((v) => v * size);
    for (const [i, v] of back("nvfp4", values).entries())
      assert.ok(Math.abs(v / values[i] - 1) < 0.2, `${size}: ${v} for ${values[i]}`);
  }
});

test("MLX #2962: UE4M3 has e4m3's bias of 7 and a largest value of 448", () => {
  assert.equal(Math.max(...[...decodeTable(format("ue4m3"))].filter(Number.isFinite)), 448);
});

test("float16 in JavaScript by way of f32 rounds twice; here 1 + 2^-11 + 2^-50 goes up", () => {
  const x = 1 + 2 ** -11 + 2 ** -50;
  assert.equal(to("f16", Math.fround(x)), 1);
  assert.equal(to("f16", x), 1 + 2 ** -10);
});

test("pychop #4: infinity stays infinity where a format has it", () => {
  for (const name of ["e5m2", "f16", "bf16", "e3m4", "e4m3"]) {
    assert.deepEqual([to(name, Infinity), to(name, -Infinity)], [Infinity, -Infinity], name);
  }
});

test("universal #1302, apytypes #110, #406: every code of every 8-bit float comes back, and its neighbours are nearest to it", () => {
  for (const name of ["e4m3fn", "e4m3", "e5m2", "e3m4", "e4m3fnuz", "e5m2fnuz", "e4m3b11fnuz"]) {
    const f = format(name);
    const values = [...decodeTable(f)];
    values.forEach((value, code) => {
      if (!Number.isNaN(value)) assert.equal(encode(f, value), code, `${name} ${code}`);
    });
    const sorted = values.filter(Number.isFinite).sort((a, b) => a - b);
    for (let i = 0; i + 1 < sorted.length; i++) {
      const [low, high] = [sorted[i], sorted[i + 1]];
      assert.equal(to(name, low + (high - low) * 0.49) + 0, low + 0);
      assert.equal(to(name, low + (high - low) * 0.51) + 0, high + 0);
    }
  }
});

test("torchao #516, #1835, vllm #43557, FBGEMM #2933: floor, ceil, even and round-up are four rules, each by its name", () => {
  const scaleOf = (rule: string, amax: number) =>
    quantize(Float32Array.of(amax), [1, 1], scheme(`mxfp4@torchao${rule}`)).planes.scales![0] - 127;
  const rules = ["", "-ceil", "-even", "-rceil"];
  const exponents = (amax: number) => rules.map((rule) => scaleOf(rule, amax));
  // e2m1: emax = 2, max = 6; "even" goes up from 1.75 * 2^n on.
  assert.deepEqual(exponents(4), [0, 0, 0, 0]);
  assert.deepEqual(exponents(5), [0, 1, 0, 0]);
  assert.deepEqual(exponents(6.5), [0, 1, 0, 1]);
  assert.deepEqual(exponents(7), [0, 1, 1, 1]);
  assert.deepEqual(exponents(8), [1, 1, 1, 1]);
});

test("aiter #3212: the floor rule clips the largest element of two groups in five, rounding up of none", () => {
  const amaxes = Float32Array.from({ length: 1024 }, (_, i) => 4 * 2 ** (i / 1024));
  const clipped = (name: string) => {
    const scales = [...amaxes].map((amax) => quantize(Float32Array.of(amax), [1, 1], scheme(name)).planes.scales![0]);
    return scales.filter((code, i) => amaxes[i] / 2 ** (code - 127) > 6).length / amaxes.length;
  };
  // Of amaxes spread evenly in logarithms those above 6 * 2^n: log2(8 / 6) of them.
  assert.ok(Math.abs(clipped("mxfp4@ocp") - Math.log2(8 / 6)) < 0.01, String(clipped("mxfp4@ocp")));
  assert.equal(clipped("mxfp4@mlx"), 0);
});

test("torchao #4725: a scale is rounded up from f32; by way of bf16 448 (1 + 2^-12) would seem to fit and lose its excess", () => {
  const amax = 448 * (1 + 2 ** -12);
  assert.equal(to("bf16", amax), 448);
  assert.equal(quantize(Float32Array.of(amax), [1, 1], scheme("mxfp8@mlx")).planes.scales![0], 128);
  assert.equal(quantize(Float32Array.of(448), [1, 1], scheme("mxfp8@mlx")).planes.scales![0], 127);
});

test("pytorch #175409, #178698: rounding up to E8M0 is there, and exact at every power of two", () => {
  for (let exponent = -127; exponent <= 127; exponent++) {
    const up = (x: number) => encode(format("e8m0"), x, { rounding: "up", overflow: "saturate" });
    assert.equal(up(2 ** exponent), exponent + 127);
    assert.equal(up(2 ** exponent * (1 + 2 ** -52)), Math.min(254, exponent + 128));
  }
});

test("mlx #3022, #3911: NVFP4's tensor scale is stored, and carries tensors far beyond e4m3's range", () => {
  for (const size of [1e-12, 1e12]) {
    const packed = quantize(Float32Array.of(size, -size / 2), [1, 2], scheme("nvfp4"));
    assert.equal(packed.planes.superScales?.length, 4);
    assert.ok(Math.abs(dequantize(packed)[0] / size - 1) < 0.01);
  }
});

test("llama.cpp #19769: quantizing NVFP4's own output again keeps it within the last bits of f32", () => {
  const once = back("nvfp4", [1, -0.5, 0.3, 0.02, 6, -3.3, 0.7, 2.2]);
  for (const [i, v] of back("nvfp4", once).entries())
    assert.ok(Math.abs(v - once[i]) <= 2 ** -20 * 6, `${v} ${once[i]}`);
});

test("triton #11668: block scales round to nearest even by themselves, whatever the elements do", () => {
  // 6 * 1.0625 / 6: a tie between the e4m3 scales 1 and 1.125 under tensor scale 1 goes to the even one.
  assert.equal(encode(format("e4m3fn"), 1.0625, { overflow: "saturate" }), 0x38);
  assert.equal(encode(format("e4m3fn"), 1.1875, { overflow: "saturate" }), 0x3a);
});

test("numpy-user-dtypes #63, dlpack #158, microxcaling #6, #23: small codes are packed without padding between them", () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => (i % 13) - 6);
  for (const [name, bytes] of [
    ["mxfp4", 32],
    ["mxfp6", 48],
    ["int3-g32", 24],
    ["mxfp8", 64],
  ] as const) {
    assert.equal(quantize(values, [1, 64], scheme(name)).planes.codes.length, bytes, name);
  }
});

test("gfloat: a block scheme needs no rule named by its caller", () => {
  assert.deepEqual(back("mxfp4", [1, -2, 3, 6]), [1, -2, 3, 6]);
});

test("E8M0 by ml_dtypes' rule equals ml_dtypes for every f16 and every bf16", () => {
  const { digests }: { digests: Record<string, string> } = JSON.parse(
    readFileSync(new URL("../../../test/conformance/golden/e8m0.json", import.meta.url), "utf8"),
  );
  for (const [name, digest] of Object.entries(digests)) {
    const codes = Uint8Array.from(decodeTable(format(name)), (x) => E8M0_RULES.ml_dtypes(x));
    assert.equal(createHash("sha256").update(codes).digest("hex"), digest, name);
  }
});

test("the E8M0 rules differ where they should: ties, zero, infinity, just above 2^127", () => {
  const codes = (x: number) => Object.fromEntries(Object.entries(E8M0_RULES).map(([name, rule]) => [name, rule(x)]));
  assert.deepEqual(codes(3), {
    "nearest-even": 128,
    ml_dtypes: 129,
    "ptx-up-satfinite": 129,
    "onnx-up-saturate": 129,
    "onnx-nearest": 129,
    floor: 128,
  });
  assert.deepEqual(codes(0), {
    "nearest-even": 255,
    ml_dtypes: 255,
    "ptx-up-satfinite": 0,
    "onnx-up-saturate": 0,
    "onnx-nearest": 255,
    floor: 0,
  });
  assert.deepEqual(codes(Infinity), {
    "nearest-even": 255,
    ml_dtypes: 255,
    "ptx-up-satfinite": 254,
    "onnx-up-saturate": 254,
    "onnx-nearest": 255,
    floor: 255,
  });
  assert.deepEqual(codes(1.25 * 2 ** 127), {
    "nearest-even": 254,
    ml_dtypes: 254,
    "ptx-up-satfinite": 254,
    "onnx-up-saturate": 254,
    "onnx-nearest": 254,
    floor: 254,
  });
});
