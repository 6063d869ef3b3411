/** The calibrated pipeline on the demo model: resuming, the same bytes, transforms that change nothing. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { InputError } from "../errors.js";
import { createBackend } from "../kernels/index.js";
import { openModel } from "../models/index.js";
import { type QuantizeOptions, quantizeModel, RECIPE_KEY, type Recipe } from "./index.js";
import { workFolder } from "./work.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-calibrated-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));
const calibrationText = async () => readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 4096);

/** Quick: two windows of 64 tokens, few scales tried, the embedding left to round to nearest. */
const recipe = (change: Partial<Recipe> = {}, sequential: "layers" | "stages" | "none" = "layers"): Recipe => ({
  recipe: 1,
  calibration: { windows: 2, window: 64, sequential },
  steps: [
    { quantize: "rtn", scheme: "q8_0", tensors: "embedding" },
    { quantize: "gptq", scheme: "q4_0", tensors: "query", options: { steps: 2, damping: 0.1 } },
    { quantize: "imatrix", scheme: "q4_0", options: { steps: 2 } },
  ],
  ...change,
});
const quantizeTo = (name: string, options: Partial<QuantizeOptions>) =>
  quantizeModel({ input: demo, output: at(name), calibrationText, ...options });

/** Runs a quantization in a process of its own; kills it when it has reported `steps` steps. */
function killedAfter(steps: number, name: string): Promise<boolean> {
  const code = `
    import { readFileSync } from "node:fs";
    import { quantizeModel } from ${JSON.stringify(new URL("./index.js", import.meta.url).href)};
    const options = JSON.parse(process.argv[1]);
    const text = readFileSync(options.text, "utf8").slice(0, 4096);
    await quantizeModel({ ...options, calibrationText: async () => text, onProgress: (p) => console.log(p.name) });
  `;
  const options = { input: demo, output: at(name), recipe: recipe(), text: join(demo, "calibration.txt") };
  const child = spawn(process.execPath, ["--input-type=module", "-e", code, JSON.stringify(options)], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let seen = 0;
  createInterface({ input: child.stdout }).on("line", () => {
    if (++seen === steps) child.kill("SIGKILL");
  });
  return new Promise((resolve) => child.on("close", (status) => resolve(status === 0)));
}

test("a run that is killed -9 again and again resumes and ends in the bytes of a run left in peace", async () => {
  await quantizeTo("peace.gguf", { recipe: recipe() });
  const peace = readFileSync(at("peace.gguf"));
  let [kills, finished] = [0, false];
  while (!finished) {
    finished = await killedAfter(3 + 3 * kills, "killed.gguf");
    if (finished) break;
    kills++;
    // Killed after the last rename the output is there, and whole.
    if (existsSync(at("killed.gguf"))) assert.deepEqual(readFileSync(at("killed.gguf")), peace);
    else assert.ok(readdirSync(workFolder(at("killed.gguf"))).length > 0, "finished parts stay");
  }
  assert.ok(kills >= 3, `${kills} kills`);
  assert.deepEqual(readFileSync(at("killed.gguf")), peace);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.endsWith(".parts") || name.endsWith(".partial")),
    [],
    "nothing is left behind at the end",
  );
});

test("one thread and two write the same bytes, and the file says how it was made", async () => {
  await quantizeTo("one.gguf", { recipe: recipe(), threads: 1 });
  await quantizeTo("two.gguf", { recipe: recipe(), threads: 2 });
  assert.deepEqual(readFileSync(at("one.gguf")), readFileSync(at("two.gguf")));
  const file = await openCheckpoint(at("one.gguf"));
  const made = JSON.parse(String(file.metadata[RECIPE_KEY])) as { recipe: Recipe; calibrationText: string };
  await file.close();
  assert.equal(made.recipe.steps.length, 3);
  assert.match(made.calibrationText, /^[0-9a-f]{40}$/);
  // What the file says, read back as a recipe, makes the same file.
  await quantizeTo("again.gguf", { recipe: made.recipe });
  assert.deepEqual(readFileSync(at("again.gguf")), readFileSync(at("one.gguf")));
});

test("every way to feed the layers works, and a folder holds what a GGUF file holds", async () => {
  for (const sequential of ["stages", "none"] as const) {
    const { tensors } = await quantizeTo(`${sequential}.gguf`, { recipe: recipe({}, sequential) });
    const other = await quantizeTo(sequential, { recipe: recipe({}, sequential) });
    const errors = (rows: typeof tensors) => rows.map(({ shape, relativeMse }) => [shape, relativeMse]);
    assert.deepEqual(errors(tensors), errors(other.tensors));
    for (const { notes, method, relativeOutputError, rtnOutputError } of tensors) {
      if (method === "gptq") assert.ok(notes && notes.loss > 0 && notes.dampingRetries === 0);
      if (method === "imatrix" && relativeOutputError !== undefined) {
        assert.ok(
          relativeOutputError <= (rtnOutputError ?? 0) * 1.02,
          "llama.cpp's weights differ a little from E[x^2]",
        );
      }
    }
  }
});

async function logitsOf(path: string): Promise<Float32Array> {
  const backend = await createBackend("wasm");
  try {
    const model = await openModel(path, { backend });
    return model.session().prefill(model.tokenizer.encode("Call me Ishmael. Some years ago")).slice();
  } finally {
    await backend.dispose();
  }
}

test("a transform alone leaves the logits as they were, within 1e-4 of the largest (f32 rounding of scaled weights)", async () => {
  const original = await logitsOf(demo);
  const steps = [{ transform: "smoothquant" }, { quantize: "rtn", scheme: "f32" }];
  await quantizeTo("smooth", { recipe: recipe({ steps }) });
  const smooth = await logitsOf(at("smooth"));
  const largest = original.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
  const change = original.reduce((a, x, i) => Math.max(a, Math.abs(x - smooth[i])), 0);
  assert.ok(change < 1e-4 * largest, `${change} of ${largest}`);
  assert.ok(change > 0, "the weights are not the same");
});

test("a text that is too short, and no text at all, are input errors before any work", async () => {
  await assert.rejects(quantizeTo("x.gguf", { recipe: recipe(), calibrationText: async () => "short" }), InputError);
  await assert.rejects(quantizeTo("x.gguf", { recipe: recipe(), calibrationText: undefined }), InputError);
  assert.deepEqual(
    readdirSync(folder).filter((name) => name.includes("x.gguf")),
    [],
  );
});
