/** Rescalings leave a layer as it was, whatever took the change over: a norm, the values' rows, or the input as it comes. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { schemes } from "../formats/index.js";
import { createBackend } from "../kernels/index.js";
import { createLayerRunner, readWeights } from "../models/index.js";
import { randomUniform } from "../random.js";
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import { observeLayer } from "./calibration.js";
import { planQuantization } from "./quantize-plan.js";
import type { RecipeStep } from "./recipe.js";
import { rescaleLayer } from "./rescale.js";
import type { InputStatistics } from "./statistics.js";

const golden = new URL("../../../src/models/golden/", import.meta.url);
const backend = await createBackend("wasm");
after(() => backend.dispose());

const F32 = schemes.get("f32");
const ROUNDED: readonly RecipeStep[] = [
  { activations: "static", scheme: "int6-row" },
  { quantize: "rtn", scheme: "int8-row" },
];

/** A layer of a model before and after the rescalings of a recipe, run on two texts of hidden states. */
async function rescaled(model: string, transform: RecipeStep) {
  const recipe = { recipe: 1 as const, steps: [transform, ...ROUNDED] };
  const plan = await planQuantization({ input: new URL(model, golden).pathname, output: "unwritten", recipe });
  const { architecture, config, checkpoint } = plan;
  const runner = createLayerRunner({ backend, architecture, config, window: 48 });
  const specs = architecture.weights(config).filter(({ role }) => role.startsWith("layers.0."));
  const weights = await readWeights(checkpoint, specs);
  const values = new Map([...weights].map(([role, w]) => [role, w instanceof Float32Array ? w : dequantize(w)]));
  // One channel stands out, and all are off the middle.
  const hidden = [1, 2].map((text) =>
    Float32Array.from({ length: 48 * config.width }, (_, i) => {
      const [u, channel] = [randomUniform(7, text, i), i % config.width];
      return (u * u - 0.1) * (channel === 5 ? 12 : 1) + (channel % 4) / 4;
    }),
  );
  const run = (linears = plan.linears) => {
    const now = new Map<string, PackedTensor | Float32Array>();
    for (const { role, shape } of specs) {
      const numbers = values.get(role);
      if (numbers) now.set(role, shape.length > 1 ? quantize(numbers, shape, F32) : numbers);
    }
    const loaded = runner.load(0, now, linears);
    const groups = architecture.parts.linears(config);
    const found = observeLayer(runner, loaded, hidden, groups, "hessian");
    loaded.dispose();
    return found;
  };
  const before = run();
  const statistics = new Map(before.statistics);
  const { linears, notes } = rescaleLayer({ plan, backend, runner, name: "layers.0", values, statistics });
  const after_ = run({ ...plan.linears, ...linears });
  await checkpoint.close();
  runner.dispose();
  return { before, after: after_, statistics, linears, notes };
}

const MODELS = ["llama-tied", "llama-biased", "qwen2", "bert"];
const TRANSFORMS: Readonly<Record<string, RecipeStep>> = {
  awq: { transform: "awq" },
  smoothquant: { transform: "smoothquant", options: { online: true } },
  osplus: { transform: "osplus", options: { online: true, steps: 6 } },
};

for (const model of MODELS) {
  for (const [name, step] of Object.entries(TRANSFORMS)) {
    test(`${model}: ${name} leaves a layer's outputs within 1e-5 of the largest (f32 rounding of other weights)`, async () => {
      const { before, after: now, notes } = await rescaled(model, step);
      assert.ok(notes.size > 0, "something was rescaled");
      const largest = before.outputs[0].reduce((a, b) => Math.max(a, Math.abs(b)), 0);
      before.outputs.forEach((states, text) => {
        const change = states.reduce((a, x, i) => Math.max(a, Math.abs(x - now.outputs[text][i])), 0);
        assert.ok(change < 1e-5 * largest, `${change} of ${largest}`);
      });
    });
  }
}

test("statistics after a change are those of the changed inputs, within 1e-4 of their largest (f32 sums)", async () => {
  for (const model of ["llama-biased", "bert"]) {
    const { after: now, statistics } = await rescaled(model, TRANSFORMS.osplus);
    for (const [role, seen] of now.statistics) {
      const said = statistics.get(role) as InputStatistics;
      const close = (a: ArrayLike<number> | undefined, b: ArrayLike<number> | undefined, what: string) => {
        assert.ok(a && b && a.length === b.length, what);
        const largest = Array.from(b).reduce((most, x) => Math.max(most, Math.abs(x)), 0);
        for (let i = 0; i < a.length; i++) {
          assert.ok(Math.abs(a[i] - b[i]) <= 1e-4 * largest, `${model} ${role} ${what}: ${a[i]} for ${b[i]}`);
        }
      };
      close(said.meanSquare, seen.meanSquare, "E x^2");
      close(said.meanAbsolute, seen.meanAbsolute, "E |x|");
      close(said.maxAbsolute, seen.maxAbsolute, "max |x|");
      close(said.signed?.mean, seen.signed?.mean, "E x");
      close(said.signed?.smallest, seen.signed?.smallest, "min x");
      close(said.hessian, seen.hessian, "E x x^T");
      close(said.sample, seen.sample, "sample");
    }
  }
});

test("OS+ shifts where biases take it over, through norms, means and steps, and divides alone in models without biases", async () => {
  const shifts = async (model: string) => (await rescaled(model, TRANSFORMS.osplus)).statistics;
  const centred = ({ signed }: InputStatistics) =>
    signed?.largest.every((x, j) => Math.abs(x + signed.smallest[j]) <= 1e-5 * (x - signed.smallest[j])) ?? false;
  const bert = await shifts("bert");
  for (const role of ["query", "output", "up", "down"]) assert.ok(centred(bert.get(role) as InputStatistics), role);
  const biased = await shifts("llama-biased");
  assert.ok(centred(biased.get("output") as InputStatistics), "values and their output have biases");
  assert.ok(!centred(biased.get("query") as InputStatistics), "RMSNorm has none");
});

test("OS+ leaves less error of rounded outputs than nothing, and says how much", async () => {
  const { notes } = await rescaled("bert", TRANSFORMS.osplus);
  for (const [role, { errorRatio }] of notes) assert.ok(errorRatio < 1, `${role}: ${errorRatio}`);
});
