/**
 * Keys and values of past positions: as they are, or packed in a scheme.
 *
 * Packed positions come in chunks of C, and the newest ones stay in f32: for the query at position p the positions before
 * C floor((p + 1 - window) / C) are packed. That depends on p alone, so a prompt read whole, in pieces or token by token gives
 * the same bits; a step of several rows is cut where the number of packed positions changes. What has been packed stays
 * packed when a session is rewound behind it.
 */
import { schemes } from "../formats/index.js";
import type { Backend, Buffer, Past } from "../kernels/backend.js";
import type { DecoderConfig, KvCache } from "./architecture.js";
import { type CacheScheme, type CacheSide, chunkOf } from "./cache-scheme.js";

interface Size {
  readonly backend: Backend;
  readonly config: DecoderConfig;
  readonly context: number;
  /** The most rows of a step. */
  readonly batch: number;
}

interface PlainSize extends Omit<Size, "batch"> {
  /** Default: the backend's own. */
  readonly allocate?: (length: number) => Buffer;
}

/** Keys and values in f32, for `layers` layers; with one, all layers share it, which suits work on a layer at a time. */
export function plainCache(size: PlainSize, layers = size.config.layers): KvCache {
  const { backend, config, context, allocate = (length) => backend.allocate(length) } = size;
  const { heads, kvHeads, headSize } = config;
  const width = kvHeads * headSize;
  const side = () => Array.from({ length: layers }, () => allocate(context * width));
  const [keys, values] = [side(), side()];
  const at = (buffers: readonly Buffer[], layer: number) => buffers[layer % layers];
  return {
    bytes: 8 * keys.length * context * width,
    fresh: (layer, position) => ({ keys: at(keys, layer), values: at(values, layer), row: position }),
    attend(out, q, layer, position, batch) {
      const shape = { batch, position, heads, kvHeads, headSize };
      backend.attention(out, q, at(keys, layer), at(values, layer), shape);
    },
    advance() {},
    rewind() {},
    dispose() {
      for (const buffer of [...keys, ...values].reverse()) backend.free(buffer);
    },
  };
}

/** The cache that a row of a step belongs to, and the position that the row stands at in it. */
export interface RowCache {
  readonly cache: KvCache;
  readonly position: number;
}

/**
 * Caches of several sequences as one, for a step with a row of each: new keys and values are gathered in `fresh`, and go to
 * their own caches before each row attends to its own.
 */
export function gatheredCache(
  { backend, config }: Pick<Size, "backend" | "config">,
  rows: readonly RowCache[],
  fresh: { readonly keys: Buffer; readonly values: Buffer },
): KvCache {
  const { heads, kvHeads, headSize } = config;
  const width = kvHeads * headSize;
  const row = (buffer: Buffer, index: number, length: number) => buffer.view(index * length, length);
  const alone = () => {
    throw new Error("sequences of a batch move on by themselves");
  };
  return {
    bytes: 0,
    fresh: () => ({ ...fresh, row: 0 }),
    attend(out, q, layer) {
      for (const [index, { cache, position }] of rows.entries()) {
        const { keys, values, row: at } = cache.fresh(layer, position);
        backend.copy(row(keys, at, width), row(fresh.keys, index, width), width);
        backend.copy(row(values, at, width), row(fresh.values, index, width), width);
      }
      for (const [index, { cache, position }] of rows.entries()) {
        const part = (buffer: Buffer) => row(buffer, index, heads * headSize);
        cache.attend(part(out), part(q), layer, position, 1);
      }
    },
    advance: alone,
    rewind: alone,
    dispose: alone,
  };
}

/** Keys and values packed in schemes. */
export function packedCache(size: Size, scheme: CacheScheme): KvCache {
  const { backend, config, context, batch: mostRows } = size;
  const { layers, heads, kvHeads, headSize } = config;
  const { window, rotate } = scheme;
  const chunk = chunkOf(scheme);
  const width = kvHeads * headSize;
  const buffers: Buffer[] = [];
  const room = (length: number) => {
    const buffer = backend.allocate(length);
    buffers.push(buffer);
    return buffer;
  };
  const newest = Math.min(context, window + chunk + mostRows);
  const shared = { turned: room(chunk * width), moved: room(newest * width) };
  const sides = [scheme.keys, scheme.values].map((side) => ({
    recent: Array.from({ length: layers }, () => room(newest * width)),
    past: Array.from({ length: layers }, () => packedSide(size, side, chunk, shared.turned)),
  }));
  const ones = rotate ? backend.upload(new Float32Array(headSize).fill(1)) : undefined;
  if (ones) buffers.push(ones);
  /** Positions before this are packed, the others stand in `recent` from its start on. */
  let packed = 0;
  const packedFor = (position: number) => chunk * Math.floor(Math.max(0, position + 1 - window) / chunk);
  /** The positions that have been packed once this step is through. */
  const packedAfter = (end: number) => Math.max(packed, packedFor(end - 1));

  function attend(out: Buffer, q: Buffer, layer: number, position: number, batch: number): void {
    const end = position + batch;
    if (ones) {
      const fresh = sides[0].recent[layer].view((position - packed) * width, batch * width);
      backend.hadamard(q, q, ones, headSize, batch * heads);
      backend.hadamard(fresh, fresh, ones, headSize, batch * kvHeads);
    }
    let done = packed;
    for (let row = position; row < end; ) {
      for (; done < packedFor(row); done += chunk) {
        for (const { recent, past } of sides)
          past[layer].write(done, recent[layer].view((done - packed) * width, chunk * width));
      }
      const next = Math.min(end, packedFor(row) + chunk + window - 1);
      const part = (buffer: Buffer) =>
        buffer.view((row - position) * heads * headSize, (next - row) * heads * headSize);
      const [keys, values] = sides.map(({ recent, past }) => {
        const { store, axis } = past[layer];
        return { store, axis, recent: recent[layer].view((done - packed) * width, (next - done) * width) };
      });
      const shape = { batch: next - row, position: row, heads, kvHeads, headSize, packed: done, chunk };
      backend.attentionOverPacked(part(out), part(q), keys, values, shape);
      row = next;
    }
    if (done > packed)
      for (const { recent } of sides) moveUp(recent[layer], (done - packed) * width, (end - done) * width);
  }

  /** Brings `count` numbers from `start` on to the start. */
  function moveUp(buffer: Buffer, start: number, count: number): void {
    if (count === 0) return;
    backend.copy(shared.moved, buffer.view(start, count), count);
    backend.copy(buffer, shared.moved, count);
  }

  return {
    bytes:
      4 * buffers.reduce((sum, { length }) => sum + length, 0) +
      sides.flatMap(({ past }) => past).reduce((sum, { store }) => sum + store.bytes, 0),
    fresh(layer, position) {
      const [keys, values] = sides.map(({ recent }) => recent[layer]);
      return { keys, values, row: position - packed };
    },
    attend,
    advance(end) {
      packed = packedAfter(end);
    },
    rewind(position) {
      if (position >= packed) return;
      const start = chunk * Math.floor(position / chunk);
      for (const { recent, past } of sides) {
        past.forEach((one, layer) => {
          if (position > start) one.read(recent[layer].view(0, chunk * width), start);
        });
      }
      packed = start;
    },
    dispose() {
      for (const { past } of sides) for (const { store } of past) backend.freeRows(store);
      for (const buffer of buffers.splice(0).reverse()) backend.free(buffer);
    },
  };
}

/** The packed positions of one layer on one side, chunk by chunk. */
interface PackedSide extends Pick<Past, "store" | "axis"> {
  /** Packs the chunk that begins at a position. */
  write(position: number, chunk: Buffer): void;
  /** out: the numbers of that chunk, [chunk, width]. */
  read(out: Buffer, position: number): void;
}

function packedSide({ backend, config, context }: Size, side: CacheSide, chunk: number, turned: Buffer): PackedSide {
  const width = config.kvHeads * config.headSize;
  const chunks = Math.floor(context / chunk);
  const scheme = schemes.get(side.scheme);
  const { axis } = side;
  if (axis === "token") {
    const store = backend.createRows(scheme, chunks * chunk, width);
    return {
      ...{ store, axis },
      write: (position, x) => backend.pack(store, position, x, chunk),
      read: (out, position) => backend.unpack(out, store, position, chunk),
    };
  }
  const store = backend.createRows(scheme, chunks * width, chunk);
  return {
    ...{ store, axis },
    write(position, x) {
      backend.transpose(turned, x, 1, chunk, width);
      backend.pack(store, (position / chunk) * width, turned, width);
    },
    read(out, position) {
      backend.unpack(turned, store, (position / chunk) * width, width);
      backend.transpose(out, turned, 1, width, chunk);
    },
  };
}
