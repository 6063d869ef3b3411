/** Recipes as a user meets them: files, flags that mean the same, and what is said of wrong ones before work starts. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { DEMO_FOLDER } from "../../src/cli/model-path.js";
import { readRecipe } from "../../src/quantize/index.js";
import { bitloom, ROOT, temporaryFolder, withoutDemo } from "./bitloom.js";

const folder = temporaryFolder();
const output = join(folder, "x.gguf");

function recipe(content: unknown): string {
  const path = join(folder, "recipe.json");
  writeFileSync(path, JSON.stringify(content));
  return path;
}

const q4 = { quantize: "rtn", scheme: "q4_0" };

for (const [what, content, message] of [
  [
    "a kind of step that does not exist",
    { recipe: 1, steps: [{ quantise: "rtn" }] },
    /step 1 has none of the keys quan/,
  ],
  ["a step without its scheme", { recipe: 1, steps: [{ quantize: "rtn" }] }, /step 1: "scheme" is no text/],
  [
    "a key that no step has",
    { recipe: 1, steps: [{ ...q4, pattern: "x" }] },
    /has a key "pattern", wanted quantize, sch/,
  ],
  ["a pattern that fits nothing", { recipe: 1, steps: [{ ...q4, tensors: "layrs" }] }, /step 1 .*takes no tensor/],
  [
    "a pattern that steps before it leave nothing",
    { recipe: 1, steps: [q4, { ...q4, tensors: "embd" }] },
    /step 2 .*\n.*\n.*steps before it take all/,
  ],
  [
    "a second step for everything",
    { recipe: 1, steps: [q4, { ...q4, scheme: "q8_0" }] },
    /step 2 .*\n.*\n.*steps before it take all/,
  ],
  [
    "a pattern for a head that is the embedding",
    { recipe: 1, steps: [{ ...q4, tensors: "lm_head" }, q4] },
    /step 1 .*takes no tensor\n.*\n.*its head is its embedding, used a second time\n.*"embedding"/,
  ],
  [
    "a transform for no tensor",
    { recipe: 1, steps: [{ transform: "awq", tensors: "layers.9" }, q4] },
    /step 1 .*takes no tensor/,
  ],
] as const) {
  test(`a recipe with ${what} ends with 2 before work starts, and says which step`, { skip: withoutDemo }, async () => {
    const { code, stderr } = await bitloom([
      "quantize",
      "demo",
      "--recipe",
      recipe(content),
      "-o",
      output,
      "--dry-run",
    ]);
    assert.equal(code, 2, stderr);
    assert.match(stderr, message);
  });
}

test("flags mean a recipe: seed, windows, cache and exceptions stand in what --explain --json says", {
  skip: withoutDemo,
}, async () => {
  const flags = ["--to", "q4_0", "--method", "clip", "--set", "steps=3", "--tensor-type", "embd=q8_0"];
  const more = ["--cache", "int8-g32", "--windows", "3", "--window", "32", "--seed", "7"];
  const { stdout } = await bitloom(["quantize", "demo", ...flags, ...more, "-o", output, "--explain", "--json"]);
  const { steps, recipe: whole } = JSON.parse(stdout);
  assert.deepEqual(
    steps.map(({ json, tensors }: { json: object; tensors: unknown[] }) => [json, tensors.length]),
    [
      [{ quantize: "clip", scheme: "q8_0", tensors: "embd", options: { steps: 3, shrink: 0.5 } }, 1],
      [{ quantize: "clip", scheme: "q4_0", tensors: ".*", options: { steps: 3, shrink: 0.5 } }, 35],
      [{ cache: "keys=int8-g32:channel,values=int8-g32:token,window=32" }, 0],
    ],
  );
  assert.deepEqual([whole.seed, whole.calibration], [7, { windows: 3, window: 32, sequential: "layers" }]);
  const file = join(folder, "explained.json");
  writeFileSync(file, JSON.stringify(whole));
  const again = await bitloom(["quantize", "demo", "--recipe", file, "-o", output, "--explain", "--json"]);
  assert.deepEqual(JSON.parse(again.stdout).recipe, JSON.parse(readFileSync(file, "utf8")));
});

test("a model says how it was made, and its recipe makes the same bytes again", { skip: withoutDemo }, async () => {
  const calibration = { windows: 2, window: 32 };
  const content = { recipe: 1, seed: 5, calibration, steps: [{ ...q4, quantize: "clip" }, { cache: "int8-g32" }] };
  const made = await bitloom(["quantize", "demo", "--recipe", recipe(content), "-o", output]);
  assert.equal(made.code, 0, made.stderr);
  const { making } = JSON.parse((await bitloom(["inspect", output, "--json"])).stdout);
  assert.deepEqual([making.recipe.seed, making.recipe.steps[0].options], [5, { steps: 10, shrink: 0.5 }]);
  assert.match((await bitloom(["inspect", output])).stdout, /step 1 +quantize clip, scheme q4_0/);
  const again = join(folder, "again.gguf");
  const replayed = await bitloom(["quantize", "demo", "--recipe", output, "-o", again]);
  assert.equal(replayed.code, 0, replayed.stderr);
  assert.ok(readFileSync(output).equals(readFileSync(again)));
  const none = await bitloom(["quantize", "demo", "--recipe", DEMO_FOLDER, "-o", again]);
  assert.equal(none.code, 2);
  assert.match(none.stderr, /the model does not say how it was made/);
});

test("the recipes that measurements use are what the published schema admits, and it refuses what the reader refuses", () => {
  const schema = JSON.parse(readFileSync(join(ROOT, "docs", "schemas", "recipe.json"), "utf8"));
  const validate = new Ajv2020({ strict: true, allowUnionTypes: true, formats: { regex: true } }).compile(schema);
  const kept = join(ROOT, "bench", "recipes");
  for (const name of readdirSync(kept)) {
    const content = JSON.parse(readFileSync(join(kept, name), "utf8"));
    assert.ok(validate(content), `${name}: ${JSON.stringify(validate.errors?.slice(0, 2))}`);
    assert.ok(validate(readRecipe(content).json), `${name} with its defaults written out`);
  }
  for (const steps of [[{ quantise: "rtn" }], [{ ...q4, pattern: "x" }], [{ ...q4, options: { damping: 1 } }]]) {
    assert.equal(validate({ recipe: 1, steps }), false);
    assert.throws(() => readRecipe({ recipe: 1, steps }));
  }
});

test("the recipe of a model under another text than the model's own is followed, and the result says that the text differs", {
  skip: withoutDemo,
}, async () => {
  const text = readFileSync(join(DEMO_FOLDER, "calibration.txt"), "utf8");
  const [first, second] = [text.slice(0, 1024), text.slice(2048, 3072)].map((part, i) => {
    const path = join(folder, `text-${i}.txt`);
    writeFileSync(path, part);
    return path;
  });
  const run = async (name: string, ...args: string[]) => {
    const { code, stdout, stderr } = await bitloom(["quantize", "demo", "-o", join(folder, name), "--json", ...args]);
    assert.equal(code, 0, stderr);
    return (JSON.parse(stdout) as { otherText?: boolean }).otherText;
  };
  const short = ["--to", "q4_0", "--method", "imatrix", "--set", "steps=1", "--windows", "2", "--window", "32"];
  const model = join(folder, "recorded.gguf");
  assert.equal(await run("recorded.gguf", ...short, "--calibrate", first), undefined);
  assert.equal(await run("same.gguf", "--recipe", model, "--calibrate", first), undefined);
  assert.ok(readFileSync(join(folder, "same.gguf")).equals(readFileSync(model)), "the same text gives the same bytes");
  assert.equal(await run("other.gguf", "--recipe", model, "--calibrate", second), true);
});
