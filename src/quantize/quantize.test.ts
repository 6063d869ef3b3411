import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { InputError, NumericError, UnsupportedError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { createBackend } from "../kernels/index.js";
import { openModel } from "../models/index.js";
import { methods, parseOverride, quantizeModel } from "./index.js";
import { BLOCK_WEIGHTS, openRunner, quantizeWeight } from "./row-blocks.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-quantize-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

/** The last logits of a fixed prompt. */
async function logitsOf(path: string): Promise<Float32Array> {
  const backend = await createBackend("wasm");
  try {
    const model = await openModel(path, { backend });
    return model.session().prefill(model.tokenizer.encode("Call me Ishmael. Some years ago")).slice();
  } finally {
    await backend.dispose();
  }
}

test("a GGUF file and a folder of the same scheme are the same model, bit for bit", async () => {
  for (const scheme of ["q4_0", "mxfp4"]) {
    await quantizeModel({ input: demo, output: at(`${scheme}.gguf`), scheme });
    await quantizeModel({ input: demo, output: at(scheme), scheme });
    assert.deepEqual(await logitsOf(at(`${scheme}.gguf`)), await logitsOf(at(scheme)), scheme);
  }
});

test("f32 in GGUF, and back in a folder, give the logits of the original, bit for bit", async () => {
  const original = await logitsOf(demo);
  await quantizeModel({ input: demo, output: at("f32.gguf"), scheme: "f32" });
  await quantizeModel({ input: at("f32.gguf"), output: at("back"), scheme: "bf16" });
  assert.deepEqual(await logitsOf(at("f32.gguf")), original);
  assert.deepEqual(await logitsOf(at("back")), original, "the original is bf16, so bf16 loses nothing");
});

test("a recipe's cache is kept in the file and used when it is run, in GGUF and in a folder", async () => {
  const recipe = {
    recipe: 1 as const,
    steps: [{ cache: "keys=int4-g32-asym:channel,values=int8-g32:token,window=0" }],
  };
  const backend = await createBackend("wasm");
  try {
    const bytes: number[] = [];
    for (const name of ["cached.gguf", "cached"]) {
      await quantizeModel({ input: demo, output: at(name), recipe });
      const model = await openModel(at(name), { backend });
      bytes.push(model.session({ batch: 1 }).cacheBytes);
    }
    const plain = (await openModel(demo, { backend })).session().cacheBytes;
    assert.equal(bytes[0], bytes[1]);
    assert.ok(bytes[0] < 0.6 * plain, `${bytes[0]} bytes packed, ${plain} in f32`);
  } finally {
    await backend.dispose();
  }
});

test("the result counts what is in the file, and errors are those of the scheme", async () => {
  const result = await quantizeModel({ input: demo, output: at("count.gguf"), scheme: "q8_0" });
  const file = await openCheckpoint(at("count.gguf"));
  const data = file.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0);
  await file.close();
  assert.equal(
    result.tensors.reduce((sum, tensor) => sum + tensor.bytes, 0),
    data,
  );
  assert.ok(result.bitsPerWeight > 8.5 && result.bitsPerWeight < 8.6, "8.5 bits a matrix element, norms in f32");
  for (const { name, scheme, relativeMse } of result.tensors) {
    // Uniform rounding error of step amax / 127 against a variance of at least amax^2 / 32 (one element of 32 is amax).
    const bound = scheme === "q8_0" ? 32 / 12 / 127 ** 2 : 0;
    assert.ok(relativeMse <= bound && (relativeMse > 0 || scheme === "f32"), `${name}: ${relativeMse}`);
  }
});

test("an override decides for the tensors that it matches, by name or by role", async () => {
  const overrides = [parseOverride("embedding=q8_0"), parseOverride("blk\\.0\\..*=f16")];
  const { tensors } = await quantizeModel({ input: demo, output: at("mixed.gguf"), scheme: "q4_0", overrides });
  const schemeOf = (name: string) => tensors.find((tensor) => tensor.name === name)?.scheme;
  assert.equal(schemeOf("token_embd.weight"), "q8_0");
  assert.equal(schemeOf("blk.0.ffn_up.weight"), "f16");
  assert.equal(schemeOf("blk.1.ffn_up.weight"), "q4_0");
  assert.throws(() => parseOverride("no scheme"), InputError);
  assert.throws(() => parseOverride("(=q8_0"), InputError);
});

test("a scheme that the container cannot hold is refused before anything is written", async () => {
  await assert.rejects(quantizeModel({ input: demo, output: at("no.gguf"), scheme: "int4-g32" }), UnsupportedError);
  await assert.rejects(quantizeModel({ input: demo, output: at("no.gguf"), scheme: "int4-g3z2" }), InputError);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("no.gguf")),
    [],
  );
});

test("a run that is stopped leaves nothing behind", async () => {
  const controller = new AbortController();
  const onProgress = ({ doneTensors }: { doneTensors: number }) => doneTensors === 7 && controller.abort();
  const run = quantizeModel({
    input: demo,
    output: at("x.gguf"),
    scheme: "q4_0",
    onProgress,
    signal: controller.signal,
  });
  await assert.rejects(run, { name: "AbortError" });
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("x.gguf")),
    [],
  );
});

test("two runs write the same bytes", async () => {
  for (const name of ["one.gguf", "two.gguf"]) await quantizeModel({ input: demo, output: at(name), scheme: "q5_1" });
  assert.deepEqual(readFileSync(at("one.gguf")), readFileSync(at("two.gguf")));
});

test("any number of threads gives the same bytes and the same report", async () => {
  const made = [];
  for (const threads of [1, 2, 3]) {
    const { tensors } = await quantizeModel({
      input: demo,
      output: at(`threads-${threads}.gguf`),
      scheme: "q4_1",
      method: "hqq",
      methodOptions: { iterations: 2 },
      threads,
    });
    const reports = tensors.map(({ seconds: _, ...report }) => report);
    made.push({ bytes: readFileSync(at(`threads-${threads}.gguf`)), reports });
  }
  for (const one of made.slice(1)) assert.deepEqual(one, made[0]);
});

test("a run of threads that is stopped leaves nothing behind", async () => {
  const controller = new AbortController();
  const onProgress = ({ doneTensors }: { doneTensors: number }) => doneTensors === 7 && controller.abort();
  const options = { input: demo, output: at("y.gguf"), scheme: "q4_0", threads: 2, onProgress };
  await assert.rejects(quantizeModel({ ...options, signal: controller.signal }), { name: "AbortError" });
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("y.gguf")),
    [],
  );
});

test("an error in a thread is the error of the whole tensor, with its class and index", async () => {
  const rows = 2 * (BLOCK_WEIGHTS / 256);
  const values = new Float32Array(rows * 256).fill(1);
  values[BLOCK_WEIGHTS + 5] = Number.NaN;
  const original = { scheme: schemes.get("f32"), shape: [rows, 256], planes: { codes: new Uint8Array(values.buffer) } };
  const quantizer = { method: methods.get("rtn"), options: {} };
  const runner = await openRunner(2);
  try {
    const job = { quantizer, original, scheme: schemes.get("q4_0"), seed: 0 };
    const wanted = new RegExp(`index ${BLOCK_WEIGHTS + 5} is NaN`);
    await assert.rejects(quantizeWeight(runner, job), (error) => {
      return error instanceof NumericError && wanted.test(error.message);
    });
  } finally {
    await runner.close();
  }
});
