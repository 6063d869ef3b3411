/** Every method, and a recipe with all other kinds of steps, writes the same bytes with one thread and with two. */
import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { containers } from "../../src/checkpoints/index.js";
import { schemes } from "../../src/formats/index.js";
import { llama } from "../../src/models/llama.js";
import { methods, quantizeModel, type RecipeStep } from "../../src/quantize/index.js";
import { randomUniform } from "../../src/random.js";
import { quantize } from "../../src/tensor/index.js";

const demo = new URL("../../../demo", import.meta.url).pathname;
const folder = mkdtempSync(join(tmpdir(), "bitloom-threads-"));
const at = (name: string) => join(folder, name);
after(() => rmSync(folder, { recursive: true }));

/** One layer of width 64 with random weights, and the demo model's tokenizer. */
async function writeSmallModel(): Promise<void> {
  const config = { ...JSON.parse(readFileSync(join(demo, "config.json"), "utf8")) };
  Object.assign(config, { hidden_size: 64, intermediate_size: 96, num_hidden_layers: 1, num_attention_heads: 4 });
  Object.assign(config, { num_key_value_heads: 2, head_dim: 16, dtype: "float32" });
  const f32 = schemes.get("f32");
  const empty = { container: "safetensors", path: "small", bytes: 0, metadata: config, tensors: [] };
  const checkpoint = { ...empty, read: () => Promise.reject(new Error("it has no tensors")), close: async () => {} };
  const specs = llama.weights(llama.parse(checkpoint));
  const tensors = specs.flatMap((spec) => {
    const name = spec.names.safetensors;
    return name === undefined ? [] : [{ name, shape: spec.shape, scheme: f32 }];
  });
  const produce = async (_: unknown, index: number) => {
    const { shape } = tensors[index];
    const count = shape.reduce((a, b) => a * b, 1);
    const value = (i: number) => (shape.length === 1 ? 1 : 0.2 * (randomUniform(1, index, i) - 0.5));
    return quantize(
      Float32Array.from({ length: count }, (_, i) => value(i)),
      shape,
      f32,
    );
  };
  const sideFiles = [{ name: "tokenizer.json", bytes: readFileSync(join(demo, "tokenizer.json")) }];
  await containers.get("safetensors").write(at("small"), { metadata: config, tensors, produce }, { sideFiles });
}
await writeSmallModel();
const calibrationText = async () => readFileSync(join(demo, "calibration.txt"), "utf8").slice(0, 1024);

const bytesOf = (path: string) =>
  readdirSync(path).map((name) => [name, readFileSync(join(path, name)).toString("base64")]);

const few = (options: object) => ("iterations" in options ? { iterations: 4 } : {});
const cases: readonly (readonly [string, readonly RecipeStep[]])[] = [
  ...methods.entries.map((one): [string, RecipeStep[]] => [
    one.name,
    [{ quantize: one.name, scheme: one.name === "llm-fp4" ? "e2m1-g32" : "int4-g32", options: few(one.options) }],
  ]),
  [
    "transforms, activations and a compensation",
    [
      { transform: "rotate" },
      { transform: "awq" },
      { transform: "osplus" },
      { quantize: "rtn", scheme: "int4-g32" },
      { activations: "llm-int8", scheme: "int8-row" },
      { compensate: "lorc" },
    ],
  ],
];

test("the output's bytes do not depend on the number of threads, whatever the step", async () => {
  const calibration = { windows: 2, window: 32 };
  for (const [name, steps] of cases) {
    const recipe = { recipe: 1 as const, calibration, steps };
    for (const threads of [1, 2]) {
      await quantizeModel({ input: at("small"), output: at(`${threads}`), recipe, calibrationText, threads });
    }
    assert.deepEqual(bytesOf(at("2")), bytesOf(at("1")), name);
  }
});
