/** Activation steps and compensations through the whole way: recipe, output, and a model that runs by them. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { UnsupportedError } from "../errors.js";
import { createBackend } from "../kernels/index.js";
import { CACHE_KEY, openModel, readLinears } from "../models/index.js";
import { planQuantization, type QuantizeOptions, quantizeModel, type Recipe } from "./index.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-activations-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));
const calibrationText = async () => readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 4096);
const quantizeTo = (name: string, options: Partial<QuantizeOptions>) =>
  quantizeModel({ input: demo, output: at(name), calibrationText, ...options });

const everything: Recipe = {
  recipe: 1,
  calibration: { windows: 1, window: 32, sequential: "stages" },
  steps: [
    { quantize: "rtn", scheme: "int8-row" },
    {
      activations: "llm-int8",
      scheme: "int8-row",
      tensors: "\\.(query|key|value)$",
      options: { threshold: 1, often: 0 },
    },
    { activations: "llm-fp4", scheme: "e4m3fn-row", tensors: "\\.output$", options: { steps: 4 } },
    { activations: "static", scheme: "int8-row", tensors: "\\.(gate|up)$", options: { steps: 4 } },
    { activations: "dynamic", scheme: "mxfp8" },
    { compensate: "lorc", tensors: "\\.1\\.up$", options: { rank: 3, iterations: 2 } },
  ],
};

async function logitsOf(path: string, backendName: string): Promise<Float32Array> {
  const backend = await createBackend(backendName);
  try {
    const model = await openModel(path, { backend });
    const session = model.session({ context: 8 });
    const logits = session.forward([5, 80], "all").slice();
    session.dispose();
    model.dispose();
    return logits;
  } finally {
    await backend.dispose();
  }
}

test("a recipe of all activation methods and a compensation gives the same files twice, and a model that both backends run alike", async () => {
  const result = await quantizeTo("all", { recipe: everything });
  await quantizeTo("again", { recipe: everything });
  for (const file of ["model.safetensors", "config.json"]) {
    assert.deepEqual(readFileSync(join(at("all"), file)), readFileSync(join(at("again"), file)), file);
  }
  const checkpoint = await openCheckpoint(at("all"));
  const records = readLinears(checkpoint.metadata, "all");
  await checkpoint.close();
  assert.deepEqual(records["layers.0.query"].input, [{ kind: "round", scheme: "int8-row", beyond: 1 }]);
  assert.ok((records["layers.0.query"].apart ?? []).length > 0);
  assert.deepEqual(records["layers.0.query"].apart, records["layers.0.value"].apart, "maps of one input agree");
  assert.deepEqual(
    records["layers.1.output"].input?.map(({ kind }) => kind),
    ["scale", "static"],
  );
  assert.deepEqual([records["layers.1.up"].rank, records["layers.1.up"].input?.[0].kind], [3, "static"]);
  assert.deepEqual(records.embedding.input, [{ kind: "round", scheme: "mxfp8" }]);
  const names = result.tensors.map(({ name }) => name);
  const weight = "model.layers.1.mlp.up_proj.weight";
  for (const suffix of ["", ".lowrank_a", ".lowrank_b"]) assert.ok(names.includes(weight + suffix), suffix);
  const [fast, slow] = [await logitsOf(at("all"), "wasm"), await logitsOf(at("all"), "reference")];
  assert.deepEqual(fast, slow);
  const exact = await logitsOf(demo, "wasm");
  const [error, power] = fast.reduce(([e, p], y, i) => [e + (y - exact[i]) ** 2, p + exact[i] ** 2], [0, 0]);
  assert.ok(error > 0 && error < 0.01 * power, `the logits are off by ${(100 * error) / power} %`);
});

test("rounding that every token decides for itself needs no text, and GGUF holds it: other engines only round less", async () => {
  const { tensors } = await quantizeTo("plain.gguf", {
    scheme: "q8_0",
    activations: "int8-row",
    calibrationText: undefined,
  });
  const checkpoint = await openCheckpoint(at("plain.gguf"));
  const records = readLinears(checkpoint.metadata, "plain");
  await checkpoint.close();
  assert.equal(Object.keys(records).length, tensors.filter(({ shape }) => shape.length === 2).length);
  const [rounded, twice] = [await logitsOf(at("plain.gguf"), "wasm"), await logitsOf(at("plain.gguf"), "reference")];
  assert.deepEqual(rounded, twice);
});

test("a recipe of activations alone, or of a cache alone, keeps every weight's bytes and says what else is done", async () => {
  const bytesOf = async (path: string) => {
    const checkpoint = await openCheckpoint(path);
    const { metadata, tensors } = checkpoint;
    const linears = Object.keys(readLinears(metadata, path));
    const matrices = tensors
      .filter(({ shape }) => shape.length === 2)
      .map(({ name }) => name)
      .sort();
    const contents = await Promise.all(matrices.map(async (name) => (await checkpoint.read(name)).planes.codes));
    await checkpoint.close();
    return { metadata, linears, contents };
  };
  const calibration = { windows: 1, window: 32 };
  const made = async (name: string, step: Recipe["steps"][number]) => {
    await quantizeTo(name, { recipe: { recipe: 1, calibration, steps: [step] } });
    return bytesOf(at(name));
  };
  const original = await bytesOf(demo);
  const dynamic = await made("dynamic.gguf", { activations: "dynamic", scheme: "int8-row" });
  const fixed = await made("static", { activations: "static", scheme: "int8-row", options: { steps: 4 } });
  const cache = await made("cache", { cache: "int8-row" });
  for (const { contents } of [fixed, cache]) assert.deepEqual(contents, original.contents);
  assert.deepEqual(fixed.linears.sort(), dynamic.linears.sort(), "the head among them, calibrated or not");
  assert.equal(dynamic.linears.length, original.contents.length);
  assert.deepEqual([cache.linears, typeof cache.metadata[CACHE_KEY]], [[], "string"]);
  const exact = await logitsOf(demo, "wasm");
  for (const name of ["dynamic.gguf", "static"]) {
    const error = (await logitsOf(at(name), "wasm")).reduce((sum, y, i) => sum + (y - exact[i]) ** 2, 0);
    const power = exact.reduce((sum, y) => sum + y * y, 0);
    assert.ok(error > 0 && error < 0.01 * power, `${name}: the logits are off by ${(100 * error) / power} %`);
  }
  await quantizeTo("short.gguf", { activations: "int8-row" });
  assert.deepEqual(
    (await bytesOf(at("short.gguf"))).linears.sort(),
    dynamic.linears,
    "the short form without a scheme",
  );
  await assert.rejects(quantizeTo("nothing", { recipe: { recipe: 1, steps: [] } }), /changes nothing/);
  await assert.rejects(quantizeTo("nothing", { activations: "int8-row", method: "gptq" }), /neither a scheme/);
});

test("what another engine would compute wrongly is refused for GGUF before work starts, and paired weights are not quantized again", async () => {
  const refused = (options: Partial<QuantizeOptions>, input = demo) =>
    assert.rejects(planQuantization({ input, output: at("no.gguf"), calibrationText, ...options }), UnsupportedError);
  await refused({ scheme: "q4_0", compensation: "lorc" });
  await refused({ scheme: "q8_0", activations: "llm-int8:int8-row" });
  await refused({ scheme: "q8_0", activations: "llm-fp4:e4m3fn-row" });
  await refused({ scheme: "q4_0" }, at("all"));
});

test("LLM-FP4 writes the scheme that it found for each matrix", async () => {
  const options = {
    scheme: "e2m1-g64",
    method: "llm-fp4",
    methodOptions: { steps: 2 },
    calibration: { windows: 1, window: 32 },
  };
  const { tensors } = await quantizeTo("fp4", options);
  const found = new Set(tensors.filter(({ shape }) => shape.length === 2).map(({ scheme }) => scheme));
  assert.ok(
    [...found].every((name) => /^e[123]m[012]-g64$/.test(name)),
    [...found].join(),
  );
  assert.ok((await logitsOf(at("fp4"), "wasm")).every(Number.isFinite));
});
