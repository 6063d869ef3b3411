/** Packed caches on a tiny model: what a position sees is decided by positions alone. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { openCheckpoint } from "../checkpoints/index.js";
import { InputError } from "../errors.js";
import { type Backend, createBackend } from "../kernels/index.js";
import { cacheText, chunkOf, parseCacheScheme } from "./cache-scheme.js";
import { type Decoder, loadDecoder } from "./index.js";

const golden = new URL("../../../src/models/golden/", import.meta.url);
const { cases } = JSON.parse(readFileSync(new URL("golden.json", golden), "utf8"));
/** Long enough for several chunks. */
const ids: number[] = Array.from(
  { length: 100 },
  (_, i) => cases["llama-tied"].ids[(7 * i) % cases["llama-tied"].ids.length],
);

const open: Backend[] = [];
async function decoderOn(name: string, threads = 1): Promise<Decoder> {
  const backend = await createBackend(name, { threads });
  open.push(backend);
  const checkpoint = await openCheckpoint(new URL("llama-tied", golden).pathname);
  try {
    return await loadDecoder(checkpoint, { backend });
  } finally {
    await checkpoint.close();
  }
}
after(() => Promise.all(open.map((backend) => backend.dispose())));
const wasm = await decoderOn("wasm");

const logits = (decoder: Decoder, cache: string | undefined, batch: number) => {
  const session = decoder.session({ batch, cache: cache === undefined ? undefined : parseCacheScheme(cache) });
  const last = session.prefill(ids).slice();
  const { cacheBytes } = session;
  session.dispose();
  return { last, cacheBytes };
};
const error = (a: Float32Array, b: Float32Array) =>
  Math.sqrt(a.reduce((sum, x, i) => sum + (x - b[i]) ** 2, 0) / b.reduce((sum, x) => sum + x * x, 0));

const SCHEMES = [
  "f16",
  "int8-g32",
  "mxfp4",
  "keys=int4-g16-asym:channel,values=int4-g8-asym:token,window=8",
  "keys=int4-g8-asym:token,values=e4m3fn:token,window=0",
  "keys=int2-g32-asym:channel,values=int2-g16-asym:channel,window=5,rotate",
];

for (const scheme of SCHEMES) {
  test(`${scheme}: the same logits, bit for bit, in chunks of 1, 7, 33 or 100, on one thread, two, and the reference`, async () => {
    const { last } = logits(wasm, scheme, 100);
    for (const batch of [1, 7, 33]) assert.deepEqual(logits(wasm, scheme, batch).last, last, `chunks of ${batch}`);
    assert.deepEqual(logits(await decoderOn("wasm", 2), scheme, 33).last, last, "two threads");
    assert.deepEqual(logits(await decoderOn("reference"), scheme, 33).last, last, "the reference");
  });
}

test("a window that covers all positions gives the logits of an f32 cache, bit for bit", () => {
  const all = "keys=int2-g32-asym:channel,values=int2-g32-asym:token,window=128";
  assert.deepEqual(logits(wasm, all, 20).last, logits(wasm, undefined, 20).last);
});

test("more bits bring the logits nearer to those of an f32 cache: 2, 4, 8 bits and f16", () => {
  const { last } = logits(wasm, undefined, 50);
  const errors = ["int2-g32-asym", "int4-g32-asym", "int8-g32", "f16"].map((scheme) =>
    error(logits(wasm, scheme, 50).last, last),
  );
  for (let i = 1; i < errors.length; i++) assert.ok(errors[i] < errors[i - 1], `${errors}`);
  assert.ok(errors[3] > 0 && errors[3] < 1e-3, `${errors}`);
});

test("rotating queries and keys changes the scores by rounding only, 1e-5 of the logits", () => {
  const turned = logits(wasm, "keys=f32:token,values=f32:token,window=0,rotate", 50).last;
  const { last } = logits(wasm, undefined, 50);
  assert.ok(error(turned, last) < 1e-5);
  assert.notDeepEqual(turned, last);
  assert.deepEqual(logits(wasm, "f32", 50).last, last, "and f32 for both sides is no packing at all");
});

test("rewinding forgets: back to the start as if new, and back among packed positions these stay packed", () => {
  const cache = parseCacheScheme("keys=int4-g16-asym:channel,values=int4-g8-asym:token,window=4");
  const session = wasm.session({ batch: 40, cache });
  const first = session.prefill(ids).slice();
  session.rewind(0);
  assert.deepEqual(session.prefill(ids), first, "from the start");
  const at = (position: number) => {
    session.rewind(position);
    return session.forward(ids.slice(position, position + 1), "last").slice();
  };
  const straight = wasm.session({ batch: 40, cache });
  straight.prefill(ids.slice(0, 90));
  assert.deepEqual(at(90), at(90), "twice the same");
  assert.ok(error(at(50), at(50)) === 0, "also behind what has been packed");
  straight.dispose();
  session.dispose();
});

test("a packed cache holds the bytes of its schemes, and gives all memory back", () => {
  const { heads: _, kvHeads, headSize, layers } = wasm.config;
  const width = kvHeads * headSize;
  const cache = parseCacheScheme("keys=int4-g32:channel,values=int4-g8:token,window=0");
  const session = wasm.session({ batch: 16, context: 128, cache });
  // Packed: 128 positions of 4 bits with an f16 scale for each 32 (keys) or 8 (values); in f32: the newest 48 positions of each
  // layer and side, room to move them, and room to turn a chunk. No f32 copy of what is packed.
  const packed = layers * 128 * width * (0.5 + 2 / 32 + 0.5 + 2 / 8);
  const plain = 4 * width * ((2 * layers + 1) * 48 + 32);
  assert.equal(session.cacheBytes, packed + plain);
  session.dispose();
});

test("the text of a cache is read back as it was meant, and nonsense is an input error", () => {
  for (const text of SCHEMES)
    assert.deepEqual(parseCacheScheme(cacheText(parseCacheScheme(text))), parseCacheScheme(text));
  assert.equal(chunkOf(parseCacheScheme("int4-g64")), 64);
  assert.equal(chunkOf(parseCacheScheme("keys=int4-g64:token,values=f16:token")), 16);
  for (const text of [
    "keys=int4-g32",
    "keys=int4-g32:row,values=f16",
    "window=3",
    "int4-g32,window=-1",
    "nope",
    "window=x",
  ]) {
    assert.throws(() => parseCacheScheme(text), InputError, text);
  }
});
