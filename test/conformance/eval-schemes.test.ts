/**
 * Every registered number format of at most 8 bits, and every registered scheme, runs in `evaluate` on the WebAssembly backend: a
 * tiny model whose matrices are held in it has the losses of the same model with the same numbers in f32, to the last bit.
 */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoints/index.js";
import { evaluate } from "../../src/evaluate/index.js";
import { formats, scaledScheme, scheme, schemes } from "../../src/formats/index.js";
import type { Scheme } from "../../src/formats/scheme.js";
import { createBackend } from "../../src/kernels/index.js";
import { loadDecoder } from "../../src/models/index.js";
import { dequantize, type PackedTensor, quantize } from "../../src/tensor/index.js";

const path = new URL("../../../src/models/golden/llama-tied", import.meta.url).pathname;
const backend = await createBackend("wasm");
const checkpoint = await openCheckpoint(path);
after(async () => {
  await checkpoint.close();
  await backend.dispose();
});
const ids = Array.from({ length: 40 }, (_, i) => (i * i * 7 + i) % 96);

/** The checkpoint with its matrices changed. */
const changed = (change: (weight: PackedTensor) => PackedTensor): Checkpoint => ({
  ...checkpoint,
  async read(tensor) {
    const weight = await checkpoint.read(tensor);
    return weight.shape.length === 2 ? change(weight) : weight;
  },
});

async function loss(change: (weight: PackedTensor) => PackedTensor): Promise<number> {
  const decoder = await loadDecoder(changed(change), { backend });
  const { nll } = evaluate(decoder, { ids, context: 20 });
  decoder.dispose();
  return nll;
}

const cast = (weight: PackedTensor, to: Scheme) => quantize(dequantize(weight), weight.shape, to);

async function assertRuns(held: Scheme, what: string): Promise<void> {
  const nll = await loss((weight) => cast(weight, held));
  assert.ok(Number.isFinite(nll), what);
  const plain = await loss((weight) => cast(cast(weight, held), scheme("f32")));
  assert.equal(nll, plain, what);
}

/** What holds a format: as elements with a scale for each row, or beside elements: scales and zero points. */
const HOLDERS: Readonly<Record<string, string>> = {
  ...Object.fromEntries([2, 3, 4, 5, 6, 7, 8].map((bits) => [`uint${bits}`, `int${bits}-g32-asym`])),
  e8m0: "mxfp4",
};
/** Formats for scales that no registered scheme has yet: in place of another scale. */
const SCALES = ["ue4m3", "ue5m3"];

test("every registered format of at most 8 bits is evaluated, as elements, scales or zero points", async () => {
  const few = formats.entries.filter(({ bits }) => bits <= 8);
  assert.ok(few.length > 35);
  for (const { name } of few) {
    const held = SCALES.includes(name)
      ? scaledScheme({ name: `int4, ${name} scales`, element: formats.get("int4"), per: 32, scale: formats.get(name) })
      : scheme(HOLDERS[name] ?? `${name}-row`);
    await assertRuns(held, name);
  }
});

test("every registered scheme is evaluated", async () => {
  for (const one of schemes.entries) await assertRuns(one, one.name);
});
