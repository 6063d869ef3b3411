import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type BitloomError, FileError, InputError, NumericError, UnsupportedError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { dequantize, type PackedTensor, quantize } from "../../tensor/index.js";
import type { Metadata, WriteOptions } from "../checkpoint.js";
import { blobSource, bufferSource } from "../source.js";
import { openSafetensorsFile, openSafetensorsFolder } from "./open.js";
import { safetensorsContainer } from "./safetensors.js";

const here = new URL("../../../../src/checkpoints/golden/containers.json", import.meta.url);
const golden = JSON.parse(readFileSync(here, "utf8")).safetensors;
const bytes = (base64: string) => new Uint8Array(Buffer.from(base64, "base64"));
const folder = mkdtempSync(join(tmpdir(), "bitloom-safetensors-"));
after(() => rmSync(folder, { recursive: true }));

const ramp = (scheme: string, shape: number[]) => {
  const count = shape.reduce((product, n) => product * n, 1);
  return quantize(
    Float32Array.from({ length: count }, (_, i) => Math.sin(i)),
    shape,
    schemes.get(scheme),
  );
};
function write(path: string, tensors: Record<string, PackedTensor>, metadata: Metadata = {}, options?: WriteOptions) {
  const plans = Object.entries(tensors).map(([name, { shape, scheme }]) => ({ name, shape, scheme }));
  return safetensorsContainer.write(
    path,
    { metadata, tensors: plans, produce: async ({ name }) => tensors[name] },
    options,
  );
}
/** A file with this header text and this many bytes of data. */
function fileOf(header: string | Uint8Array, dataBytes: number): Uint8Array {
  const text = typeof header === "string" ? new TextEncoder().encode(header) : header;
  const file = new Uint8Array(8 + text.length + dataBytes);
  new DataView(file.buffer).setBigUint64(0, BigInt(text.length), true);
  file.set(text, 8);
  return file;
}
const open = (file: Uint8Array) => openSafetensorsFile(bufferSource("t.safetensors", file));
/** Files in memory as a folder. */
const inMemory = (files: Record<string, Uint8Array | string>) =>
  openSafetensorsFolder({
    name: "m",
    names: Object.keys(files),
    open: async (name) => {
      const content = files[name];
      return bufferSource(`m/${name}`, typeof content === "string" ? new TextEncoder().encode(content) : content);
    },
  });

test("every dtype that Python safetensors writes is listed, and the weights among them are read exactly", async () => {
  const checkpoint = await open(bytes(golden.file));
  assert.equal(checkpoint.metadata.note, 'a "quoted" ü');
  for (const { name, type, shape } of checkpoint.tensors) {
    if (name.startsWith("t.")) assert.deepEqual([name, shape], [`t.${type}`, [4, 24]]);
  }
  for (const [type, values] of Object.entries<string>(golden.values)) {
    const got = dequantize(await checkpoint.read(`t.${type}`));
    assert.deepEqual(new Uint8Array(got.buffer), bytes(values), type);
  }
  assert.deepEqual([...dequantize(await checkpoint.read("scalar"))], [1.5]);
  assert.deepEqual(dequantize(await checkpoint.read("empty")).length, 0);
  await assert.rejects(checkpoint.read("t.I64"), UnsupportedError);
  await assert.rejects(checkpoint.read("t.C64"), UnsupportedError);
  await assert.rejects(checkpoint.read("nothing"), InputError);
});

test("a Blob reads as a file does", async () => {
  const checkpoint = await openSafetensorsFile(blobSource("blob", new Blob([bytes(golden.file)])));
  assert.deepEqual(new Uint8Array(dequantize(await checkpoint.read("t.BF16")).buffer), bytes(golden.values.BF16));
});

test("f64 beyond the range of f32 is an error, not an infinity", async () => {
  const file = fileOf('{"w":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', 8);
  new DataView(file.buffer).setFloat64(file.length - 8, 1e300, true);
  await assert.rejects((await open(file)).read("w"), NumericError);
});

test("a folder of several shards with an index reads as one model", async () => {
  const path = join(folder, "shards");
  const tensors = Object.fromEntries(["a", "b", "c", "d"].map((name) => [name, ramp("bf16", [8, 32])]));
  tensors.q = ramp("q4_0", [8, 32]);
  await write(path, tensors, { model_type: "llama" }, { maxFileBytes: 1100 });
  const names = readdirSync(path).sort();
  assert.deepEqual(names.slice(0, 2), ["config.json", "model-00001-of-00003.safetensors"]);
  const checkpoint = await safetensorsContainer.open(path);
  assert.equal(checkpoint.metadata.model_type, "llama");
  for (const { name } of checkpoint.tensors)
    assert.deepEqual((await checkpoint.read(name)).planes, tensors[name].planes);
  assert.equal(checkpoint.tensors.length, 5);
  await checkpoint.close();
});

test("config.json describes quantized tensors only, and an older description is replaced", async () => {
  const path = join(folder, "config");
  const config = () => JSON.parse(readFileSync(join(path, "config.json"), "utf8"));
  await write(path, { w: ramp("q4_0", [2, 32]), n: ramp("f32", [2]) }, { quantization_config: { quant_method: "x" } });
  assert.deepEqual(config().quantization_config, {
    quant_method: "bitloom",
    version: 1,
    schemes: { q4_0: { element: "int4-offset8", scale: { format: "f16", per: 32 } } },
    tensors: { w: { scheme: "q4_0", shape: [2, 32] } },
  });
  await write(path, { w: ramp("bf16", [2, 32]) }, config());
  assert.deepEqual(config(), {});
});

test("a folder that Bitloom wrote is replaced as a whole; one that holds anything else is not touched", async () => {
  const path = join(folder, "replace");
  const side = { name: "tokenizer.json", bytes: new Uint8Array([1, 2]) };
  await write(path, { w: ramp("f32", [2, 32]) }, {}, { sideFiles: [side], maxFileBytes: 1 });
  await write(path, { w: ramp("q4_0", [2, 32]), v: ramp("f16", [3]) }, {}, { sideFiles: [side] });
  assert.deepEqual(readdirSync(path).sort(), ["config.json", "model.safetensors", "tokenizer.json"]);
  writeFileSync(join(path, "notes.txt"), "mine");
  const before = readFileSync(join(path, "model.safetensors"));
  await assert.rejects(write(path, { w: ramp("f32", [2, 32]) }, {}, { sideFiles: [side] }), /not replaced/);
  assert.deepEqual(readFileSync(join(path, "model.safetensors")), before);
  const foreign = join(folder, "foreign");
  mkdirSync(foreign);
  writeFileSync(join(foreign, "model.safetensors"), bytes(golden.file));
  await assert.rejects(write(foreign, { w: ramp("f32", [2, 32]) }), FileError);
});

test("an error while a tensor is produced leaves nothing behind", async () => {
  const path = join(folder, "failed");
  const tensors = [{ name: "w", shape: [2], scheme: schemes.get("f32") }];
  const produce = async () => {
    throw new NumericError("no");
  };
  await assert.rejects(safetensorsContainer.write(path, { metadata: {}, tensors, produce }), /no/);
  assert.equal(existsSync(path), false);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.startsWith(".")),
    [],
  );
});

test("names that collide, side files with paths and metadata beyond JSON are refused", async () => {
  const path = join(folder, "refused");
  const w = ramp("q4_0", [2, 32]);
  await assert.rejects(write(path, { w, "w.codes": ramp("f32", [2]) }), InputError);
  await assert.rejects(write(path, { __metadata__: ramp("f32", [2]) }), InputError);
  await assert.rejects(write(path, { w }, { big: 1n }), InputError);
  for (const name of ["../x", "config.json", ".hidden", ""]) {
    await assert.rejects(write(path, { w }, {}, { sideFiles: [{ name, bytes: new Uint8Array(1) }] }), InputError);
  }
  assert.equal(existsSync(path), false);
});

test("a damaged header is one error with file, tensor and byte offset", async () => {
  const tensor = (text: string) => `{"w":{${text}}}`;
  const good = '"dtype":"F32","shape":[2],"data_offsets":[0,8]';
  await open(fileOf(tensor(good), 8));
  const cases: [why: RegExp, file: Uint8Array][] = [
    [/too short/, new Uint8Array(7)],
    [/header length/, fileOf(tensor(good), 0).slice(0, -1)],
    [/header length/, fileOf("", 8)],
    [/outside the file/, fileOf(tensor(good), 7)],
    [/belong to no tensor/, fileOf(tensor(good), 9)],
    [/disagree/, fileOf(tensor('"dtype":"F32","shape":[3],"data_offsets":[0,8]'), 8)],
    [/disagree/, fileOf(tensor('"dtype":"F6_E2M3","shape":[3],"data_offsets":[0,2]'), 2)],
    [/gap/, fileOf(tensor('"dtype":"F32","shape":[1],"data_offsets":[4,8]'), 8)],
    [/outside/, fileOf(tensor('"dtype":"F32","shape":[1],"data_offsets":[8,4]'), 8)],
    [/overlap/, fileOf(`{"a":{${good}},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}`, 12)],
    [/damaged/, fileOf(`{"w":{${good}},"w":{${good}}}`, 8)],
    [/damaged/, fileOf(tensor('"dtype":"F33","shape":[2],"data_offsets":[0,8]'), 8)],
    [/damaged/, fileOf(tensor('"dtype":"F32","shape":[-2],"data_offsets":[0,8]'), 8)],
    [/damaged/, fileOf(tensor('"dtype":"F32","shape":[2e0],"data_offsets":[0,8]'), 8)],
    [/damaged/, fileOf(tensor('"dtype":"F32","shape":[0,9007199254740991],"data_offsets":[0,0]'), 0)],
    [/damaged/, fileOf(tensor('"dtype":"F32","shape":[2]'), 8)],
    [/damaged/, fileOf(tensor(`${good},"x":1`), 8)],
    [/damaged/, fileOf(`${tensor(good)}x`, 8)],
    [/damaged/, fileOf(`{"__metadata__":{"a":1},${tensor(good).slice(1)}`, 8)],
    [/damaged/, fileOf(new Uint8Array([0x7b, 0x22, 0xff, 0x22]), 8)],
    [/damaged/, fileOf("[".repeat(100_000), 8)],
    [/damaged/, fileOf(`{"${"a".repeat(1000)}`, 0)],
  ];
  for (const [why, file] of cases) {
    await assert.rejects(open(file), (error: BitloomError) => {
      assert.ok(error instanceof FileError);
      assert.match(error.message, why);
      assert.match(error.details.where ?? "", /^t\.safetensors, (tensor ".*", )?byte offset \d+$/);
      return true;
    });
  }
});

test("a folder whose parts do not fit each other is one error", async () => {
  const shard = fileOf('{"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}', 8);
  const index = (map: unknown) => ({ "model.safetensors.index.json": JSON.stringify({ weight_map: map }) });
  assert.equal((await inMemory({ ...index({ w: "s.safetensors" }), "s.safetensors": shard })).tensors.length, 1);
  const quantized = (tensors: unknown, definitions: unknown = { q4_0: {} }) => ({
    "model.safetensors": shard,
    "config.json": JSON.stringify({
      quantization_config: { quant_method: "bitloom", version: 1, schemes: definitions, tensors },
    }),
  });
  const bad: Record<string, Uint8Array | string>[] = [
    {},
    index({ w: "s.safetensors" }),
    { ...index({ v: "s.safetensors" }), "s.safetensors": shard },
    { ...index({ w: "../s.safetensors" }), "../s.safetensors": shard },
    { ...index({ w: "/etc/s.safetensors" }), "s.safetensors": shard },
    { ...index({ w: 1 }), "s.safetensors": shard },
    { ...index({}), "s.safetensors": shard },
    { ...index([]), "s.safetensors": shard },
    { ...index({ w: "s.safetensors", v: "t.safetensors" }), "s.safetensors": shard, "t.safetensors": shard },
    { "a.safetensors": shard, "b.safetensors": shard },
    { "model.safetensors": shard, "config.json": "{" },
    { "model.safetensors": shard, "config.json": "[]" },
    { "model.safetensors": shard, "config.json": new Uint8Array([0x7b, 0x22, 0xff, 0x22, 0x7d]) },
    { "model.safetensors": shard, "config.json": `{"a":${"[".repeat(1000)}${"]".repeat(1000)}}` },
    quantized({ v: { scheme: "q4_0", shape: [1, 32] } }),
    quantized({ w: { scheme: "q4_0", shape: [1, 32] } }),
    quantized({ v: { scheme: "q9_9", shape: [1, 32] } }),
    quantized({ v: { scheme: "q4_0", shape: [-1] } }),
    quantized({ v: null }),
    quantized([]),
  ];
  for (const files of bad) {
    await assert.rejects(inMemory(files), (error: BitloomError) => {
      assert.ok(error instanceof FileError || error instanceof UnsupportedError, `${error.stack}`);
      assert.ok(error.details.where);
      return true;
    });
  }
});
