import assert from "node:assert/strict";
import { test } from "node:test";
import { InputError, NumericError } from "../../errors.js";
import {
  codeArray,
  decodeArray,
  encode,
  encodeArray,
  format,
  formats,
  p3109Names,
  scheme,
  schemes,
} from "../../formats/index.js";
import { quantize } from "../../tensor/index.js";
import { detectFeatures } from "../wasm/features.js";
import { type Casts, createCasts } from "./index.js";

const skip = detectFeatures().simd ? false : "skipped, because this engine has no WebAssembly SIMD";
const BYTES = 1 << 22;
const casts = skip === false ? createCasts(BYTES) : (undefined as unknown as Casts);
const listed = [
  ...formats.entries,
  ...p3109Names()
    .filter((name) => name.startsWith("Binary8p") || name.startsWith("Binary6p"))
    .map(format),
];
const upTo16 = listed.filter(({ bits }) => bits <= 16);

/** Every bf16, every f16 of one sign, and scattered bits: all finite, the length no multiple of 16. */
function inputs(): Float32Array {
  const bf16 = Uint32Array.from({ length: 65536 }, (_, i) => i << 16);
  const f16 = Float32Array.from({ length: 32768 }, (_, i) => (i < 0x7c00 ? f16Value(i) : 0));
  const scattered = Uint32Array.from({ length: 20003 }, (_, i) =>
    Number((BigInt(i) * 2654435761n + 12345n) & 0xffffffffn),
  );
  const all = new Float32Array(bf16.length + f16.length + scattered.length);
  all.set(new Float32Array(bf16.buffer));
  all.set(f16, bf16.length);
  all.set(new Float32Array(scattered.buffer), bf16.length + f16.length);
  return all.filter(Number.isFinite);
}
const f16Table = new Float32Array(65536);
decodeArray(
  format("f16"),
  Uint16Array.from({ length: 65536 }, (_, i) => i),
  f16Table,
);
const f16Value = (code: number) => f16Table[code];

test("encoding gives the codes of src/formats for every format up to 16 bits, every bf16 and f16 and 20000 f32", {
  skip,
}, () => {
  const x = inputs();
  let generated = 0;
  for (const f of upTo16.filter(({ kind, bits }) => bits <= 8 || kind === "minifloat")) {
    for (const overflow of [undefined, "saturate"] as const) {
      const options = overflow ? { overflow } : {};
      casts.reset();
      const values = casts.floats(x.length);
      values.set(x);
      const size = f.bits <= 8 ? 1 : 2;
      const codes = casts.bytes(x.length * size);
      const wanted = codeArray(f.bits, x.length);
      encodeArray(f, x, wanted, options);
      if (casts.encode(f, values, codes, options) === "wasm") generated++;
      const wantedBytes = new Uint8Array(wanted.buffer);
      if (Buffer.compare(codes, wantedBytes) === 0) continue;
      const at = codes.findIndex((byte, i) => byte !== wantedBytes[i]);
      const i = Math.floor(at / size);
      assert.fail(
        `${f.name} ${overflow}: ${x[i]} gave byte ${codes[at]}, wanted ${wantedBytes[at]} (${encode(f, x[i], options)})`,
      );
    }
  }
  assert.ok(generated > 50, `${generated} casts had kernels`);
});

test("decoding gives the values of src/formats for every code of every format up to 16 bits", { skip }, () => {
  for (const f of upTo16) {
    casts.reset();
    const count = 2 ** f.bits + (f.bits < 4 ? 0 : -3);
    const all = codeArray(f.bits, count).map((_, i) => i);
    const codes = casts.bytes(all.byteLength);
    codes.set(new Uint8Array(all.buffer));
    const out = casts.floats(count);
    casts.decode(f, codes, out);
    const wanted = new Float32Array(count);
    decodeArray(f, all, wanted);
    for (const [i, value] of out.entries())
      assert.ok(Object.is(value, wanted[i]), `${f.name} code ${i}: ${value}, wanted ${wanted[i]}`);
  }
});

test("block kernels give the planes of the scheme's own rule, on plain data, outliers, ties, zeros and tiny blocks", {
  skip,
}, () => {
  const rows: ((i: number) => number)[] = [
    (i) => Math.sin(i * 1.7) * (1 + (i % 9)),
    () => 0,
    () => -0,
    (i) => (i % 32 === 5 ? 8 - 2 ** -21 : Math.cos(i)),
    (i) => (i % 32 === 5 ? 2 ** 15 - 2 ** -9 : i),
    (i) => (i % 16) - 7.5,
    (i) => (i % 32 === 7 ? -3 : i % 32 === 9 ? 3 : 0.25),
    (i) => (((i * 7) % 25) - 12) / 4,
    (i) => (i - 31) * 2 ** -120,
    (i) => (i - 31) * 2 ** -140,
    (i) => (i % 2 === 0 ? -1 : 1) * 2 ** -20,
    (i) => (i === 3 ? 65504 * 8 : 1),
  ];
  const plain = Float32Array.from({ length: 4096 }, (_, i) => Math.sin(i * i) * 2 ** (((i >> 6) % 40) - 28));
  const x = new Float32Array(rows.length * 64 + plain.length);
  for (const [r, row] of rows.entries())
    x.set(
      Float32Array.from({ length: 64 }, (_, i) => row(i)),
      r * 64,
    );
  x.set(plain, rows.length * 64);
  const count = x.length / 64;
  const names = [
    ...schemes.names,
    "mxfp4@ocp",
    "mxfp4@mlx",
    "mxfp4@compressed-tensors",
    "mxfp8@transformer-engine",
    "bfp4-g32",
  ];
  const generated: string[] = [];
  for (const name of names) {
    const s = scheme(name);
    if (!s.lowering) continue;
    casts.reset();
    const wanted = quantize(s, x, [count, 64]);
    const values = casts.floats(x.length);
    values.set(x);
    const planes = {
      codes: casts.bytes(wanted.planes.codes.length),
      scales: casts.bytes(wanted.planes.scales!.length),
    };
    if (casts.quantize(s, values, count, 64, planes) === "wasm") generated.push(name);
    assert.deepEqual(planes.scales, wanted.planes.scales, `${name} scales`);
    assert.deepEqual(planes.codes, wanted.planes.codes, `${name} codes`);
  }
  for (const name of ["q4_0", "mxfp4", "mxfp8", "mxfp8-e5m2", "mxint8", "mxfp4@ocp", "mxfp4@mlx"])
    assert.ok(generated.includes(name), name);
});

test("NaN, full memory, foreign arrays and scales beyond f16 are the errors of src/formats", { skip }, () => {
  casts.reset();
  const values = casts.floats(32).fill(1);
  const codes = casts.bytes(32);
  values[5] = Number.NaN;
  assert.throws(() => casts.encode(format("e2m1"), values, codes), NumericError);
  casts.encode(format("e4m3fn"), values, codes);
  assert.equal(codes[5], 0x7f);
  assert.throws(() => casts.floats(BYTES), InputError);
  assert.throws(() => casts.encode(format("e2m1"), new Float32Array(32), codes), InputError);
  values.fill(1e30);
  assert.throws(() => casts.quantize(scheme("q4_0"), values, 1, 32, { codes, scales: casts.bytes(2) }), NumericError);
});
