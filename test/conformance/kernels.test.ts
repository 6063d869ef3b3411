/**
 * What holds for every backend: it computes what the reference backend computes, for every scheme and shape, bit for
 * bit. Signed zeros count as equal: a weight of -0 may be held as 0, which no sum of products can tell.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { InputError } from "../../src/errors.js";
import { schemes } from "../../src/formats/index.js";
import type { Scheme } from "../../src/formats/scheme.js";
import type { Activations, Backend, Buffer } from "../../src/kernels/backend.js";
import { backends, createBackend } from "../../src/kernels/index.js";
import { integerValues, roundedValues, roundsByBlocks } from "../../src/kernels/int8.js";
import { dequantize } from "../../src/tensor/dequantize.js";
import { quantize } from "../../src/tensor/quantize.js";
import { assertSame, numbers } from "./numbers.js";

const families = [
  "int2-g32",
  "int3-g32",
  "int4-g32",
  "int4-g64-asym",
  "int8-g32",
  "int8-g128-asym",
  "int5-g32",
  "int6-g64",
  "int4-4x32",
  "bitmod3-g32",
  "nf4-g64",
  "binary-g128",
  "binary-row",
  "binary-g512",
  "ternary-g64",
  "int2-g128",
];
const all: readonly Scheme[] = [
  ...schemes.entries,
  ...families.map((name) => schemes.find(name)).filter((scheme) => scheme !== undefined),
];
const reference = await createBackend("reference");
const others: Backend[] = [];
for (const { name } of backends.entries) {
  if (name === "reference") continue;
  for (const threads of [1, 2, 3]) others.push(await createBackend(name, { threads }));
}
// Few weights may be held in another way than many (layout.ts); one backend has many.
others[1].loadMatrix(quantize(new Float32Array(2 ** 22), [2 ** 11, 2 ** 11], schemes.get("f32")));
after(() => Promise.all(others.map((backend) => backend.dispose())));

const titled = (backend: Backend) => `${backend.info.name} with ${backend.info.threads} thread(s)`;

type Operation = (backend: Backend, buffers: Buffer[]) => void;

/** The content of the first buffer, its output, after an operation on buffers of the given content. */
function outcome(backend: Backend, inputs: readonly Float32Array[], op: Operation): Float32Array {
  const buffers = inputs.map((values) => backend.upload(values));
  op(backend, buffers);
  const out = buffers[0].data().slice();
  for (const buffer of buffers) backend.free(buffer);
  return out;
}

/** Every backend's outcome is the reference's. */
function agree(inputs: readonly Float32Array[], what: string, op: Operation): void {
  const wanted = outcome(reference, inputs, op);
  for (const backend of others) assertSame(outcome(backend, inputs, op), wanted, `${titled(backend)}, ${what}`);
}

const shapes = [
  [1, 1],
  [3, 5],
  [4, 32],
  [7, 33],
  [33, 100],
  [21, 515],
] as const;
const batches = [0, 1, 3, 7];

function matmulAgrees(scheme: Scheme, activations: Activations): void {
  // Large enough that threads share the work; small formats of one kind need not all go through it.
  const large = ["f32", "q8_0", "q4_0", "mxfp8"].includes(scheme.name) ? [[260, 320] as const] : [];
  for (const [rows, columns] of [...shapes, ...large]) {
    const packed = quantize(numbers(rows * columns, rows + columns), [rows, columns], scheme);
    const weights = new Map([reference, ...others].map((b) => [b, b.loadMatrix(packed, activations)]));
    for (const batch of rows > 100 ? [1, 6] : batches) {
      const x = numbers(batch * columns, batch + 1);
      const bias = numbers(rows, 99);
      const what = `${scheme.name} [${rows}, ${columns}], ${activations} batch ${batch}`;
      agree([new Float32Array(batch * rows), x, bias], what, (b, [out, input, offset]) =>
        b.matmul(out, input, weights.get(b)!, batch, batch % 2 ? offset : undefined),
      );
    }
    const ids = [rows - 1, 0, rows >> 1];
    agree([new Float32Array(3 * columns)], `${scheme.name} embed [${rows}, ${columns}]`, (b, [out]) =>
      b.embed(out, ids, weights.get(b)!),
    );
    for (const [b, weight] of weights) b.freeMatrix(weight);
  }
}

test("every backend multiplies f32 with every scheme and embeds from it exactly as the reference does", () => {
  for (const scheme of all) matmulAgrees(scheme, "f32");
  assert.ok(all.length >= 13);
});

test("every backend multiplies int8 activations with integer weights, and with rounded codebooks, exactly as the reference does", () => {
  const integral = all.filter(({ element }) => integerValues(element));
  for (const scheme of integral) matmulAgrees(scheme, "int8");
  assert.ok(integral.length >= 8);
  const codebooks = all.filter(({ element }) => !integerValues(element) && roundedValues(element));
  const byBlocks = ["mxfp8", "e4m3fn-row", "mxfp6-e3m2", "posit8-row"].map((name) => schemes.get(name));
  assert.ok(byBlocks.every(roundsByBlocks));
  for (const scheme of [...codebooks, ...byBlocks]) matmulAgrees(scheme, "int8-rounded");
  assert.ok(codebooks.some(({ name }) => name.startsWith("nf4")));
  const other = quantize(numbers(64, 1), [2, 32], schemes.get("mxfp8"));
  for (const backend of [reference, ...others]) assert.throws(() => backend.loadMatrix(other, "int8"), /mxfp8/);
});

test("the fast level stays within K 2^-23 of the sum of magnitudes, because each of K roundings errs by 2^-24 at most", async () => {
  const fast = await createBackend("wasm", { exactness: "fast" });
  const [rows, columns, batch] = [24, 320, 5];
  const x = numbers(batch * columns, 4);
  for (const scheme of all) {
    const packed = quantize(numbers(rows * columns, 3), [rows, columns], scheme);
    const w = dequantize(packed);
    for (const count of [1, batch]) {
      const out = outcome(fast, [new Float32Array(count * rows), x], (b, [o, a]) =>
        b.matmul(o, a, b.loadMatrix(packed), count),
      );
      for (let i = 0; i < count * rows; i++) {
        const terms = Array.from(
          { length: columns },
          (_, k) => x[Math.floor(i / rows) * columns + k] * w[(i % rows) * columns + k],
        );
        const sum = terms.reduce((a, b) => a + b, 0);
        const magnitude = terms.reduce((a, b) => a + Math.abs(b), 0);
        assert.ok(Math.abs(out[i] - sum) <= columns * 2 ** -23 * magnitude, `${scheme.name}: ${out[i]} for ${sum}`);
      }
    }
  }
  await fast.dispose();
});

test("every backend multiplies rows of any batch alike: splitting a batch changes no bit", () => {
  for (const name of ["q4_0", "q8_0", "f16", "f32", "mxfp4"]) {
    const [rows, columns, batch] = [40, 320, 9];
    const packed = quantize(numbers(rows * columns, 5), [rows, columns], schemes.get(name));
    for (const backend of others) {
      const weight = backend.loadMatrix(packed, name === "mxfp4" ? "int8" : "f32");
      const x = backend.upload(numbers(batch * columns, 6));
      const [whole, parts] = [backend.allocate(batch * rows), backend.allocate(batch * rows)];
      backend.matmul(whole, x, weight, batch);
      for (const [start, size] of [
        [0, 1],
        [1, 2],
        [3, 6],
      ]) {
        const [out, input] = [parts.view(start * rows, size * rows), x.view(start * columns, size * columns)];
        backend.matmul(out, input, weight, size);
      }
      assertSame(parts.data(), whole.data(), `${titled(backend)}, ${name}`);
    }
  }
});

test("every backend gives a row the same bits in batches of every size, those of several passes included", () => {
  const [rows, columns, most] = [9, 2112, 260];
  const x = numbers(most * columns, 8);
  for (const [name, activations] of [
    ["q4_0", "int8"],
    ["q4_0", "f32"],
  ] as const) {
    const packed = quantize(numbers(rows * columns, 7), [rows, columns], schemes.get(name));
    for (const backend of others) {
      const weight = backend.loadMatrix(packed, activations);
      const input = backend.upload(x);
      const single = backend.allocate(most * rows);
      for (let m = 0; m < most; m++) {
        backend.matmul(single.view(m * rows, rows), input.view(m * columns, columns), weight, 1);
      }
      for (const batch of [...Array.from({ length: 20 }, (_, i) => i + 1), 252, 253, most]) {
        const out = backend.allocate(batch * rows);
        backend.matmul(out, input, weight, batch);
        const what = `${titled(backend)}, ${name} ${activations}, batch ${batch}`;
        assertSame(out.data(), single.data().subarray(0, batch * rows), what);
        backend.free(out);
      }
      for (const buffer of [input, single]) backend.free(buffer);
      backend.freeMatrix(weight);
    }
  }
});

test("every backend computes norms, softmax, silu, gelu and sums exactly as the reference does, for odd lengths too", () => {
  for (const size of [1, 2, 3, 4, 5, 31, 64, 577]) {
    for (const batch of [0, 1, 3]) {
      const what = (op: string) => `${op} of ${batch} x ${size}`;
      const x = numbers(batch * size, size);
      const y = numbers(batch * size, size + 1).map((v) => v * 20);
      const out = new Float32Array(batch * size + 3).fill(7);
      agree([out, x, numbers(size, 3)], what("rmsNorm"), (b, [o, a, gain]) => b.rmsNorm(o, a, gain, batch, 1e-5));
      agree([out, y], what("softmax"), (b, [o, a]) => b.softmax(o, a, batch, size));
      agree([out, y, x], what("siluMultiply"), (b, [o, a, c]) => b.siluMultiply(o, a, c, batch * size));
      agree([out, x, numbers(size, 3), numbers(size, 4)], what("layerNorm"), (b, [o, a, gain, bias]) =>
        b.layerNorm(o, a, gain, bias, batch, 1e-12),
      );
      for (const form of ["erf", "tanh"] as const) {
        agree([out, y], what(`gelu (${form})`), (b, [o, a]) => b.gelu(o, a, batch * size, form));
      }
      agree([out, y, x], what("add"), (b, [o, a, c]) => b.add(o, a, c, batch * size));
      agree([x, x], what("add in place"), (b, [o, a]) => b.add(o, o, a, batch * size));
    }
  }
});

test("every backend's softmax, silu and gelu hold at infinities, NaN and large numbers as the reference's do", () => {
  const wild = Float32Array.of(-Infinity, 3e38, -3e38, 0, -0, 88, -88, 1e-40, 5, 100, -100);
  const broken = Float32Array.of(1, Number.NaN, 2, 3, 4);
  for (const x of [wild, broken]) {
    agree([x, x], "softmax", (b, [o, a]) => b.softmax(o, a, 1, x.length));
    for (const form of ["erf", "tanh"] as const) {
      agree([x, x], `gelu (${form})`, (b, [o, a]) => b.gelu(o, a, x.length, form));
    }
    agree([x, x, x], "silu", (b, [o, a, c]) => b.siluMultiply(o, a, c, x.length));
  }
});

test("every backend rounds activations that are zero, tiny, infinite or NaN to int8 as the reference does", () => {
  const packed = quantize(numbers(5 * 64, 1), [5, 64], schemes.get("q8_0"));
  const weights = new Map([reference, ...others].map((b) => [b, b.loadMatrix(packed, "int8")]));
  for (const odd of [0, 1e-40, 1e-30, 3e38, Infinity, Number.NaN]) {
    const x = numbers(64, 2).map((v, i) => (i === 7 ? odd : i < 32 ? v * Math.min(1, Math.abs(odd)) : v));
    agree([new Float32Array(5), x], `an activation of ${odd}`, (b, [out, a]) => b.matmul(out, a, weights.get(b)!, 1));
  }
});

test("every backend rotates blocks by Hadamard matrices exactly as the reference does, whatever the factors", () => {
  for (const [block, blocks] of [
    [4, 3],
    [12, 2],
    [28, 1],
    [32, 3],
    [40, 2],
    [96, 1],
    [576, 2],
  ]) {
    for (const batch of [0, 1, 5]) {
      const columns = block * blocks;
      const signs = numbers(columns, 9).map((v) => (v < 0 ? -1 : 1));
      const x = numbers(batch * columns, block);
      const what = `${batch} x ${blocks} blocks of ${block}`;
      agree([new Float32Array(batch * columns + 2).fill(7), x, signs], what, (b, [o, a, s]) =>
        b.hadamard(o, a, s, block, batch),
      );
      agree([x, signs], `${what}, in place`, (b, [o, s]) => b.hadamard(o, o, s, block, batch));
    }
  }
  const [x, signs] = [reference.allocate(13), reference.allocate(13)];
  assert.throws(() => reference.hadamard(x, x, signs, 13, 1), /no Hadamard matrix of order 13/);
  assert.throws(() => reference.hadamard(x, x, signs, 4, 1), InputError);
});

test("every backend rotates exactly as the reference does, for odd half sizes too", () => {
  for (const headSize of [2, 6, 8, 10, 64]) {
    const [batch, heads, position] = [3, 2, 5];
    const tables = [numbers((batch + position) * headSize, 1), numbers((batch + position) * headSize, 2)];
    agree([numbers(batch * heads * headSize, 3), ...tables], `rope of ${headSize}`, (b, [x, cos, sin]) =>
      b.rope(x, batch, heads, headSize, cos, sin, position),
    );
  }
});

test("every backend multiplies an input with several matrices exactly as with each, of one scheme and shape or not", () => {
  const groups: readonly (readonly (readonly [string, number])[])[] = [
    [
      ["q4_0", 24],
      ["q4_0", 8],
      ["q4_0", 12],
    ],
    [
      ["mxfp4", 4],
      ["mxfp4", 20],
    ],
    [
      ["q8_0", 12],
      ["q4_0", 12],
    ],
    [
      ["q4_1", 7],
      ["q4_1", 8],
    ],
    [
      ["binary-g128", 16],
      ["binary-g128", 16],
    ],
    [4, 8, 4, 12].map((rows) => ["q4_0", rows] as const),
    [["q4_0", 8]],
  ];
  const columns = 128;
  for (const activations of ["f32", "int8"] as const) {
    for (const group of groups) {
      const packed = group.map(([name, rows], i) =>
        quantize(numbers(rows * columns, i), [rows, columns], schemes.get(name)),
      );
      const biases = group.map(([, rows], i) => numbers(rows, 20 + i));
      for (const batch of [0, 1, 2, 5]) {
        const x = numbers(batch * columns, 9);
        const results = [reference, ...others].map((backend) => {
          const products = group.map(([, rows], i) => ({
            ...{ out: backend.allocate(batch * rows), weight: backend.loadMatrix(packed[i], activations) },
            ...(i !== 1 && { bias: backend.upload(biases[i]) }),
          }));
          const input = backend.upload(x);
          backend.matmulGroup(input, products, batch);
          const made = products.map(({ out }) => out.data().slice());
          for (const { out, weight, bias } of products) {
            backend.free(out);
            backend.freeMatrix(weight);
            if (bias) backend.free(bias);
          }
          backend.free(input);
          return made;
        });
        for (const [i, found] of results.entries()) {
          const what = `${JSON.stringify(group)}, ${activations}, batch ${batch}, backend ${i}`;
          for (const [part, values] of found.entries()) assertSame(values, results[0][part], what);
        }
      }
    }
  }
});

test("every backend turns and stores new positions exactly as the reference does, from any row of the cache on", () => {
  for (const headSize of [2, 6, 8, 64]) {
    const [batch, heads, kvHeads, position, room] = [3, 4, 2, 5, 9];
    const [wide, narrow, half] = [heads * headSize, kvHeads * headSize, headSize / 2];
    const tables = [numbers((batch + position) * half, 1), numbers((batch + position) * half, 2)];
    const [q, k, v] = [numbers(batch * wide, 3), numbers(batch * narrow, 4), numbers(batch * narrow, 5)];
    const [keys, values] = [numbers(room * narrow, 6), numbers(room * narrow, 7)];
    for (const row of [0, 4]) {
      const inputs = [q, k, v, keys, values, ...tables];
      for (const output of [0, 3, 4]) {
        agree(
          [inputs[output], ...inputs],
          `buffer ${output} of heads of ${headSize} at row ${row}`,
          (b, [first, ...all]) => {
            const own = all.map((buffer, i) => (i === output ? first : buffer));
            const angles = { cos: own[5], sin: own[6], position };
            const shape = { batch, heads, kvHeads, headSize };
            b.ropeAndStore(own[0], own[1], own[2], { keys: own[3], values: own[4], row }, angles, shape);
          },
        );
      }
    }
  }
});

test("every backend attends exactly as the reference does, grouped queries and odd head sizes included", () => {
  const cases = [
    [1, 0, 1, 1, 4],
    [1, 6, 4, 2, 8],
    [5, 0, 6, 2, 16],
    [3, 9, 3, 3, 6],
    [2, 17, 9, 3, 64],
    [0, 3, 2, 1, 4],
    [4, 3, 4, 1, 33],
    [40, 30, 9, 3, 64],
    [1, 530, 6, 2, 8],
    [5, 260, 2, 1, 20],
  ];
  for (const [batch, position, heads, kvHeads, headSize] of cases) {
    const q = numbers(batch * heads * headSize, 1).map((v) => v * 3);
    const cache = (position + batch) * kvHeads * headSize;
    const shape = { batch, position, heads, kvHeads, headSize };
    for (const causal of [true, false]) {
      const what = JSON.stringify({ ...shape, causal });
      agree([q.slice(), q, numbers(cache, 2), numbers(cache, 3)], what, (b, [o, a, k, v]) =>
        b.attention(o, a, k, v, { ...shape, causal }),
      );
    }
  }
});

test("every backend packs rows into every scheme and reads them back exactly as the reference does, from any row on", () => {
  for (const scheme of all) {
    for (const columns of [scheme.name.includes("-4x32") ? 32 : 64, 256]) {
      const x = numbers(5 * columns, columns);
      const results = [reference, ...others.slice(0, 2)].map((backend) => {
        const [from, out] = [backend.upload(x), backend.allocate(4 * columns)];
        const store = backend.createRows(scheme, 6, columns);
        backend.pack(store, 1, from, 5);
        backend.pack(store, 3, from, 1);
        backend.unpack(out, store, 2, 4);
        const found = out.data().slice();
        const { bytes } = store;
        backend.freeRows(store);
        backend.free(from);
        backend.free(out);
        return { found, bytes };
      });
      for (const { found, bytes } of results.slice(1)) {
        assert.equal(bytes, results[0].bytes);
        assertSame(found, results[0].found, `${scheme.name}, ${columns} columns`);
      }
    }
  }
});

test("every backend transposes and copies exactly as the reference does", () => {
  for (const [count, rows, columns] of [
    [1, 1, 1],
    [3, 5, 7],
    [2, 32, 192],
  ]) {
    const x = numbers(count * rows * columns, rows);
    const results = [reference, ...others].map((backend) => {
      const [from, turned, same] = [backend.upload(x), backend.allocate(x.length), backend.allocate(x.length + 1)];
      backend.transpose(turned, from, count, rows, columns);
      backend.copy(same, from, x.length);
      const found = [turned.data().slice(), same.data().slice()];
      for (const buffer of [same, turned, from]) backend.free(buffer);
      return found;
    });
    assert.equal(results[0][0][1 % x.length], x[rows === 1 ? 1 % x.length : columns % x.length]);
    for (const [turned, same] of results.slice(1)) {
      assertSame(turned, results[0][0], `transpose ${count} x ${rows} x ${columns}`);
      assertSame(same, results[0][1], "copy");
    }
  }
});

test("every backend sums moments of columns exactly as the reference does, over rows that come bit by bit", () => {
  for (const [columns, ...batches] of [
    [1, 1],
    [3, 2, 5],
    [16, 1, 300],
    [70, 513, 4],
    [96, 256],
  ]) {
    const inputs = batches.map((rows) => numbers(rows * columns, rows));
    const results = [reference, ...others].map((backend) => {
      const sums = backend.sumMoments(columns, true);
      for (const [i, x] of inputs.entries()) {
        const buffer = backend.upload(x);
        sums.add(buffer, batches[i]);
        sums.read();
        backend.free(buffer);
      }
      const found = sums.read();
      sums.dispose();
      return found;
    });
    for (const found of results.slice(1)) assert.deepEqual(found, results[0], `${columns} columns, rows ${batches}`);
    const { products = [], square } = results[0];
    for (let j = 0; j < columns; j++) {
      const apart = Math.abs(products[j * columns + j] - square[j]);
      assert.ok(apart <= 1e-5 * square[j], "the sum in f32 over 512 rows is that in binary64 within 512 roundings");
    }
  }
  assert.equal(reference.sumMoments(2, false).read().products, undefined);
  for (const backend of [reference, ...others]) {
    const sums = backend.sumMoments(2, false);
    assert.equal(sums.read().smallest[1], Number.POSITIVE_INFINITY);
    assert.equal(sums.read().largest[0], Number.NEGATIVE_INFINITY);
    const short = backend.allocate(3);
    assert.throws(() => sums.add(short, 2), InputError);
    backend.free(short);
    sums.dispose();
  }
});

for (const backend of [reference, ...others]) {
  test(`${titled(backend)} refuses shapes that do not fit, and says which operation, scheme and shapes`, () => {
    const weight = backend.loadMatrix(quantize(numbers(64, 1), [2, 32], schemes.get("q8_0")));
    const [short, long] = [backend.allocate(3), backend.allocate(64)];
    const named = (error: unknown) =>
      error instanceof InputError &&
      /q8_0 weight \[2, 32\]/.test(error.message) &&
      /wanted/.test(error.details.why ?? "");
    assert.throws(() => backend.matmul(long, short, weight, 1), named);
    assert.throws(() => backend.matmul(short, long, weight, 2), named);
    assert.throws(() => backend.embed(long, [2], weight), InputError);
    assert.throws(() => backend.rmsNorm(short, long, long, 1, 1e-5), InputError);
    assert.throws(() => backend.layerNorm(long, long, long, short, 1, 1e-5), InputError);
    assert.throws(() => backend.gelu(short, long, 64), InputError);
    assert.throws(() => long.view(60, 5), InputError);
    assert.throws(() => backend.allocate(-1), InputError);
    const shape = { batch: 1, position: 0, heads: 3, kvHeads: 2, headSize: 4 };
    assert.throws(() => backend.attention(long, long, long, long, shape), InputError);
    backend.freeMatrix(weight);
  });
}
