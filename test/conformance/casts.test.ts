/** The cast kernels against the formats' own array paths and the schemes' own rules: the same bytes on every class of input. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { NumericError } from "../../src/errors.js";
import { bitsOfF32, f32OfBits } from "../../src/formats/binary64.js";
import {
  codeArray,
  codebook,
  decode,
  decodeTable,
  encode,
  encodeArray,
  formatFamilies,
  formats,
  type NumberFormat,
  presetNames,
  type Scheme,
  scaledScheme,
  scheme,
  schemes,
} from "../../src/formats/index.js";
import {
  createCaster,
  createThreadedCaster,
  dequantizeInMemory,
  quantizeInMemory,
} from "../../src/kernels/casts/index.js";
import { dequantize, elementCount, type PackedTensor, quantize } from "../../src/tensor/index.js";

const caster = createCaster();
after(() => caster.dispose());

/** Numbers spread evenly over all bits of binary32. */
function scatteredBits(count: number, seed: number): Uint32Array {
  let state = seed >>> 0;
  return Uint32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state ^ (state >>> 15)) >>> 0;
  });
}

const upperHalves = new Float32Array(Uint32Array.from({ length: 65536 }, (_, i) => i * 65536).buffer);
const f16Values = Float32Array.from(decodeTable(formats.get("f16")));
const subnormals = new Float32Array(Uint32Array.from({ length: 2048 }, (_, i) => (i * 4099) | ((i & 1) << 31)).buffer);
const random = new Float32Array(scatteredBits(100_000, 1).buffer);
/** Around the range of small formats. */
const moderate = Float32Array.from(scatteredBits(100_000, 2), (u) => (u / 2 ** 31 - 1) * 2 ** ((u % 24) - 12));
const special = Float32Array.of(0, -0, Number.NaN, Infinity, -Infinity, 3.4028234663852886e38, -3.4028234663852886e38);

/** Midpoints of neighbouring values and the numbers next to them. */
function midpoints(format: NumberFormat): Float32Array {
  if (format.bits > 8) return new Float32Array(0);
  const values = [...decodeTable(format)].filter(Number.isFinite).sort((a, b) => a - b);
  const out: number[] = [];
  for (let i = 0; i + 1 < values.length; i++) {
    const middle = bitsOfF32(values[i] / 2 + values[i + 1] / 2);
    for (const bits of [middle, middle + 1, middle - 1]) out.push(f32OfBits(bits), f32OfBits(bitsOfF32(values[i])));
  }
  return Float32Array.from(out);
}

const refusesNaN = (format: NumberFormat) => {
  try {
    encode(format, Number.NaN);
    return false;
  } catch {
    return true;
  }
};

function joined(...parts: readonly Float32Array[]): Float32Array {
  const out = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const all = joined(special, upperHalves, f16Values, subnormals, random, moderate);
const numbers = all.filter((x) => !Number.isNaN(x));
/** Wide integers go through the exact codec, value by value. */
const fewer = numbers.filter((_, i) => i < 70_000 || i % 16 === 0).filter((_, i) => i % 4 === 0);

function inputsOf(format: NumberFormat): Float32Array {
  if (format.kind === "integer" && format.bits > 8) return fewer;
  return refusesNaN(format)
    ? joined(
        numbers,
        midpoints(format).filter((x) => !Number.isNaN(x)),
      )
    : joined(all, midpoints(format));
}

const examples = formatFamilies.flatMap((family) => family.examples.map((name) => formats.get(name)));
const everyFormat = [...new Set([...formats.entries, ...examples])];

/** Formats without a kernel take the very path they would be compared with. */
const hasEncoder = (format: NumberFormat) => caster.plan(format).encode.path !== "reference";

test("codes of every format equal those of the reference on all f16 and bf16 inputs, midpoints, subnormals and 200000 more", () => {
  for (const format of everyFormat.filter(hasEncoder)) {
    const values = inputsOf(format);
    const wanted = codeArray(format.bits, values.length);
    encodeArray(format, values, wanted);
    const got = caster.encode(format, values);
    const at = got.findIndex((code, i) => code !== wanted[i]);
    assert.equal(
      at,
      -1,
      `${format.name}: ${values[at]} (${bitsOfF32(values[at]).toString(16)}) gives ${got[at]}, wanted ${wanted[at]}`,
    );
  }
});

test("values of every code of every format of at most 16 bits equal those of the reference, NaN up to its payload", () => {
  for (const format of everyFormat.filter(({ bits }) => bits <= 16)) {
    const codes = codeArray(format.bits, 2 ** format.bits).map((_, i) => i);
    const wanted = Float32Array.from(codes, (code) => decode(format, code));
    const got = caster.decode(format, codes);
    const [a, b] = [new Uint32Array(got.buffer), new Uint32Array(wanted.buffer)];
    const sameNaN = (i: number) => Number.isNaN(got[i]) && Number.isNaN(wanted[i]);
    const at = a.findIndex((bits, i) => bits !== b[i] && !sameNaN(i));
    assert.equal(at, -1, `${format.name}: code ${at} is ${got[at]}, wanted ${wanted[at]}`);
  }
});

test("the other roundings and overflow rules equal the reference too", () => {
  const values = Float32Array.from([...moderate.subarray(0, 3000), ...special].filter((x) => !Number.isNaN(x)));
  for (const name of ["e4m3fn", "e5m2", "e2m1", "int8", "nf4", "bf16"]) {
    // Every combination of 8-bit formats is another table to build.
    const roundings = name === "e4m3fn" ? (["up"] as const) : (["nearest-zero", "toward-zero", "to-odd"] as const);
    for (const rounding of roundings) {
      for (const overflow of name === "e5m2" ? (["saturate"] as const) : (["saturate", "none"] as const)) {
        const format = formats.get(name);
        const wanted = codeArray(format.bits, values.length);
        encodeArray(format, values, wanted, { rounding, overflow });
        assert.deepEqual(
          caster.encode(format, values, undefined, { rounding, overflow }),
          wanted,
          `${name} ${rounding}`,
        );
      }
    }
  }
});

test("values of tf32 and of posits of 32 bits equal those of the reference at scattered codes", () => {
  for (const format of [formats.get("tf32"), formats.get("posit32"), formats.get("fixed24.-3")]) {
    const codes = scatteredBits(5003, 9).map((u) => (u >>> (32 - format.bits)) >>> 0);
    const wanted = Float32Array.from(codes, (code) => decode(format, code));
    assert.deepEqual([...caster.decode(format, codes)], [...wanted], format.name);
  }
});

test("NaN is refused where a format has none, and an array of any length is cast whole", () => {
  for (const name of ["e2m1", "int8", "nf4"]) {
    assert.throws(() => caster.encode(formats.get(name), Float32Array.of(1, Number.NaN, 2)), NumericError);
  }
  for (const length of [0, 1, 15, 16, 17, 32767, 32769, 70001]) {
    const values = moderate.subarray(0, Math.min(length, moderate.length));
    const format = formats.get("e4m3fn");
    const wanted = codeArray(8, values.length);
    encodeArray(format, values, wanted);
    assert.deepEqual(caster.encode(format, values), wanted);
  }
});

const families = ["int4-g32", "int8-row", "int3-g64", "int2-g16", "int4-g64-asym", "int8-row-asym", "int5-g48-asym"];
const more = [
  "e2m1-g32",
  "e3m2-g16",
  "e4m3fn-g128",
  "e5m2-g32-e5m2",
  "int4-g32-bf16",
  "int8-g64-f32",
  "nf4-g64",
  "bfp5-g16",
];
const odd = [
  "int4-g24",
  "e2m3-mx20",
  "posit8-g32",
  "nf4-mx32",
  "bitmod3-g32",
  "mxfp4+",
  "mxfp8+",
  "bitmod4-er-g24",
  "int4-4x32",
];
const tabled = ["posit6-mx16", "lns8.3-g32", "dynamic8-g64", "power6-2-row"];
const tiled = ["int4-4x24", "posit8-3x16", "e2m1-8x1", "int8-4x32-bf16"];
const tenths = codebook({
  name: "tenths",
  values: [-0.3, -0.1, 0, 0.1],
  summary: "no value is an f32",
  source: "here",
});
// A set, because presets of GGUF are the listed schemes.
const everyScheme: readonly Scheme[] = [
  ...new Set([
    scaledScheme({ name: "tenths-g32", element: tenths, per: 32 }),
    ...schemes.entries,
    ...[...presetNames, ...families, ...more, ...odd, ...tabled, ...tiled, "bfp2-g16", "bfp12-g32"].map((name) =>
      scheme(name),
    ),
  ]),
];

const sameTensor = (name: string, got: PackedTensor, wanted: PackedTensor) => {
  for (const [plane, bytes] of Object.entries(wanted.planes) as [keyof PackedTensor["planes"], Uint8Array][]) {
    const other = got.planes[plane]!;
    const at = bytes.findIndex((byte, i) => byte !== other[i]);
    assert.equal(at, -1, `${name}: byte ${at} of ${plane} is ${other[at]}, wanted ${bytes[at]}`);
  }
};

/** Rows of many sizes of numbers: tiny, huge, zeros of both signs, one outlier, equal magnitudes of both signs. */
function tensor(rows: number, columns: number): Float32Array {
  const bits = scatteredBits(rows * columns, rows * 31 + columns);
  return Float32Array.from(bits, (u, i) => {
    const row = Math.floor(i / columns);
    const x = u / 2 ** 31 - 1;
    switch (row % 10) {
      case 0:
        return x;
      case 1:
        return x * 2 ** ((u % 40) - 30);
      case 2:
        return u % 3 === 0 ? -0 : 0;
      case 3:
        return x * 2 ** -130;
      case 4:
        return u % 16 === 0 ? 100 * x : x / 100;
      case 5:
        return u % 2 === 0 ? -0.75 : 0.75;
      case 6:
        return Math.abs(x) * 1000;
      case 7:
        return x * 2 ** -18;
      case 8:
        return u % 5 === 0 ? (u % 2 === 0 ? -0 : 0) : Math.abs(x);
      default:
        return Math.fround(Math.round(x * 16) / 8);
    }
  });
}

test("planes of every scheme equal those of its own rule on wide ranges, zero blocks, tails and odd sizes", () => {
  for (const s of everyScheme) {
    for (const shape of [[30, 256], [20, 37], [11, 96], [7], [1, 1]]) {
      const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape;
      const values = tensor(rows, columns);
      sameTensor(s.name, caster.quantize(values, shape, s), quantize(values, shape, s));
    }
  }
});

test("kernels over addresses give the same planes and values where groups are whole", () => {
  const { kernels } = caster;
  const [rows, columns] = [30, 512];
  const values = tensor(rows, columns);
  const room = (bytes: number) => kernels.heap.allocate(bytes, "test");
  const bytesAt = (address: number, count: number) => new Uint8Array(kernels.memory.buffer, address, count);
  const [from, to] = [room(values.byteLength), room(values.byteLength)];
  for (const s of everyScheme.filter(
    ({ scale }) => !scale || (scale.per !== "row" && scale.per % 16 === 0 && 512 % scale.per === 0),
  )) {
    if (caster.plan(s).decode.path === "reference") continue;
    const wanted = quantize(values, [rows, columns], s);
    const planes = Object.entries(wanted.planes) as [keyof PackedTensor["planes"], Uint8Array][];
    const at = Object.fromEntries(planes.map(([plane, bytes]) => [plane, room(bytes.length)]));
    bytesAt(from, values.byteLength).set(new Uint8Array(values.buffer));
    // Tiles are quantized from arrays, where their amax can stand beside each group.
    if (caster.plan(s).encode.path === "reference" || s.scale?.rows !== undefined) {
      assert.equal(quantizeInMemory(kernels, s, from, rows, columns, at), false, s.name);
      for (const [plane, bytes] of planes) bytesAt(at[plane], bytes.length).set(bytes);
    } else assert.equal(quantizeInMemory(kernels, s, from, rows, columns, at), true, s.name);
    for (const [plane, bytes] of planes) {
      assert.ok(Buffer.compare(bytesAt(at[plane], bytes.length), bytes) === 0, `${s.name}: ${plane}`);
    }
    assert.equal(dequantizeInMemory(kernels, s, at, rows, columns, to), true);
    const expected = new Uint8Array(dequantize(wanted).buffer);
    assert.ok(Buffer.compare(bytesAt(to, expected.length), expected) === 0, `${s.name}: values`);
    for (const address of Object.values(at)) kernels.heap.free(address);
  }
});

test("rows longer than a piece of memory give the same planes and values", () => {
  for (const name of ["mxfp4", "nvfp4", "q4_1", "int4-g64-asym", "int8-row", "int4-g24", "q8_0"]) {
    for (const columns of [98_304, 40_000, 32 * 1031]) {
      const values = tensor(1, columns);
      const wanted = quantize(values, [columns], scheme(name));
      sameTensor(name, caster.quantize(values, [columns], scheme(name)), wanted);
      assert.deepEqual(caster.dequantize(wanted), dequantize(wanted), name);
    }
  }
});

test("dequantized values of every scheme equal those of the reference, bit for bit", () => {
  for (const s of everyScheme) {
    for (const shape of [[30, 256], [20, 37], [7]]) {
      const [rows, columns] = shape.length === 1 ? [1, shape[0]] : shape;
      const packed = quantize(tensor(rows, columns), shape, s);
      const got = new Uint32Array(caster.dequantize(packed).buffer);
      const wanted = new Uint32Array(dequantize(packed).buffer);
      const at = got.findIndex((bits, i) => bits !== wanted[i]);
      assert.equal(
        at,
        -1,
        `${s.name}: value ${at} of ${shape} is ${f32OfBits(got[at])}, wanted ${f32OfBits(wanted[at])}`,
      );
    }
  }
});

test("what quantizing refuses, the kernels refuse with the same words", () => {
  const huge = Float32Array.from({ length: 64 }, (_, i) => i * 1e37);
  const bad = Float32Array.from({ length: 64 }, (_, i) => (i === 41 ? Number.NaN : i));
  const searching = ["mxfp4@mse", "nvfp4-4over6", "bitmod3-g32", "mxfp4+", "int4-g32@onnx", "int4-g32-asym@onnx"];
  for (const name of ["q4_0", "q4_1", "q8_0", "int4-g32", "int4-g32-asym", "f16", "mxfp4", "nvfp4", ...searching]) {
    const s = scheme(name);
    assert.throws(() => caster.quantize(bad, [1, 64], s), /index 41/);
    const outcome = (run: () => PackedTensor) => {
      try {
        return Object.values(run().planes).map((plane) => [...plane]);
      } catch (error) {
        return String(error);
      }
    };
    assert.deepEqual(
      outcome(() => caster.quantize(huge, [1, 64], s)),
      outcome(() => quantize(huge, [1, 64], s)),
    );
  }
});

test("every path is said as data, and the common formats and schemes have kernels", () => {
  for (const name of ["e4m3fn", "e5m2", "e2m1", "bf16", "f16", "int8", "e4m3fnuz", "e3m2", "nf4"]) {
    const { encode: there, decode: back } = caster.plan(formats.get(name));
    assert.deepEqual([there.path, back.path], ["generated", "generated"], name);
  }
  for (const name of ["mxfp4", "mxfp8", "nvfp4", "q4_0", "q4_1", "q8_0", "int4-g32", "int4-g64-asym", "bf16"]) {
    assert.equal(caster.plan(scheme(name)).encode.path, "generated", name);
  }
  for (const name of [...tiled, ...tabled.filter((name) => !name.includes("mx")), "mxfp8-2d", "nvfp4-2d"]) {
    assert.notEqual(caster.plan(scheme(name)).encode.path, "reference", name);
  }
  for (const name of ["mxfp4@mse", "mxfp8@mae", "nvfp4-mse", "nvfp4-4over6", "int4-g32@onnx", "int8-g64-asym@onnx"]) {
    assert.equal(caster.plan(scheme(name)).encode.path, "generated", name);
  }
  for (const name of ["mxfp4+", "mxfp8+", "bitmod3-g32", "bitmod4-er-g24"]) {
    const { encode: there, decode: back } = caster.plan(scheme(name));
    assert.deepEqual([there.path, back.path], ["generated", "generated"], name);
  }
  const searched = caster.plan(scheme("q4_k"));
  assert.deepEqual([searched.encode.path, searched.decode.path], ["reference", "generated"]);
  assert.ok(searched.encode.path === "reference" && searched.encode.why.length > 0);
});

const sameBytes = (a: ArrayBufferView, b: ArrayBufferView) =>
  Buffer.compare(
    new Uint8Array(a.buffer, a.byteOffset, a.byteLength),
    new Uint8Array(b.buffer, b.byteOffset, b.byteLength),
  ) === 0;

test("large arrays have the same codes, planes and values on 2 and on 3 threads as on one", async () => {
  const count = 300_007;
  const values = tensor(1, count);
  const bad = values.slice();
  bad[count - 3] = Number.NaN;
  for (const threads of [2, 3]) {
    const many = await createThreadedCaster(threads);
    try {
      assert.equal(many.threads, threads);
      for (const name of ["e4m3fn", "e5m2", "e2m1", "e4m3fnuz", "bf16", "f16", "int8", "nf4", "posit8", "int12"]) {
        const f = formats.get(name);
        const codes = many.encode(f, values);
        assert.ok(sameBytes(codes, caster.encode(f, values)), name);
        assert.ok(sameBytes(many.decode(f, codes), caster.decode(f, codes)), `${name} decoded`);
      }
      const inside = many.allocateValues(count);
      inside.set(values);
      const codes = many.encode(formats.get("e4m3fn"), inside, many.allocateCodes(formats.get("e4m3fn"), count));
      assert.ok(sameBytes(codes, caster.encode(formats.get("e4m3fn"), values)), "arrays in shared memory");
      many.decode(formats.get("e4m3fn"), codes, inside);
      assert.ok(sameBytes(inside, caster.decode(formats.get("e4m3fn"), codes)), "decoded in shared memory");
      assert.throws(() => many.encode(formats.get("e2m1"), bad), NumericError);
      assert.equal(
        many.encode(formats.get("e5m2"), bad)[count - 3],
        caster.encode(formats.get("e5m2"), bad)[count - 3],
      );
      for (const name of [
        "mxfp4",
        "mxfp8",
        "mxfp6-e2m3",
        "nvfp4",
        "q4_0",
        "q8_0",
        "int3-g32",
        "int4-g64-asym",
        "bf16",
        "int8-row",
      ]) {
        for (const shape of [[192, 1536], [count]]) {
          const part = values.subarray(0, elementCount(shape));
          inside.set(part);
          const packed = many.quantize(inside.subarray(0, part.length), shape, scheme(name));
          sameTensor(name, packed, caster.quantize(part, shape, scheme(name)));
          const decoded = many.dequantize(packed, inside.subarray(0, part.length));
          assert.ok(sameBytes(decoded, caster.dequantize(packed)), `${name} dequantized`);
        }
      }
      assert.ok(many.free(inside) && !many.free(values));
    } finally {
      await many.dispose();
    }
  }
});
