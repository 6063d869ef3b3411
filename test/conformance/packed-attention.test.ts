/**
 * Attention over positions that are held in a scheme is, bit for bit, attention over what `unpack` makes of them: for every
 * registered scheme that rows can be held in, by token and by channel, for whole chunks, windows and groups of heads.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { InputError } from "../../src/errors.js";
import { schemes } from "../../src/formats/index.js";
import type { Backend, Buffer, PackedAttentionShape, Past } from "../../src/kernels/backend.js";
import { createBackend } from "../../src/kernels/index.js";
import type { WasmBackend } from "../../src/kernels/wasm/backend.js";
import { planPacked } from "../../src/kernels/wasm/packed-rows.js";
import { assertSame, numbers } from "./numbers.js";

const reference = await createBackend("reference");
const others: Backend[] = [];
for (const threads of [1, 2]) others.push(await createBackend("wasm", { threads }));
after(() => Promise.all(others.map((backend) => backend.dispose())));

interface Case extends PackedAttentionShape {
  readonly keys: string;
  readonly values: string;
  readonly axes: readonly [Past["axis"], Past["axis"]];
}

/** The output of attention over packed positions, and over the same positions unpacked to f32. */
function outcomes(backend: Backend, one: Case): readonly [Float32Array, Float32Array] {
  const { batch, position, heads, kvHeads, headSize, packed, chunk, axes } = one;
  const width = kvHeads * headSize;
  const all = position + batch;
  const buffers: Buffer[] = [];
  const upload = (values: Float32Array) => {
    buffers.push(backend.upload(values));
    return buffers[buffers.length - 1];
  };
  const q = upload(numbers(batch * heads * headSize, 1));
  const [out, plain] = [upload(numbers(q.length, 2)), upload(numbers(q.length, 3))];
  const sides = [one.keys, one.values].map((name, index) => {
    const whole = upload(numbers(all * width, 10 + index));
    const recent = upload(whole.data().slice(packed * width));
    const scheme = schemes.get(name);
    const axis = axes[index];
    const held = whole.view(0, packed * width);
    if (axis === "token") {
      const store = backend.createRows(scheme, packed + chunk, width);
      backend.pack(store, 0, held, packed);
      backend.unpack(held, store, 0, packed);
      return { whole, past: { store, axis, recent } };
    }
    const turned = upload(new Float32Array(packed * width));
    const store = backend.createRows(scheme, (packed / chunk + 1) * width, chunk);
    backend.transpose(turned, held, packed / chunk, chunk, width);
    backend.pack(store, 0, turned, (packed / chunk) * width);
    backend.unpack(turned, store, 0, (packed / chunk) * width);
    backend.transpose(held, turned, packed / chunk, width, chunk);
    return { whole, past: { store, axis, recent } };
  });
  const [keys, values] = sides;
  backend.batch(() => backend.attentionOverPacked(out, q, keys.past, values.past, one));
  backend.attention(plain, q, keys.whole, values.whole, one);
  const results = [out.data().slice(), plain.data().slice()] as const;
  for (const { past } of sides) backend.freeRows(past.store);
  for (const buffer of buffers.reverse()) backend.free(buffer);
  return results;
}

function check(one: Case, backends: readonly Backend[]): void {
  const { keys, values, axes, batch, position, packed, chunk, heads, kvHeads, headSize } = one;
  const what = `${keys} by ${axes[0]}, ${values} by ${axes[1]}, ${batch} rows at ${position}, ${packed} packed by ${chunk}, ${heads}/${kvHeads} heads of ${headSize}`;
  for (const backend of backends) {
    const [got, wanted] = outcomes(backend, one);
    assertSame(got, wanted, `${backend.info.name}, ${backend.info.threads} thread(s): ${what}`);
    if (backend === backends[0]) continue;
    assertSame(got, outcomes(backends[0], one)[0], `${backend.info.name} and ${backends[0].info.name}: ${what}`);
  }
}

const AXES = ["token", "channel"] as const;
const shape = { batch: 2, position: 69, heads: 4, kvHeads: 2, headSize: 32, packed: 64, chunk: 32 };

/** Kinds of element and scale: integers of 2, 3, 4 and 8 bits, float8 of both kinds, float4, f16, codebooks. */
const KINDS = [
  ...["int2-g32-asym", "int3-g32-asym", "int4-g32", "int4-g32-asym", "int4-g16-asym", "int8-g32", "int6-g32", "q4_1"],
  ...["mxfp4", "nvfp4", "mxfp8", "mxfp6", "e4m3fn", "e5m2", "e4m3fn-g32", "f16", "bf16", "nf4-g32", "int8-row"],
];

for (const axis of AXES) {
  test(`keys and values of every kind by ${axis}: attention is that over the unpacked numbers, bit for bit`, () => {
    for (const name of KINDS) check({ ...shape, keys: name, values: name, axes: [axis, axis] }, [...others, reference]);
  });
}

test("every registered scheme can be held, read inside of the kernel or unpacked first", () => {
  for (const { name } of schemes.entries) {
    const columns = schemes.get(name).scale?.per;
    const chunk = typeof columns === "number" && columns > 32 ? columns : 32;
    const keys = { ...shape, chunk, packed: chunk, position: chunk + 5, keys: name, values: name };
    check({ ...keys, axes: ["channel", "token"] }, others.slice(0, 1));
  }
});

test("lengths, windows, rows, groups of heads and head sizes: bit for bit, on one thread and two", () => {
  const mixed = { keys: "int4-g16-asym", values: "int8-g16", axes: ["channel", "token"] } as const;
  for (const [heads, kvHeads, headSize] of [
    [1, 1, 16],
    [3, 1, 64],
    [4, 4, 16],
    [9, 3, 64],
    [10, 2, 48],
    [16, 2, 32],
  ]) {
    for (const [packed, position, batch] of [
      [0, 0, 3],
      [16, 15, 1],
      [16, 16, 1],
      [48, 70, 1],
      [48, 63, 21],
    ]) {
      check({ ...mixed, heads, kvHeads, headSize, packed, position, batch, chunk: 16 }, others);
    }
  }
});

test("the kinds that a cache is made of are read inside of the kernel, others say why not", () => {
  const plan = (name: string, axis: Past["axis"], headSize = 64) => {
    const store = reference.createRows(schemes.get(name), 64, axis === "token" ? 3 * headSize : 32);
    return planPacked({ store, axis }, headSize);
  };
  const inside = [
    "int8-g32",
    "int4-g32-asym",
    "int2-g32-asym",
    "e4m3fn",
    "e5m2",
    "f16",
    "mxfp4",
    "nvfp4",
    "e4m3fn-g32",
  ];
  for (const name of inside)
    for (const axis of AXES) assert.equal(plan(name, axis).kind, "packed", `${name} by ${axis}`);
  const odd = plan("int8-g32", "token", 40);
  assert.ok(odd.kind === "unpacked" && /whole runs of 16/.test(odd.why));
  const wide = plan("q4_k", "token");
  assert.ok(wide.kind === "unpacked" && wide.why !== "");
});

test("no f32 copy of packed positions is ever made: attention to 2048 of them takes room for a chunk and its scores", async () => {
  const backend = (await createBackend("wasm")) as unknown as WasmBackend;
  const { used } = backend.engine.heap;
  const long = { batch: 1, position: 2050, heads: 6, kvHeads: 3, headSize: 64, packed: 2048, chunk: 32 };
  for (const name of ["int8-g32", "int4-g32-asym", "e4m3fn"]) {
    for (const axes of [["channel", "token"] as const, ["token", "channel"] as const]) {
      const buffers = [backend.allocate(384), backend.allocate(384), backend.allocate(3 * 192)] as const;
      const [q, out, recent] = buffers;
      const [keys, values] = axes.map((axis) => {
        const [rows, columns] = axis === "token" ? [2048, 192] : [64 * 192, 32];
        return { store: backend.createRows(schemes.get(name), rows, columns), axis, recent };
      });
      backend.attentionOverPacked(out, q, keys, values, long);
      for (const { store } of [values, keys]) backend.freeRows(store);
      for (const buffer of buffers) backend.free(buffer);
    }
  }
  // In f32 one side alone would be 1.5 MB. A chunk and the same turned are 16 KB, scores of a team of heads 32 KB.
  assert.ok(backend.engine.heap.used - used < 64 * 1024, `${backend.engine.heap.used - used} bytes are held`);
  await backend.dispose();
});

test("positions that do not fit are refused by every backend", () => {
  for (const backend of [...others, reference]) {
    const width = shape.kvHeads * shape.headSize;
    const q = backend.allocate(shape.batch * shape.heads * shape.headSize);
    const store = backend.createRows(schemes.get("int8-g32"), 64, width);
    const past = (length: number): Past => ({ store, axis: "token", recent: backend.allocate(length) });
    const run = (keys: Past, other: Partial<PackedAttentionShape> = {}) =>
      backend.attentionOverPacked(q, q, keys, past(7 * width), { ...shape, ...other });
    const refused = (work: () => void, why: RegExp) =>
      assert.throws(work, (error) => error instanceof InputError && why.test(error.details.why ?? ""));
    refused(() => run(past(6 * width)), /recent keys/);
    refused(() => run(past(7 * width), { packed: 70 }), /70 packed positions are no whole chunks/);
    refused(() => run(past(7 * width), { position: 40 }), /64 packed positions/);
    refused(() => run({ ...past(7 * width), axis: "channel" }), /by channel/);
  }
});
