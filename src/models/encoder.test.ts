import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { InputError, UnsupportedError } from "../errors.js";
import { backends, createBackend } from "../kernels/index.js";
import { type Encoder, encoderOf, loadDecoder, loadEncoder, shortened } from "./index.js";
import { pool } from "./sentence.js";

interface Case {
  readonly ids: readonly number[];
  readonly rows: readonly number[];
  readonly states: readonly (readonly number[])[];
  readonly vector: readonly number[];
}

const golden = new URL("../../../src/models/golden/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("encoders.json", golden), "utf8")) as { cases: Record<string, Case> };

async function withEncoder<T>(name: string, backendName: string, use: (encoder: Encoder) => T): Promise<T> {
  const backend = await createBackend(backendName);
  const checkpoint = await openCheckpoint(new URL(name, golden).pathname);
  try {
    return use(await loadEncoder(checkpoint, { backend }));
  } finally {
    await checkpoint.close();
    await backend.dispose();
  }
}

const settings: Record<string, object> = {
  bert: { pooling: "mean", normalize: true, context: 64, gelu: "erf", prefix: "" },
  "bert-cls": { pooling: "cls", normalize: false, context: 64, gelu: "tanh", prefix: "bert." },
};

for (const backend of backends.names) {
  for (const [name, { ids, vector }] of Object.entries(cases)) {
    test(`${name} on ${backend}: the vector is that of transformers within 2e-6 of the largest (f32 sums in another order)`, async () => {
      await withEncoder(name, backend, (encoder) => {
        const got = encoder.vectorOf(ids);
        const largest = Math.max(...vector.map(Math.abs));
        for (const [i, want] of vector.entries()) {
          assert.ok(Math.abs(got[i] - want) <= 2e-6 * largest, `element ${i}: ${got[i]} for ${want}`);
        }
        assert.deepEqual({ ...encoder.config, ...settings[name] }, encoder.config);
      });
    });
  }
}

test("every backend gives the same vector, bit for bit", async () => {
  const { ids } = cases.bert;
  const [first, ...others] = await Promise.all(
    backends.names.map((name) => withEncoder("bert", name, (encoder) => encoder.vectorOf(ids))),
  );
  for (const other of others) assert.deepEqual(other, first);
});

test("a text that is too long, empty or of unknown ids is refused", async () => {
  await withEncoder("bert", "wasm", (encoder) => {
    assert.throws(() => encoder.vectorOf(new Array(65).fill(1)), InputError);
    assert.throws(() => encoder.vectorOf([]), InputError);
    assert.throws(() => encoder.vectorOf([96]), InputError);
  });
});

test("an encoder is no decoder and says what runs it, and the other way round", async () => {
  const backend = await createBackend("wasm");
  const encoder = await openCheckpoint(new URL("bert", golden).pathname);
  const decoder = await openCheckpoint(new URL("qwen2", golden).pathname);
  const advice = (word: string) => (error: unknown) =>
    error instanceof UnsupportedError && (error.details.why ?? "").includes(word);
  await assert.rejects(loadDecoder(encoder, { backend }), advice("bitloom embed"));
  assert.throws(() => encoderOf(decoder), advice("bitloom run"));
  await Promise.all([encoder.close(), decoder.close(), backend.dispose()]);
});

test("pooling takes the mean or the first row, and normalizing leaves length 1", () => {
  const rows = Float32Array.of(1, 2, 3, 6);
  const context = 9;
  assert.deepEqual([...pool(rows, 2, { pooling: "mean", normalize: false, context })], [2, 4]);
  assert.deepEqual([...pool(rows, 2, { pooling: "cls", normalize: false, context })], [1, 2]);
  const unit = pool(rows, 2, { pooling: "mean", normalize: true, context });
  assert.ok(Math.abs(Math.hypot(...unit) - 1) < 1e-7);
  assert.deepEqual([...pool(new Float32Array(2), 1, { pooling: "mean", normalize: true, context })], [0, 0]);
});

test("a text that is too long loses its end and keeps the token that closes it", () => {
  const tokenizer = { addEos: true, eos: [9] } as unknown as Parameters<typeof shortened>[2];
  assert.deepEqual(shortened([1, 2, 3, 4, 9], 3, tokenizer), [1, 2, 9]);
  assert.deepEqual(shortened([1, 2, 9], 3, tokenizer), [1, 2, 9]);
});
