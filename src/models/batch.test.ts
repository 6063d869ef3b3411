/** Sequences in a batch on a tiny model: each has the logits that it has alone, to the last bit. */
import assert from "node:assert/strict";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { type Activations, type Backend, createBackend } from "../kernels/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import { parseCacheScheme } from "./cache-scheme.js";
import { argmax, type Decoder, generate, generateBatch, loadDecoder } from "./index.js";

const path = new URL("../../../src/models/golden/llama-tied", import.meta.url).pathname;

const open: Backend[] = [];
async function decoderOn(name: string, threads = 1, scheme?: string, activations?: Activations): Promise<Decoder> {
  const backend = await createBackend(name, { threads });
  open.push(backend);
  const checkpoint = await openCheckpoint(path);
  const read = async (tensor: string) => {
    const weight = await checkpoint.read(tensor);
    const held = scheme && weight.shape.length === 2;
    return held ? quantize(dequantize(weight), weight.shape, schemes.get(scheme)) : weight;
  };
  try {
    return await loadDecoder({ ...checkpoint, read }, { backend, activations });
  } finally {
    await checkpoint.close();
  }
}
after(() => Promise.all(open.map((backend) => backend.dispose())));
const decoder = await decoderOn("wasm");

/** Prompts of different lengths, and how many tokens follow each. */
const prompts = Array.from({ length: 16 }, (_, i) => ({
  ids: Array.from({ length: 3 + ((5 * i) % 23) }, (_, k) => 1 + ((i * 17 + k * 13) % 60)),
  tokens: 4 + ((i * 7) % 9),
}));

/** All logits of a prompt continued greedily alone. */
function alone(one: Decoder, { ids, tokens }: (typeof prompts)[number], cache?: string): Float32Array[] {
  const session = one.session({ context: 64, cache: cache === undefined ? undefined : parseCacheScheme(cache) });
  const rows = [session.prefill(ids).slice()];
  while (rows.length < tokens) rows.push(session.forward([argmax(rows[rows.length - 1])], "last").slice());
  session.dispose();
  return rows;
}

/** The same for all prompts, `count` of them at a time: when one ends the next takes its place. */
function together(one: Decoder, count: number, cache?: string): Float32Array[][] {
  const batch = one.batch({ sequences: count, context: 64, ...(cache && { cache: parseCacheScheme(cache) }) });
  const made: Float32Array[][] = prompts.map(() => []);
  let active: { index: number; session: ReturnType<typeof batch.open> }[] = [];
  let entered = 0;
  for (;;) {
    active = active.filter(({ index, session }) => {
      if (made[index].length < prompts[index].tokens) return true;
      session.dispose();
      return false;
    });
    for (; active.length < count && entered < prompts.length; entered++) {
      const session = batch.open();
      made[entered].push(session.prefill(prompts[entered].ids).slice());
      active.push({ index: entered, session });
    }
    if (active.length === 0) break;
    const ids = active.map(({ index }) => argmax(made[index][made[index].length - 1]));
    const logits = batch.forward(
      active.map(({ session }) => session),
      ids,
    );
    const size = logits.length / active.length;
    for (const [row, { index }] of active.entries()) made[index].push(logits.slice(row * size, (row + 1) * size));
  }
  batch.dispose();
  return made;
}

const wanted = prompts.map((prompt) => alone(decoder, prompt));

test("1 to 16 sequences at a time: the logits of each are those that it has alone, bit for bit, on one thread and two", async () => {
  const two = await decoderOn("wasm", 2);
  for (let count = 1; count <= 16; count++) {
    assert.deepEqual(together(decoder, count), wanted, `${count} at a time`);
    assert.deepEqual(together(two, count), wanted, `${count} at a time, two threads`);
  }
});

test("the reference has the same logits for 5 sequences at a time, bit for bit", async () => {
  assert.deepEqual(together(await decoderOn("reference"), 5), wanted);
});

for (const cache of ["int4-g16-asym", "keys=e4m3fn:token,values=int8-g8:token,window=3"]) {
  test(`${cache} as cache: the same logits alone and in batches of 1, 3 and 16, bit for bit`, () => {
    const packed = prompts.map((prompt) => alone(decoder, prompt, cache));
    for (const count of [1, 3, 16]) assert.deepEqual(together(decoder, count, cache), packed, `${count} at a time`);
  });
}

for (const activations of ["int8", "int3", "int1"] as const) {
  test(`${activations} activations: the same logits alone and in batches of 2, 7 and 16, bit for bit`, async () => {
    const integers = await decoderOn("wasm", 2, "int4-g16", activations);
    const rounded = prompts.map((prompt) => alone(integers, prompt));
    for (const count of [2, 7, 16]) assert.deepEqual(together(integers, count), rounded, `${count} at a time`);
  });
}

/** Ids as letters; no end token but 7. */
const letters: Tokenizer = {
  ...{ size: 64, eos: [7], addBos: false, addEos: false },
  encode: (text) => Array.from(text, (letter) => letter.charCodeAt(0) - 64),
  decode: (ids) => Array.from(ids, (id) => String.fromCharCode(64 + id)).join(""),
  stream: () => ({ push: (id) => String.fromCharCode(64 + id), end: () => "" }),
};

test("generated texts are those of each prompt alone, drawn by its own seed, whatever the number at a time", () => {
  const options = { tokens: 12, temperature: 2, seed: 3 };
  const given = prompts.map(({ ids }, i) => ({ ids, ...(i > 0 && { seed: 100 + i }) }));
  const texts = given.map(({ ids, seed = 3 }) => {
    const session = decoder.session({ context: 64 });
    const text = Array.from(generate(session, letters, ids, { ...options, seed }), (piece) => piece.text).join("");
    session.dispose();
    return text;
  });
  assert.ok(new Set(texts).size > 8 && texts.some(({ length }) => length < 12), "texts differ, and some end early");
  for (const sequences of [1, 4, 16]) {
    const batch = decoder.batch({ sequences, context: 64 });
    const made = given.map(() => "");
    const ended: number[] = [];
    const read = new Map<number, number>();
    const onPrompt = (prompt: number, done: number) => read.set(prompt, done);
    for (const piece of generateBatch(batch, letters, given, { ...options, onPrompt })) {
      if ("ended" in piece) ended.push(piece.prompt);
      else made[piece.prompt] += piece.text;
    }
    batch.dispose();
    assert.deepEqual(made, texts, `${sequences} at a time`);
    assert.deepEqual(
      ended.sort((a, b) => a - b),
      given.map((_, i) => i),
    );
    assert.deepEqual(
      [...read.entries()].sort(([a], [b]) => a - b),
      given.map(({ ids }, i) => [i, ids.length]),
    );
  }
});

test("steps that do not fit a batch are input errors, and a generation that is broken off gives its memory back", () => {
  const batch = decoder.batch({ sequences: 2, context: 8 });
  const [a, b] = [batch.open(), batch.open(2)];
  a.prefill([1, 2]);
  b.prefill([1, 2]);
  const stranger = decoder.session({ context: 8 });
  assert.throws(() => batch.forward([a], [1, 2]), InputError, "as many ids as sequences");
  assert.throws(() => batch.forward([], []), InputError, "at least one");
  assert.throws(() => batch.forward([a, a], [1, 2]), InputError, "twice the same");
  assert.throws(() => batch.forward([stranger], [1]), InputError, "a session of its own");
  assert.throws(() => batch.forward([a, b], [1, 2]), /context of 2 tokens is full/);
  assert.throws(() => batch.forward([a], [9999]), /outside the vocabulary/);
  assert.equal(a.position, 2, "nothing has moved");
  b.dispose();
  assert.throws(() => batch.forward([b], [1]), InputError, "disposed of");
  for (const _ of generateBatch(
    batch,
    letters,
    prompts.slice(0, 3).map(({ ids }) => ({ ids: ids.slice(0, 3) })),
    { tokens: 3 },
  ))
    break;
  stranger.dispose();
  const long = [{ ids: [1] }, { ids: Array.from({ length: 9 }, () => 1) }];
  assert.throws(() => [...generateBatch(batch, letters, long, { tokens: 1 })], /longer than the context/);
  batch.dispose();
  assert.throws(() => decoder.batch({ sequences: 0 }), InputError);
  assert.throws(() => [...generateBatch(batch, letters, [{ ids: [] }], { tokens: 1 })], InputError);
});
