/**
 * Attention over keys and values held in a scheme: read inside of the kernel, beside unpacking them first and attending then, and
 * beside an f32 cache. Medians in microseconds of one layer, 9 heads of 64 on 3 key-value heads:
 * `node dist/bench/cache.js [--threads N]`.
 */
import { parseArgs } from "node:util";
import { schemes } from "../src/formats/index.js";
import type { Backend, Past } from "../src/kernels/backend.js";
import { createBackend } from "../src/kernels/index.js";

const [HEADS, KV_HEADS, HEAD_SIZE, CHUNK, RECENT] = [9, 3, 64, 32, 64];
const WIDTH = KV_HEADS * HEAD_SIZE;

/** Rows of queries, and positions that the last of them sees. */
const SIZES = [
  [1, 256],
  [1, 1024],
  [1, 4096],
  [16, 1024],
] as const;

const CACHES: readonly (readonly [scheme: string, keys: Past["axis"], values: Past["axis"]])[] = [
  ["f16", "token", "token"],
  ["e4m3fn", "token", "token"],
  ["int8-g32", "channel", "token"],
  ["int4-g32-asym", "channel", "token"],
  ["int4-g32-asym", "token", "token"],
  ["int2-g32-asym", "channel", "token"],
  ["mxfp4", "token", "token"],
];

/** The median time of a call, in microseconds, over a quarter of a second. */
function microseconds(work: () => void): number {
  work();
  const times: number[] = [];
  for (const end = performance.now() + 250; performance.now() < end || times.length < 5; ) {
    const begin = performance.now();
    work();
    times.push(performance.now() - begin);
  }
  return 1000 * times.sort((a, b) => a - b)[times.length >> 1];
}

function* measure(backend: Backend, batch: number, positions: number): Generator<readonly [string, number, number]> {
  const packed = positions - RECENT;
  const room = (length: number) => backend.allocate(length);
  const x = backend.upload(Float32Array.from({ length: positions * WIDTH }, (_, i) => Math.sin(1.7 * i)));
  const q = backend.upload(Float32Array.from({ length: batch * HEADS * HEAD_SIZE }, (_, i) => Math.cos(i)));
  const [out, turned, view] = [room(q.length), room(x.length), room(x.length)];
  const shape = {
    ...{ batch, position: positions - batch, heads: HEADS, kvHeads: KV_HEADS, headSize: HEAD_SIZE },
    ...{ packed, chunk: CHUNK },
  };
  const attend = () => backend.attention(out, q, x, x, shape);
  yield ["f32", microseconds(attend), 0];
  const chunks = packed / CHUNK;
  const unpack = ({ store, axis }: Past) => {
    if (axis === "token") return backend.unpack(view, store, 0, packed);
    backend.unpack(turned, store, 0, chunks * WIDTH);
    backend.transpose(view, turned, chunks, WIDTH, CHUNK);
  };
  const held = (name: string, axis: Past["axis"]): Past => {
    const store = backend.createRows(
      schemes.get(name),
      axis === "token" ? packed : chunks * WIDTH,
      axis === "token" ? WIDTH : CHUNK,
    );
    if (axis === "channel") backend.transpose(turned, x, chunks, CHUNK, WIDTH);
    backend.pack(store, 0, axis === "token" ? x : turned, store.rows);
    return { store, axis, recent: x.view(packed * WIDTH, RECENT * WIDTH) };
  };
  for (const [scheme, keyAxis, valueAxis] of CACHES) {
    const [keys, values] = [held(scheme, keyAxis), held(scheme, valueAxis)];
    const inside = microseconds(() => backend.attentionOverPacked(out, q, keys, values, shape));
    const before = microseconds(() => {
      for (const past of [keys, values]) unpack(past);
      attend();
    });
    yield [`${scheme}, keys by ${keyAxis}, values by ${valueAxis}`, inside, before];
    for (const { store } of [values, keys]) backend.freeRows(store);
  }
  for (const buffer of [view, turned, out, q, x]) backend.free(buffer);
}

const { values } = parseArgs({ options: { threads: { type: "string", default: "1" } } });
const backend = await createBackend("wasm", { threads: Number(values.threads) });
for (const [batch, positions] of SIZES) {
  process.stdout.write(`\n${batch} row(s), ${positions} positions\n`);
  for (const [name, inside, before] of measure(backend, batch, positions)) {
    const unpacked = before > 0 ? `, unpacked first ${before.toFixed(0)}` : "";
    process.stdout.write(`  ${name}: ${inside.toFixed(0)}${unpacked}\n`);
  }
}
await backend.dispose();
