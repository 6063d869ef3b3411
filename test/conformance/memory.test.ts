/** Memory is given back: models loaded, run and disposed of, hundreds of them, end in the memory of the first. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { type Checkpoint, openCheckpoint } from "../../src/checkpoints/index.js";
import { schemes } from "../../src/formats/index.js";
import { createBackend } from "../../src/kernels/index.js";
import type { WasmBackend } from "../../src/kernels/wasm/backend.js";
import { loadDecoder, parseCacheScheme } from "../../src/models/index.js";

const path = new URL("../../../src/models/golden/llama-tied", import.meta.url).pathname;
const CACHES = ["f32", "int8-g32", "keys=int4-g16-asym:channel,values=e4m3fn:token,window=2"];

/** Loads the model, runs a session and a batch whose sequences end at different times, and disposes of it all. */
async function lifetime(backend: WasmBackend, checkpoint: Checkpoint, cache: string) {
  const decoder = await loadDecoder(checkpoint, { backend, cache: parseCacheScheme(cache) });
  const session = decoder.session({ context: 48, batch: 40 });
  session.prefill(Array.from({ length: 40 }, (_, i) => i + 1));
  session.rewind(20);
  session.dispose();
  const batch = decoder.batch({ sequences: 3, context: 40, batch: 20 });
  const [a, b, c] = [batch.open(), batch.open(24), batch.open()];
  for (const one of [a, b, c]) one.prefill(Array.from({ length: 18 }, (_, i) => i + 2));
  batch.forward([a, b, c], [1, 2, 3]);
  b.dispose();
  batch.forward([c, a], [1, 2]);
  batch.dispose();
  decoder.dispose();
}

test("three hundred models with sessions, batches and packed caches leave the memory of the first few", async () => {
  const backend = (await createBackend("wasm")) as unknown as WasmBackend;
  const opened = await openCheckpoint(path);
  const names = opened.tensors.map(({ name }) => name);
  const weights = new Map(await Promise.all(names.map(async (name) => [name, await opened.read(name)] as const)));
  const checkpoint: Checkpoint = { ...opened, read: async (name) => weights.get(name) ?? (await opened.read(name)) };
  try {
    for (const cache of CACHES) await lifetime(backend, checkpoint, cache);
    const { used } = backend.engine.heap;
    const bytes = backend.engine.memory.buffer.byteLength;
    for (let i = 0; i < 300; i++) await lifetime(backend, checkpoint, CACHES[i % CACHES.length]);
    assert.equal(backend.engine.heap.used, used);
    assert.equal(backend.engine.memory.buffer.byteLength, bytes);
  } finally {
    await opened.close();
    await backend.dispose();
  }
});

test("a thousand packed caches, read inside of the kernel and unpacked first, leave the memory of the first few", async () => {
  const backend = (await createBackend("wasm", { threads: 2 })) as unknown as WasmBackend;
  const shape = { batch: 1, position: 40, heads: 2, kvHeads: 1, headSize: 16, packed: 32, chunk: 32 };
  const once = (name: string) => {
    const [q, out, recent] = [backend.allocate(32), backend.allocate(32), backend.allocate(9 * 16)];
    const [keys, values] = [
      { store: backend.createRows(schemes.get(name), 16, 32), axis: "channel", recent } as const,
      { store: backend.createRows(schemes.get(name), 32, 16), axis: "token", recent } as const,
    ];
    backend.attentionOverPacked(out, q, keys, values, shape);
    for (const { store } of [values, keys]) backend.freeRows(store);
    for (const buffer of [recent, out, q]) backend.free(buffer);
  };
  const names = ["int8-g16", "f16", "nvfp4", "int4-g8"];
  for (const name of names) once(name);
  const { used } = backend.engine.heap;
  for (let i = 0; i < 1000; i++) once(names[i % names.length]);
  assert.equal(backend.engine.heap.used, used);
  await backend.dispose();
});
