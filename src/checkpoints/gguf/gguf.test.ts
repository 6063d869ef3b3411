import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FileError, InputError, UnsupportedError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { dequantize, type PackedTensor, quantize } from "../../tensor/index.js";
import type { CheckpointContent, Metadata, TensorPlan } from "../checkpoint.js";
import { bufferSource, memorySink } from "../source.js";
import { openGguf } from "./open.js";
import { TENSOR_TYPES } from "./types.js";
import { gguf } from "./values.js";
import { writeGguf } from "./write.js";

const here = new URL("../../../../src/checkpoints/golden/containers.json", import.meta.url);
const golden = JSON.parse(readFileSync(here, "utf8"));
const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
const floats = (base64: string) => new Float32Array(bytes(base64).buffer);
const file = bytes(golden.gguf.file);
const open = (data: Uint8Array) => openGguf(bufferSource("test.gguf", data));

/** A file of these tensors, given as packed. */
async function written(tensors: Record<string, PackedTensor>, metadata: Metadata = {}): Promise<Uint8Array> {
  const sink = memorySink("test.gguf");
  const plans = Object.entries(tensors).map(([name, { shape, scheme }]) => ({ name, shape, scheme }));
  await writeGguf(sink, { metadata, tensors: plans, produce: async ({ name }) => tensors[name] });
  return sink.bytes();
}
const ramp = (scheme: string, shape: number[]) => {
  const count = shape.reduce((product, n) => product * n, 1);
  return quantize(
    Float32Array.from({ length: count }, (_, i) => Math.sin(i)),
    shape,
    schemes.get(scheme),
  );
};

test("the values of every tensor type equal those of Python gguf, bit for bit", async () => {
  const checkpoint = await open(file);
  for (const [type, wanted] of Object.entries<string>(golden.gguf.values)) {
    const entry = checkpoint.tensors.find((tensor) => tensor.name === `${type}.weight`);
    assert.deepEqual([entry?.type, entry?.shape], [type, [2, 256]]);
    const got = dequantize(await checkpoint.read(`${type}.weight`));
    assert.deepEqual(new Uint32Array(got.buffer), new Uint32Array(floats(wanted).buffer), type);
  }
});

test("types that Python gguf only decodes have its values here, bit for bit but for the sign of zero", async () => {
  for (const [name, { data, values }] of Object.entries<{ data: string; values: string }>(golden.ggufReadOnly)) {
    const type = TENSOR_TYPES.find((known) => known.name === name);
    assert.ok(type?.scheme, name);
    const raw = patched(await written({ w: ramp("f32", [2, 256]) }), type.id, bytes(data));
    const got = dequantize(await (await open(raw)).read("w"));
    const wanted = floats(values);
    for (let i = 0; i < wanted.length; i++) assert.ok(got[i] === wanted[i], `${name} at ${i}: ${got[i]}, ${wanted[i]}`);
  }
});

/** The file with its last tensor, [2, 256] of f32, declared as another type and its data replaced. */
function patched(raw: Uint8Array, id: number, data: Uint8Array, tensor = "w"): Uint8Array {
  const copy = raw.slice();
  const name = Buffer.from(copy).indexOf(Buffer.from([tensor.length, 0, 0, 0, 0, 0, 0, 0, ...Buffer.from(tensor)]));
  new DataView(copy.buffer).setUint32(name + 8 + tensor.length + 4 + 16, id, true);
  copy.set(data, raw.length - 2048);
  return copy;
}

test("the scale of an NVFP4 tensor belongs to it, from a tensor of its own that is not listed", async () => {
  const scale = { ...ramp("f32", [1]), planes: { codes: new Uint8Array(new Float32Array([0.25]).buffer) } };
  // The f32 weight comes last, where `patched` puts the NVFP4 blocks.
  const raw = await written({ "b.scale": scale, "c.scale": scale, "b.weight": ramp("f32", [2, 256]) });
  const blocks = bytes(golden.ggufReadOnly.NVFP4.data);
  const checkpoint = await open(patched(raw, 40, blocks, "b.weight"));
  assert.deepEqual(
    checkpoint.tensors.map((tensor) => tensor.name),
    ["c.scale", "b.weight"],
  );
  const got = dequantize(await checkpoint.read("b.weight"));
  const wanted = floats(golden.ggufReadOnly.NVFP4.values).map((value) => value * 0.25);
  assert.ok(wanted.every((value, i) => value === got[i]));
});

test("all value types are read, nested arrays and 64 bits included", async () => {
  const { metadata, typedMetadata } = await open(file);
  assert.equal(metadata["k.u64"], 2n ** 64n - 1n);
  assert.equal(metadata["k.i64"], -(2n ** 63n));
  assert.equal(metadata["k.u64.small"], 5);
  assert.equal(metadata["k.f32"], Math.fround(0.1));
  assert.equal(metadata["k.f64"], 0.1);
  assert.equal(metadata["k.string"], "Grüße, 世界 🙂\n\u0000.");
  assert.deepEqual(metadata["k.strings"], ["", "a b", "▁the"]);
  assert.deepEqual(metadata["k.bools"], [true, false]);
  assert.deepEqual(metadata["k.nested"], [[1, 2], [3]]);
  assert.deepEqual(typedMetadata?.["k.u8"], { type: "u8", value: 200 });
  assert.deepEqual(typedMetadata?.["k.bytes"], { type: "array", of: "u8", value: [1, 2, 255] });
});

test("the same input and metadata give the file that Python gguf writes, byte for byte", async () => {
  const original = await open(file);
  const source = floats(golden.gguf.source);
  const inputs: Record<string, Float32Array> = { three: floats(golden.gguf.three), norm: floats(golden.gguf.norm) };
  const plans = original.tensors.map(({ name, shape, scheme }) => ({ name, shape, scheme }) as TensorPlan);
  const content: CheckpointContent = {
    metadata: original.typedMetadata ?? {},
    tensors: plans,
    produce: async ({ name, scheme, shape }) => quantize(inputs[name.split(".")[0]] ?? source, shape, scheme),
  };
  const sink = memorySink("test.gguf");
  const { bytes: size, tensors } = await writeGguf(sink, content);
  assert.equal(size, file.length);
  assert.deepEqual(
    tensors.map((tensor) => tensor.bytes),
    original.tensors.map((tensor) => tensor.bytes),
  );
  assert.ok(Buffer.from(sink.bytes()).equals(Buffer.from(file)));
});

test("plain values get the types that their keys are known for, and otherwise the documented ones", async () => {
  const metadata = {
    "llama.rope.freq_base": 10000,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.block_count": 2,
    "tokenizer.ggml.scores": [0, -1],
    "tokenizer.ggml.token_type": [1, 3],
    "tokenizer.ggml.merges": [],
    "general.name": "x",
    "general.flag": true,
    "x.negative": -1,
    "x.large": 2 ** 40,
    "x.half": 0.5,
    "x.big": 7n,
    "x.own": gguf.u8(7),
  };
  const { typedMetadata } = await open(await written({ w: ramp("q8_0", [1, 32]) }, metadata));
  const types = Object.entries(typedMetadata ?? {}).map(([key, value]) => {
    const { type, of } = value as { type: string; of?: string };
    return [key, of ? `${of}[]` : type];
  });
  assert.deepEqual(Object.fromEntries(types), {
    "llama.rope.freq_base": "f32",
    "llama.attention.layer_norm_rms_epsilon": "f32",
    "llama.block_count": "u32",
    "tokenizer.ggml.scores": "f32[]",
    "tokenizer.ggml.token_type": "i32[]",
    "tokenizer.ggml.merges": "string[]",
    "general.name": "string",
    "general.flag": "bool",
    "x.negative": "i32",
    "x.large": "u64",
    "x.half": "f32",
    "x.big": "u64",
    "x.own": "u8",
    "general.file_type": "u32",
    "general.quantization_version": "u32",
  });
});

test("file_type follows the type that most elements have, and is kept where it says that already", async () => {
  const fileType = async (scheme: string, metadata: Metadata) => {
    const raw = await written({ w: ramp(scheme, [8, 64]), norm: ramp("f32", [64]) }, metadata);
    return (await open(raw)).metadata["general.file_type"];
  };
  assert.equal(await fileType("q5_1", {}), 9);
  assert.equal(await fileType("q8_0", { "general.file_type": 2 }), 7);
  assert.equal(await fileType("q4_1", { "general.file_type": 4 }), 4);
});

test("values that do not fit their type, and names ggml cannot hold, are refused before writing", async () => {
  const w = ramp("f32", [2, 2]);
  const refused = (metadata: Record<string, unknown>) =>
    assert.rejects(written({ w }, metadata as Metadata), InputError, JSON.stringify(Object.keys(metadata)));
  await refused({ "x.null": null });
  await refused({ "x.empty": [] });
  await refused({ "x.mixed": [1, "a"] });
  await refused({ "x.object": { a: 1 } });
  await refused({ "x.u8": { type: "u8", value: 256 } });
  await refused({ "x.f32": { type: "f32", value: 1e300 } });
  await refused({ "x.lone": "\ud800" });
  await refused({ "general.alignment": 24 });
  await refused({ "": 1 });
  await assert.rejects(written({ ["n".repeat(64)]: w }), InputError);
  await assert.rejects(written({ w: ramp("q4_0", [2, 33]) }), UnsupportedError);
  await assert.rejects(written({ w: ramp("int4-g32", [2, 32]) }), /int4-g32 in GGUF/);
});

test("a tensor that is not what was planned is refused", async () => {
  const plan = { name: "w", shape: [2, 32], scheme: schemes.get("q4_0") };
  const write = (tensor: PackedTensor) =>
    writeGguf(memorySink("x"), { metadata: {}, tensors: [plan], produce: async () => tensor });
  await assert.rejects(write(ramp("q4_1", [2, 32])), InputError);
  await assert.rejects(write(ramp("q4_0", [1, 64])), InputError);
  await assert.rejects(
    write({ ...ramp("q4_0", [2, 32]), planes: { codes: new Uint8Array(32) } }),
    /not what was planned/,
  );
});

test("big-endian files, version 1 and unknown tensor types are named as unsupported", async () => {
  const edited = (change: (view: DataView) => void) => {
    const copy = file.slice();
    change(new DataView(copy.buffer));
    return copy;
  };
  await assert.rejects(open(edited((view) => view.setUint32(4, 3, false))), /big-endian/);
  await assert.rejects(open(edited((view) => view.setUint32(4, 1, true))), UnsupportedError);
  await assert.rejects(
    open(patched(await written({ w: ramp("f32", [2, 256]) }), 99, new Uint8Array(0))),
    /unknown type/,
  );
  const listed = await open(patched(await written({ w: ramp("f32", [2, 256]) }), 19, new Uint8Array(0)));
  assert.deepEqual([listed.tensors[0].type, listed.tensors[0].scheme], ["IQ1_S", undefined]);
  await assert.rejects(listed.read("w"), UnsupportedError);
  await assert.rejects(listed.read("x"), InputError);
});

test("an announced count, length or offset beyond the file is refused by its place, not loaded", async () => {
  const raw = await written({ w: ramp("f32", [2, 2]) }, { "general.name": "name" });
  const cases: [string, number, bigint][] = [
    ["tensor count", 8, 2n ** 60n],
    ["metadata count", 16, 2n ** 63n],
    ["length", 24, 2n ** 62n],
  ];
  for (const [what, at, value] of cases) {
    const copy = raw.slice();
    new DataView(copy.buffer).setBigUint64(at, value, true);
    await assert.rejects(open(copy), (error: FileError) => {
      assert.ok(error instanceof FileError, what);
      assert.match(error.details.where ?? "", /test\.gguf, byte offset \d+/);
      return true;
    });
  }
  await assert.rejects(open(raw.slice(0, raw.length - 32)), /outside the file/);
  await assert.rejects(open(new Uint8Array(0)), FileError);
});
