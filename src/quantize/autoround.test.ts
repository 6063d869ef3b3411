import assert from "node:assert/strict";
import { after, test } from "node:test";
import { scheme } from "../formats/index.js";
import { createBackend, productsOn } from "../kernels/index.js";
import type { DecoderConfig } from "../models/index.js";
import { llama } from "../models/llama.js";
import { readOptions } from "../options.js";
import { randomUniform } from "../random.js";
import { dequantize, quantize } from "../tensor/index.js";
import { autoround } from "./autoround.js";
import type { LayerJob } from "./method.js";

const config = {
  ...{ vocabularySize: 8, width: 64, hidden: 96, layers: 1, heads: 4, kvHeads: 2, headSize: 16, context: 32 },
  ...{ epsilon: 1e-5, rope: { base: 100 }, tied: true },
} as DecoderConfig;
const { parts, weights } = llama;
const backend = await createBackend("wasm");
after(() => backend.dispose());
const products = productsOn(backend);

const draw = (stream: number, length: number) =>
  Float32Array.from({ length }, (_, i) => 2 * randomUniform(4, stream, i) - 1);
const specs = weights(config)
  .filter(({ role, optional }) => role.startsWith("layers.0.") && !optional)
  .map(({ role, shape }) => ({ role: role.slice("layers.0.".length), shape }));
const numbers = new Map(
  specs.map(({ role, shape }, i) => {
    const values = draw(
      i,
      shape.reduce((a, b) => a * b, 1),
    );
    return [role, values.map((x) => (shape.length > 1 ? 0.2 * x : 1 + 0.2 * x))];
  }),
);
const hidden = [draw(90, 32 * config.width), draw(91, 32 * config.width)];
const trace: LayerJob["trace"] = (on, replaced, states, tokens) => {
  if (!parts.trace) throw new Error("decoders can be differentiated");
  return parts.trace(on, config, new Map([...numbers, ...replaced]), states, tokens);
};
const jobOf = (name: string): LayerJob => {
  const matrices = specs.filter(({ shape }) => shape.length > 1);
  const members = matrices.map(({ role, shape }) => {
    return [
      role,
      { scheme: scheme(name), values: numbers.get(role) as Float32Array, shape, seed: 1, products },
    ] as const;
  });
  return { layer: 0, members: new Map(members), hidden, width: config.width, trace, seed: 1 };
};
const options = readOptions(autoround.options, { iterations: 40, texts: 4, tokens: 8 }, "autoround");

test("the layer's output error falls below that of round to nearest by at least a tenth, on even and floating-point grids", () => {
  for (const name of ["int3-g32", "int3-g32-asym", "q4_1", "mxfp4"]) {
    const job = jobOf(name);
    const outcomes = autoround.quantizeLayer?.(job, options) ?? new Map();
    assert.equal(outcomes.size, 7);
    const errorWith = (replaced: Map<string, Float32Array>) => {
      return hidden.reduce((sum, states) => {
        const [mine, wanted] = [replaced, new Map()].map((one) => trace(products, one, states, 8).outputs);
        return sum + mine.reduce((part, x, i) => part + (x - wanted[i]) ** 2, 0);
      }, 0);
    };
    const learned = new Map([...outcomes].map(([role, { packed }]) => [role, dequantize(packed)]));
    const nearest = new Map(
      [...job.members].map(([role, one]) => [role, dequantize(quantize(one.values, one.shape, one.scheme))]),
    );
    const [mine, rtn] = [errorWith(learned), errorWith(nearest)];
    assert.ok(mine < 0.9 * rtn, `${name}: ${mine} of ${rtn}`);
  }
});

test("the same seed gives the same bytes", () => {
  const [first, second] = [1, 2].map(() => autoround.quantizeLayer?.(jobOf("int3-g32"), options) ?? new Map());
  for (const [role, { packed }] of first) assert.deepEqual(packed, second.get(role)?.packed);
});

test("a layer whose numbers lie on the grid already is left as it is", () => {
  const job = jobOf("q8_0");
  const members = [...job.members].map(([role, one]) => {
    const values = dequantize(quantize(one.values, one.shape, one.scheme));
    return [role, { ...one, values }] as const;
  });
  const exact = new Map(members.map(([role, { values }]) => [role, values]));
  const same: LayerJob["trace"] = (on, replaced, ...rest) => trace(on, new Map([...exact, ...replaced]), ...rest);
  const outcomes = autoround.quantizeLayer?.({ ...job, members: new Map(members), trace: same }, options) ?? new Map();
  for (const [role, { packed }] of outcomes) assert.deepEqual(dequantize(packed), exact.get(role));
});
