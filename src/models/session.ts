/** One sequence in work: a KV cache, the activations of a step, and the position reached. */
import { InputError } from "../errors.js";
import type { Backend, Buffer } from "../kernels/backend.js";
import type { DecoderArchitecture, DecoderConfig, KvCache, Scratch, Weights } from "./architecture.js";
import { type CacheScheme, isPlain } from "./cache-scheme.js";
import { packedCache, plainCache } from "./kv-cache.js";
import { openReplay } from "./replay.js";
import { ropeTables } from "./rope.js";

export interface Session {
  readonly context: number;
  /** The most ids that one call of `forward` takes. */
  readonly batch: number;
  /** Memory held for keys and values. */
  readonly cacheBytes: number;
  /** Ids seen so far. */
  readonly position: number;
  /**
   * Appends ids (at most `batch`) and returns logits, [ids.length, vocabulary] or [1, vocabulary] for "last"; a view
   * that the next call overwrites.
   */
  forward(ids: ArrayLike<number>, rows: "all" | "last"): Float32Array;
  /** Appends any number of ids in steps of `batch`; the logits of the last. */
  prefill(ids: readonly number[], onProgress?: (done: number) => void): Float32Array;
  /** Forgets everything from `position` on. */
  rewind(position: number): void;
  dispose(): void;
}

export interface SessionOptions {
  /** Longest sequence; memory for keys and values is taken for it. Default: the model's own context, at most 4096. */
  readonly context?: number;
  readonly batch?: number;
  /** How keys and values are held. Default: in f32. */
  readonly cache?: CacheScheme;
}

/** A model's parts that a session runs on. */
export interface SessionParts {
  readonly backend: Backend;
  readonly architecture: DecoderArchitecture;
  readonly config: DecoderConfig;
  readonly weights: Weights;
}

/** Activations of a step. Sessions that take turns may share them. */
export interface SessionRoom {
  readonly scratch: Scratch;
  /** Positions that the rotary tables know of. */
  readonly context: number;
  dispose(): void;
}

/** A session that others may join into a step of several sequences (batch.ts). */
export interface Sequence extends Session {
  readonly cache: KvCache;
  /** InputError where `ids` cannot be appended. */
  demand(ids: ArrayLike<number>): void;
  /** Positions up to `end` have been filled. */
  advance(end: number): void;
}

/** Rows of a step where nobody says how many. */
const DEFAULT_BATCH = 64;

export function createSession(parts: SessionParts, options: SessionOptions = {}): Session {
  const context = contextOf(parts.config, options.context);
  const room = createRoom(parts, context, Math.min(options.batch ?? DEFAULT_BATCH, context));
  return openSequence(parts, room, options, () => room.dispose());
}

/** The length asked for, or the model's own, at most 4096. InputError for one that the model was not trained for. */
export function contextOf(config: DecoderConfig, wanted = Math.min(config.context, 4096)): number {
  if (Number.isInteger(wanted) && wanted >= 1 && wanted <= config.context) return wanted;
  const why = `got ${wanted}, wanted 1 to ${config.context}, the length the model was trained for`;
  throw new InputError("the context length is wrong", { kind: "value-out-of-range", why });
}

export function createRoom({ backend, config }: SessionParts, context: number, batch: number): SessionRoom {
  const buffers: Buffer[] = [];
  const keep = (buffer: Buffer) => {
    buffers.push(buffer);
    return buffer;
  };
  return {
    scratch: makeScratch(backend, config, context, batch, keep),
    context,
    dispose() {
      for (const buffer of buffers.splice(0).reverse()) backend.free(buffer);
    },
  };
}

/** A session with a cache of its own and the room's activations. `disposed` is called when its memory was given back. */
export function openSequence(
  { backend, architecture, config, weights }: SessionParts,
  room: SessionRoom,
  options: Omit<SessionOptions, "batch">,
  disposed?: () => void,
): Sequence {
  const { scratch } = room;
  const context = Math.min(contextOf(config, options.context), room.context);
  const batch = Math.min(scratch.batch, context);
  const packed = options.cache && !isPlain(options.cache) ? options.cache : undefined;
  const cache = packed
    ? packedCache({ backend, config, context, batch }, packed)
    : plainCache({ backend, config, context });
  // Packed positions grow by chunks, so steps differ in more than the position.
  const replay = packed ? undefined : openReplay(backend);
  const state = { backend, config, weights, cache, scratch, replay };
  let position = 0;

  function demand(ids: ArrayLike<number>): void {
    if (ids.length < 1 || ids.length > batch)
      throw new InputError(`a step takes 1 to ${batch} tokens, got ${ids.length}`);
    if (position + ids.length > context) {
      const why = `${position} tokens are in it, ${ids.length} more do not fit`;
      throw new InputError(`the context of ${context} tokens is full`, {
        kind: "context-full",
        why,
        try: "a larger --context",
      });
    }
    for (let i = 0; i < ids.length; i++) {
      if (!Number.isInteger(ids[i]) || ids[i] < 0 || ids[i] >= config.vocabularySize) {
        throw new InputError(`token id ${ids[i]} is outside the vocabulary of ${config.vocabularySize}`, {
          kind: "unknown-token",
        });
      }
    }
  }

  function advance(end: number): void {
    position = end;
    cache.advance(end);
  }

  function forward(ids: ArrayLike<number>, rows: "all" | "last"): Float32Array {
    demand(ids);
    const logits = backend.batch(() => architecture.forward(state, ids, position, rows));
    advance(position + ids.length);
    return logits.data();
  }

  return {
    context,
    batch,
    cache,
    cacheBytes: cache.bytes,
    get position() {
      return position;
    },
    demand,
    advance,
    forward,
    prefill(ids, onProgress) {
      let logits = new Float32Array();
      for (let start = 0; start < ids.length; start += batch) {
        logits = forward(ids.slice(start, start + batch), "last") as Float32Array<ArrayBuffer>;
        onProgress?.(Math.min(start + batch, ids.length));
      }
      return logits;
    },
    rewind(to) {
      if (!Number.isInteger(to) || to < 0 || to > position)
        throw new InputError(`cannot rewind from ${position} to ${to}`);
      cache.rewind(to);
      position = to;
    },
    dispose() {
      replay?.dispose();
      cache.dispose();
      disposed?.();
    },
  };
}

export function makeScratch(
  backend: Backend,
  config: DecoderConfig,
  context: number,
  batch: number,
  keep: (buffer: Buffer) => Buffer,
): Scratch {
  const rows = (width: number) => keep(backend.allocate(batch * width));
  const { cos, sin } = ropeTables(config.rope, config.headSize, context);
  return {
    batch,
    x: rows(config.width),
    normed: rows(config.width),
    query: rows(config.heads * config.headSize),
    keys: rows(config.kvHeads * config.headSize),
    values: rows(config.kvHeads * config.headSize),
    mixed: rows(config.heads * config.headSize),
    projected: rows(config.width),
    gate: rows(config.hidden),
    up: rows(config.hidden),
    logits: rows(config.vocabularySize),
    cos: keep(backend.upload(cos)),
    sin: keep(backend.upload(sin)),
  };
}
