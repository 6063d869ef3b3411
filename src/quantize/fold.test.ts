/** Folds leave models as they were: on tiny random Llama and Qwen2 models with gains, biases, shared values and tied heads. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { openCheckpoint } from "../checkpoints/index.js";
import { createBackend } from "../kernels/index.js";
import {
  architectureOf,
  type DecoderConfig,
  describeModel,
  findWeight,
  loadDecoder,
  readLinears,
  readWeight,
  type WeightSpec,
} from "../models/index.js";
import { dequantize } from "../tensor/index.js";
import { hadamardRotation, largestBlock, mapColumns, permutation, randomRotation, signsFor } from "./fold.js";
import { foldedModel } from "./folded.js";
import { produceTensor } from "./produce.js";
import { planQuantization } from "./quantize-plan.js";
import { readRecipe } from "./read-recipe.js";
import type { RecipeStep } from "./recipe.js";

const golden = new URL("../../../src/models/golden/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("golden.json", golden), "utf8")) as {
  cases: Record<string, { ids: number[] }>;
};
const backend = await createBackend("wasm");
after(() => backend.dispose());

const recipeWith = (steps: readonly RecipeStep[], seed = 1) =>
  readRecipe({ recipe: 1, seed, steps: [...steps, { quantize: "rtn", scheme: "f32" }] });

/** The model behind the folds of a recipe. */
async function folded(name: string, steps: readonly RecipeStep[], seed?: number) {
  const checkpoint = await openCheckpoint(new URL(name, golden).pathname);
  const architecture = architectureOf(checkpoint);
  const { config } = await describeModel(checkpoint, architecture);
  const recipe = recipeWith(steps, seed);
  return foldedModel({ checkpoint, architecture, config }, recipe.folds, recipe.seed, "safetensors");
}

async function logitsOf(name: string, steps: readonly RecipeStep[], seed?: number) {
  const { checkpoint } = await folded(name, steps, seed);
  const decoder = await loadDecoder(checkpoint, { backend });
  const logits = decoder.session({ batch: 128 }).forward(cases[name].ids, "all").slice();
  decoder.dispose();
  await checkpoint.close();
  return logits;
}

const FOLDS: Readonly<Record<string, readonly RecipeStep[]>> = {
  "the stream and values rotated": [{ transform: "rotate" }],
  "values rotated": [{ transform: "rotate", options: { stream: false } }],
  "the stream turned by a dense matrix": [{ transform: "rotate", options: { kind: "random" } }],
  "blocks of inputs rotated": [{ transform: "hadamard", options: { block: 16 } }],
  "down inputs rotated whole": [{ transform: "hadamard", tensors: "down", options: { block: 4096 } }],
  "keys sorted": [{ transform: "ksort" }],
  "everything rotated": [{ transform: "rotate" }, { transform: "hadamard", options: { block: 8 } }],
};

for (const name of Object.keys(cases)) {
  test(`${name}: with any fold the logits stay within 1e-5 of the largest (weights and activations rounded to f32 in another basis)`, async () => {
    const original = await logitsOf(name, []);
    const largest = original.reduce((a, b) => Math.max(a, Math.abs(b)), 0);
    for (const [what, steps] of Object.entries(FOLDS)) {
      const logits = await logitsOf(name, steps);
      const change = original.reduce((a, x, i) => Math.max(a, Math.abs(x - logits[i])), 0);
      // Sums over channels in another order may be the same.
      assert.ok(change > 0 || what === "keys sorted", `${what}: the weights are others`);
      assert.ok(change < 1e-5 * largest, `${what}: ${change} of ${largest}`);
    }
  });
}

test("a fold is the same for the same seed and another for another", async () => {
  const steps = FOLDS["everything rotated"];
  const first = await logitsOf("qwen2", steps, 5);
  assert.deepEqual(await logitsOf("qwen2", steps, 5), first);
  assert.notDeepEqual(await logitsOf("qwen2", steps, 6), first);
});

test("a tied head gets a matrix of its own when the stream is rotated, and its bytes are counted", async () => {
  const [before, after_] = [await folded("llama-tied", []), await folded("llama-tied", [{ transform: "rotate" }])];
  const names = (model: typeof before) => model.checkpoint.tensors.map(({ name }) => name).sort();
  assert.deepEqual(names(after_), [...names(before), "lm_head.weight"].sort());
  assert.equal(after_.checkpoint.metadata.tie_word_embeddings, false);
  const head = after_.checkpoint.tensors.find(({ name }) => name === "lm_head.weight");
  assert.equal(head?.bytes, 4 * 96 * 32);
  for (const { checkpoint } of [before, after_]) await checkpoint.close();
});

test("rotated inputs are named with their seed in the model's metadata, those of values need nothing at run time", async () => {
  const { checkpoint } = await folded("qwen2", [{ transform: "hadamard", options: { block: 16 } }]);
  const linears = readLinears(checkpoint.metadata, "");
  assert.deepEqual(
    Object.keys(linears)
      .filter((role) => role.startsWith("layers.0."))
      .sort(),
    ["layers.0.down", "layers.0.gate", "layers.0.key", "layers.0.query", "layers.0.up", "layers.0.value"],
  );
  assert.deepEqual(linears["layers.0.key"], linears["layers.0.query"]);
  assert.deepEqual(Object.keys(linears["layers.0.key"].input?.[0] ?? {}), ["kind", "block", "seed", "stream"]);
  await checkpoint.close();
});

test("the report of a weight says how large the blocks are that it was rotated in, smaller than asked where rows want that", async () => {
  const steps: readonly RecipeStep[] = [
    { transform: "hadamard", tensors: "(query|key|value|down)$", options: { block: 36 } },
    { quantize: "rtn", scheme: "int8-row" },
  ];
  const input = new URL("qwen2", golden).pathname;
  const plan = await planQuantization({ input, output: "unwritten", recipe: { recipe: 1, steps } });
  const blockOf = async (role: string) => {
    const planned = plan.tensors.find(({ spec }) => spec?.role === `layers.0.${role}`);
    assert.ok(planned);
    const { report } = await produceTensor(plan, planned, undefined);
    return [report.notes?.hadamardBlock, largestBlock(planned.shape[1], 36)];
  };
  const query = await blockOf("query");
  assert.equal(query[0], query[1]);
  assert.notEqual(query[0], 36);
  assert.equal((await blockOf("down"))[0], (await blockOf("down"))[1]);
  assert.equal((await blockOf("up"))[0], undefined);
  await plan.checkpoint.close();
});

test("a fold of the whole model refuses a pattern that leaves weights out", async () => {
  for (const transform of ["rotate", "ksort"]) {
    await assert.rejects(folded("qwen2", [{ transform, tensors: "key" }]), /changes all of a model or nothing/);
  }
});

test("folds after a transform that looks at data are refused", () => {
  assert.throws(() => recipeWith([{ transform: "awq" }, { transform: "rotate" }]), /must come before awq/);
});

test("rotations keep inner products within 1e-6, permutations move whole channels", () => {
  const x = Float32Array.from({ length: 72 }, (_, i) => Math.sin(3 * i));
  for (const turn of [randomRotation(24, 3, 1), hadamardRotation(12, signsFor(24, 3, "x"))]) {
    const y = turn(x);
    const dot = (v: Float32Array, a: number, b: number) =>
      v.subarray(24 * a, 24 * a + 24).reduce((sum, value, i) => sum + value * v[24 * b + i], 0);
    for (const [a, b] of [
      [0, 0],
      [0, 1],
      [1, 2],
    ])
      assert.ok(Math.abs(dot(x, a, b) - dot(y, a, b)) < 1e-5);
  }
  assert.deepEqual([...permutation([2, 0, 1])(Float32Array.of(1, 2, 3, 4, 5, 6))], [3, 1, 2, 6, 4, 5]);
  assert.deepEqual([...mapColumns(Float32Array.of(1, 2, 3, 4, 5, 6), 2, permutation([2, 0, 1]))], [5, 6, 1, 2, 3, 4]);
});

test("sorted keys: pairs come with their frequencies, larger elements first, the largest pairs of all heads first", async () => {
  for (const name of Object.keys(cases)) {
    const { checkpoint, config, architecture } = await folded(name, [{ transform: "ksort" }]);
    const { rope, headSize, kvHeads, width } = config as DecoderConfig;
    const specs = architecture.weights(config);
    const read = (role: string) => readVectorOrMatrix(checkpoint, specs, role);
    const half = headSize / 2;
    const total = new Float64Array(half);
    for (let layer = 0; layer < config.layers; layer++) {
      const [weight, gain] = [await read(`layers.${layer}.key`), await read(`layers.${layer}.attentionNorm`)];
      const bias = await read(`layers.${layer}.key.bias`);
      const sizes = new Float64Array(kvHeads * headSize);
      weight?.forEach((w, i) => {
        sizes[Math.floor(i / width)] += (w * (gain?.[i % width] ?? 0)) ** 2;
      });
      for (let c = 0; c < sizes.length; c++) sizes[c] += (bias?.[c] ?? 0) ** 2;
      for (let head = 0; head < sizes.length; head += headSize) {
        const mean = sizes.subarray(head, head + headSize).reduce((a, b) => a + b, 0) / headSize;
        for (let i = 0; i < half; i++) {
          const [first, second] = [sizes[head + i], sizes[head + half + i]];
          assert.ok(first >= second, `${name}, layer ${layer}, pair ${i}`);
          total[i] += (first + second) / mean;
        }
      }
    }
    for (let i = 1; i < half; i++) assert.ok(total[i] <= total[i - 1] * (1 + 1e-6), `${name}, pair ${i}`);
    const factors = architecture.parts.graph && (architecture.parse(checkpoint) as DecoderConfig).rope.factors;
    assert.deepEqual(factors, rope.factors, "config.json holds the divisors");
    await checkpoint.close();
  }
});

async function readVectorOrMatrix(checkpoint: Checkpoint, specs: readonly WeightSpec[], role: string) {
  const spec = specs.find((one) => one.role === role);
  if (!spec || !findWeight(checkpoint, spec)) return undefined;
  const packed = await readWeight(checkpoint, spec);
  return packed && dequantize(packed);
}

test("the largest block of a known order divides the row", () => {
  assert.equal(largestBlock(576, 128), 96);
  assert.equal(largestBlock(1536, 128), 128);
  assert.equal(largestBlock(576, 576), 576);
  assert.equal(largestBlock(11008, 11008), 256);
  assert.equal(largestBlock(7, 7), undefined);
});
