/**
 * The promise for several sequences on whole models: each has the greedy text and the logits, to the last bit, that it has alone, for
 * batches of 1 to 16, one thread and two, f32 and packed caches, every backend.
 */
import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Backend, createBackend } from "../../src/kernels/index.js";
import { argmax, type Model, openModel, parseCacheScheme } from "../../src/models/index.js";
import { MODEL, missing } from "./smollm2.js";

const DEMO = fileURLToPath(new URL("../../../demo", import.meta.url));
const withoutDemo = existsSync(DEMO) ? false : "skipped, because the demo model is not there";
const TEXTS = [
  "Call me",
  "The whale",
  "It was a bright day when",
  "There",
  "A ship that",
  "Of the sea, and",
  "No",
  "On",
];

interface Continued {
  readonly ids: readonly number[];
  readonly logits: readonly Float32Array[];
}

interface Prompt {
  readonly ids: readonly number[];
  readonly tokens: number;
}

const promptsOf = ({ tokenizer }: Model, count: number, tokens: number): Prompt[] =>
  Array.from({ length: count }, (_, i) => ({
    ids: tokenizer.encode(`${TEXTS[i % TEXTS.length]}${" and".repeat(i >> 3)}`),
    tokens: tokens + (i % 3),
  }));

const cacheOf = (cache: string) => ({ context: 96, cache: parseCacheScheme(cache) });

function alone(model: Model, { ids, tokens }: Prompt, cache: string): Continued {
  const session = model.session(cacheOf(cache));
  const logits = [session.prefill(ids).slice()];
  const made = [argmax(logits[0])];
  while (made.length < tokens) {
    logits.push(session.forward([made[made.length - 1]], "last").slice());
    made.push(argmax(logits[logits.length - 1]));
  }
  session.dispose();
  return { ids: made, logits };
}

/** All prompts at once; those that end earlier leave the batch. */
function together(model: Model, prompts: readonly Prompt[], cache: string): Continued[] {
  const batch = model.batch({ sequences: prompts.length, ...cacheOf(cache) });
  const all = prompts.map(({ ids, tokens }) => {
    const session = batch.open();
    const logits = [session.prefill(ids).slice()];
    return { session, tokens, logits, ids: [argmax(logits[0])] };
  });
  for (;;) {
    const active = all.filter(({ ids, tokens }) => ids.length < tokens);
    if (active.length === 0) break;
    const logits = batch.forward(
      active.map(({ session }) => session),
      active.map(({ ids }) => ids[ids.length - 1]),
    );
    const size = logits.length / active.length;
    for (const [row, one] of active.entries()) {
      one.logits.push(logits.slice(row * size, (row + 1) * size));
      one.ids.push(argmax(one.logits[one.logits.length - 1]));
    }
  }
  batch.dispose();
  return all;
}

function assertSame(got: readonly Continued[], wanted: readonly Continued[], what: string): void {
  for (const [i, { ids, logits }] of wanted.entries()) {
    assert.deepEqual(got[i].ids, ids, `${what}: the text of sequence ${i}`);
    for (const [step, row] of logits.entries()) {
      const same = Buffer.compare(Buffer.from(row.buffer), Buffer.from(got[i].logits[step].slice().buffer)) === 0;
      assert.ok(same, `${what}: logits ${step} of sequence ${i}`);
    }
  }
}

async function withModel(path: string, name: string, threads: number, use: (model: Model) => void): Promise<void> {
  const backend: Backend = await createBackend(name, { threads });
  const model = await openModel(path, { backend });
  try {
    use(model);
  } finally {
    model.dispose();
    await backend.dispose();
  }
}

for (const cache of ["f32", "int8-g32", "keys=int4-g32-asym:channel,values=e4m3fn:token,window=4"]) {
  test(`demo, cache ${cache}: 1 to 16 sequences at once are each as alone, bit for bit, one thread and two`, {
    skip: withoutDemo,
  }, async () => {
    let wanted: Continued[] = [];
    await withModel(DEMO, "wasm", 1, (model) => {
      const prompts = promptsOf(model, 16, cache === "f32" ? 6 : 40);
      wanted = prompts.map((prompt) => alone(model, prompt, cache));
      for (const count of cache === "f32" ? [1, 2, 3, 4, 5, 7, 8, 13, 16] : [2, 16]) {
        assertSame(together(model, prompts.slice(0, count), cache), wanted.slice(0, count), `${count} sequences`);
      }
    });
    await withModel(DEMO, "wasm", 2, (model) => {
      const prompts = promptsOf(model, 16, cache === "f32" ? 6 : 40);
      assertSame(together(model, prompts, cache), wanted, "two threads");
    });
    if (cache !== "f32") return;
    await withModel(DEMO, "reference", 1, (model) => {
      assertSame(together(model, promptsOf(model, 2, 6), cache), wanted.slice(0, 2), "the reference");
    });
  });
}

test("SmolLM2: six sequences at once are each as alone, on one thread and two", { skip: missing }, async () => {
  let wanted: Continued[] = [];
  for (const threads of [1, 2]) {
    await withModel(MODEL, "wasm", threads, (model) => {
      const prompts = promptsOf(model, 6, 2);
      if (threads === 1) wanted = prompts.map((prompt) => alone(model, prompt, "f32"));
      assertSame(together(model, prompts, "f32"), wanted, `${threads} threads`);
    });
  }
});
