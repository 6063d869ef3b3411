/**
 * Tokens per second of several sequences in one batch, by how many there are: `node dist/bench/batch.js MODEL [--tokens N]
 * [--threads N] [--activations KIND] [--cache SCHEME]`. Prompts of 32 tokens are read before the clock starts.
 */
import { parseArgs } from "node:util";
import { type Activations, createBackend } from "../src/kernels/index.js";
import { argmax, type Model, openModel, parseCacheScheme } from "../src/models/index.js";

const COUNTS = [1, 2, 4, 8, 16];
const PROMPT = 32;

/** Tokens per second of `count` sequences together, the best of three runs of `tokens` steps. */
function tokensPerSecond(model: Model, count: number, tokens: number): number {
  const { vocabularySize } = model.config;
  const batch = model.batch({ sequences: count, context: PROMPT + tokens });
  const sessions = Array.from({ length: count }, () => batch.open());
  const best = [1, 2, 3].map(() => {
    let ids = sessions.map((session, i) => {
      session.rewind(0);
      return argmax(session.prefill(Array.from({ length: PROMPT }, (_, k) => (i * 911 + k * 7919) % vocabularySize)));
    });
    const begin = performance.now();
    for (let step = 0; step < tokens; step++) {
      const logits = batch.forward(sessions, ids);
      const size = logits.length / count;
      ids = ids.map((_, i) => argmax(logits.subarray(i * size, (i + 1) * size)));
    }
    return (1000 * count * tokens) / (performance.now() - begin);
  });
  batch.dispose();
  return Math.max(...best);
}

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    tokens: { type: "string", default: "24" },
    threads: { type: "string", default: "1" },
    activations: { type: "string", default: "int8" },
    cache: { type: "string", default: "f32" },
  },
});
const backend = await createBackend("wasm", { threads: Number(values.threads) });
const model = await openModel(positionals[0], {
  ...{ backend, activations: values.activations as Activations, cache: parseCacheScheme(values.cache) },
});
for (const count of COUNTS) {
  process.stdout.write(
    `${count} sequences: ${tokensPerSecond(model, count, Number(values.tokens)).toFixed(1)} tok/s\n`,
  );
}
model.dispose();
await backend.dispose();
