import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { backends, createBackend } from "../kernels/index.js";
import { interleavedRows } from "./decoder-weights.js";
import { argmax, loadDecoder } from "./index.js";
import { inverse } from "./weights.js";

interface Case {
  readonly ids: readonly number[];
  readonly rows: readonly number[];
  readonly logits: readonly (readonly number[])[];
  readonly greedy: readonly number[];
}

const golden = new URL("../../../src/models/golden/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("golden.json", golden), "utf8")) as { cases: Record<string, Case> };

async function withDecoder<T>(
  name: string,
  backendName: string,
  use: (decoder: Awaited<ReturnType<typeof loadDecoder>>) => T,
) {
  const backend = await createBackend(backendName);
  const checkpoint = await openCheckpoint(new URL(name, golden).pathname);
  try {
    return use(await loadDecoder(checkpoint, { backend }));
  } finally {
    await checkpoint.close();
    await backend.dispose();
  }
}

for (const backend of backends.names) {
  for (const [name, { ids, rows, logits, greedy }] of Object.entries(cases)) {
    test(`${name} on ${backend}: logits equal those of transformers within 1e-4 of the largest (f32 sums in another order)`, async () => {
      await withDecoder(name, backend, (decoder) => {
        const session = decoder.session({ batch: 128 });
        const got = session.forward(ids, "all");
        const width = decoder.config.vocabularySize;
        rows.forEach((row, i) => {
          const scale = Math.max(...logits[i].map(Math.abs));
          logits[i].forEach((want, token) => {
            const error = Math.abs(got[row * width + token] - want);
            assert.ok(error <= 1e-4 * scale, `row ${row}, token ${token}: ${error}`);
          });
        });
      });
    });

    test(`${name} on ${backend}: greedy tokens equal those of transformers`, async () => {
      await withDecoder(name, backend, (decoder) => {
        const session = decoder.session();
        const tokens = [argmax(session.prefill(ids))];
        while (tokens.length < greedy.length) tokens.push(argmax(session.forward(tokens.slice(-1), "last")));
        assert.deepEqual(tokens, greedy);
      });
    });
  }

  test(`${backend}: the same logits, bit for bit, whatever the chunks a prompt is read in`, async () => {
    const { ids } = cases["llama-tied"];
    await withDecoder("llama-tied", backend, (decoder) => {
      const read = (batch: number) => decoder.session({ batch }).prefill(ids).slice();
      const whole = read(128);
      for (const batch of [1, 3, 16, 64]) assert.deepEqual(read(batch), whole);
    });
  });

  test(`${backend}: rewinding forgets: the same continuation after a detour`, async () => {
    const { ids } = cases.qwen2;
    await withDecoder("qwen2", backend, (decoder) => {
      const session = decoder.session();
      session.prefill(ids.slice(0, 20));
      const straight = session.forward([5], "last").slice();
      session.rewind(20);
      session.prefill([9, 9, 9]);
      session.rewind(20);
      assert.deepEqual(session.forward([5], "last"), straight);
    });
  });
}

test("GGUF's rotary row order is a permutation that pairs i with i + headSize / 2", () => {
  assert.deepEqual(interleavedRows(2, 4), [0, 2, 1, 3, 4, 6, 5, 7]);
  const order = interleavedRows(3, 8);
  assert.deepEqual(
    inverse(order).map((row) => order[row]),
    Array.from({ length: 24 }, (_, i) => i),
  );
});
