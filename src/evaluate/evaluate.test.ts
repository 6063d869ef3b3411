import assert from "node:assert/strict";
import { test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { createBackend } from "../kernels/index.js";
import { type Decoder, loadDecoder } from "../models/index.js";
import { klDivergence, logSumExp } from "./distribution.js";
import { evaluate, liveReference, remember } from "./index.js";

const golden = new URL("../../../src/models/golden/", import.meta.url);
const ids = Array.from({ length: 200 }, (_, i) => (i * i * 7 + i) % 96);

async function withDecoders<T>(names: readonly string[], use: (decoders: readonly Decoder[]) => T): Promise<T> {
  const backend = await createBackend("wasm");
  try {
    const decoders: Decoder[] = [];
    for (const name of names) {
      const checkpoint = await openCheckpoint(new URL(name, golden).pathname);
      decoders.push(await loadDecoder(checkpoint, { backend }));
      await checkpoint.close();
    }
    return use(decoders);
  } finally {
    await backend.dispose();
  }
}

test("every token but the first is predicted once, from its own window alone", async () => {
  await withDecoders(["llama-tied"], ([decoder]) => {
    const context = 50;
    const result = evaluate(decoder, { ids, context });
    const session = decoder.session({ context, batch: 1 });
    let sum = 0;
    for (let at = 0; at + 1 < ids.length; at++) {
      if (at % context === 0) session.rewind(0);
      const logits = session.forward([ids[at]], "last");
      sum += logSumExp(logits) - logits[ids[at + 1]];
    }
    assert.equal(result.tokens, ids.length - 1);
    assert.ok(Math.abs(result.nll - sum / result.tokens) < 1e-12, "equal but for the order of a binary64 sum");
    assert.equal(result.perplexity, Math.exp(result.nll));
  });
});

test("a model compared with itself differs by nothing", async () => {
  await withDecoders(["qwen2"], ([decoder]) => {
    const against = liveReference(decoder, 64);
    const { comparison } = evaluate(decoder, { ids, context: 64, against });
    assert.deepEqual(comparison, { deltaNll: 0, deltaNllCi95: [0, 0], kl: 0, klCi95: [0, 0], top1Agreement: 1 });
  });
});

test("a remembered base gives the same comparison as one that runs beside", async () => {
  await withDecoders(["llama-tied", "qwen2"], ([model, base]) => {
    const options = { ids, context: 64 };
    const kept = remember(liveReference(base, 64));
    const compare = (against: typeof kept) => evaluate(model, { ...options, against }).comparison;
    const live = compare(liveReference(base, 64));
    assert.deepEqual(compare(kept), live);
    assert.deepEqual(compare(kept), live);
    assert.ok(live && live.kl > 0 && live.top1Agreement < 1);
  });
});

test("the divergence of two rows is the sum of the definition", () => {
  const [p, q] = [Float32Array.of(0, 1, 2), Float32Array.of(1, 1, 0.5)];
  const softmax = (row: Float32Array) => Array.from(row, (x) => Math.exp(x) / row.reduce((s, y) => s + Math.exp(y), 0));
  const [ps, qs] = [softmax(p), softmax(q)];
  const wanted = ps.reduce((sum, value, i) => sum + value * Math.log(value / qs[i]), 0);
  assert.ok(Math.abs(klDivergence(p, logSumExp(p), q, logSumExp(q)) - wanted) < 1e-12);
});
