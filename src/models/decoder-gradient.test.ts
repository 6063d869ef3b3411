import assert from "node:assert/strict";
import { test } from "node:test";
import { schemes } from "../formats/index.js";
import { createBackend, plainProducts, productsOn } from "../kernels/index.js";
import { randomUniform } from "../random.js";
import { quantize } from "../tensor/index.js";
import type { DecoderConfig, LayerNumbers } from "./architecture.js";
import { traceDecoderLayer } from "./decoder-gradient.js";
import { createLayerRunner } from "./layer-runner.js";
import { qwen2 } from "./qwen2.js";

/** Grouped queries and biases, so that everything that a decoder layer may have is in it. */
const config: DecoderConfig = {
  vocabularySize: 8,
  width: 24,
  hidden: 40,
  layers: 1,
  heads: 4,
  kvHeads: 2,
  headSize: 8,
  context: 32,
  epsilon: 1e-5,
  rope: { base: 100 },
  tied: true,
};
const [texts, tokens] = [2, 7];

const draw = (stream: number, length: number, size: number) =>
  Float32Array.from({ length }, (_, i) => size * (2 * randomUniform(9, stream, i) - 1));

const specs = qwen2.weights(config).filter(({ role }) => role.startsWith("layers.0."));
const weights: LayerNumbers = new Map(
  specs
    .filter(({ optional }) => !optional)
    .map(({ role, shape }, stream) => {
      const values = draw(
        stream,
        shape.reduce((a, b) => a * b, 1),
        shape.length > 1 ? 0.5 : 0.2,
      );
      return [role.slice("layers.0.".length), /Norm$/.test(role) ? values.map((x) => 1 + x) : values];
    }),
);
const hidden = draw(50, texts * tokens * config.width, 1);
const trace = (numbers: LayerNumbers) => traceDecoderLayer(plainProducts, config, numbers, hidden, tokens);

test("a traced layer gives the hidden states of the forward pass, within 1e-5 of the largest (f32, other exp and sums)", async () => {
  const backend = await createBackend("reference");
  try {
    const runner = createLayerRunner({ backend, architecture: qwen2, config, window: tokens });
    const named = new Map(
      specs
        .filter(({ optional }) => !optional)
        .map(({ role, shape }) => {
          const values = weights.get(role.slice("layers.0.".length)) as Float32Array;
          return [role, shape.length > 1 ? quantize(values, shape, schemes.get("f32")) : values];
        }),
    );
    const loaded = runner.load(0, named, {});
    const { outputs } = trace(weights);
    const largest = outputs.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
    for (let text = 0; text < texts; text++) {
      const size = tokens * config.width;
      const wanted = loaded.run(hidden.slice(text * size, (text + 1) * size));
      wanted.forEach((x, i) => {
        assert.ok(Math.abs(x - outputs[text * size + i]) < 1e-5 * largest, `text ${text}, ${i}`);
      });
    }
    loaded.dispose();
    runner.dispose();
  } finally {
    await backend.dispose();
  }
});

test("the gradient of every matrix is that of finite differences, within 0.5 % of its largest (f32 outputs, step 0.01)", () => {
  const dy = draw(60, hidden.length, 1);
  const cost = (numbers: LayerNumbers) => trace(numbers).outputs.reduce((sum, y, i) => sum + y * dy[i], 0);
  const gradients = trace(weights).backward(dy);
  assert.equal(gradients.size, 7);
  for (const [role, gradient] of gradients) {
    const largest = gradient.reduce((a, x) => Math.max(a, Math.abs(x)), 0);
    assert.equal(gradient.length, weights.get(role)?.length);
    for (let sample = 0; sample < 12; sample++) {
      const at = Math.floor(gradient.length * randomUniform(1, 70, sample));
      const moved = (by: number) => {
        const values = (weights.get(role) as Float32Array).slice();
        values[at] += by;
        return cost(new Map(weights).set(role, values));
      };
      const wanted = (moved(0.01) - moved(-0.01)) / 0.02;
      assert.ok(Math.abs(gradient[at] - wanted) < 0.005 * largest, `${role} ${at}: ${gradient[at]}, ${wanted}`);
    }
  }
});

test("products on a backend give the bits of plain loops", async () => {
  const backend = await createBackend("wasm");
  try {
    const dy = draw(61, hidden.length, 1);
    const mine = traceDecoderLayer(productsOn(backend), config, weights, hidden, tokens);
    assert.deepEqual(mine.outputs, trace(weights).outputs);
    assert.deepEqual([...mine.backward(dy)], [...trace(weights).backward(dy)]);
  } finally {
    await backend.dispose();
  }
});
