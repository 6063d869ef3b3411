/**
 * Several sequences in work at once. One step appends one token to each of them: the linear maps take all rows as one
 * product, so that weights are read once for all, and every row has the positions, keys and values of its own sequence.
 * Sequences may begin and end at any time and differ in length.
 *
 * No sum depends on which rows stand beside it, so at the deterministic level the logits of a sequence are those that it
 * would have alone, to the last bit.
 */
import { InputError } from "../errors.js";
import type { Backend, Buffer } from "../kernels/backend.js";
import type { DecoderConfig, ForwardState } from "./architecture.js";
import { gatheredCache, type RowCache } from "./kv-cache.js";
import {
  contextOf,
  createRoom,
  openSequence,
  type Sequence,
  type Session,
  type SessionOptions,
  type SessionParts,
} from "./session.js";

export interface Batch {
  /** The most sequences of a step. */
  readonly sequences: number;
  /** The longest that a sequence may become. */
  readonly context: number;
  /** A new sequence, empty, with room for `context` tokens; by default as many as the batch allows. */
  open(context?: number): Session;
  /**
   * Appends ids[i] to sessions[i], different sequences that this batch opened. Returns logits, [ids.length, vocabulary]; a
   * view that the next step of any of them overwrites.
   */
  forward(sessions: readonly Session[], ids: ArrayLike<number>): Float32Array;
  /** Gives all memory back, that of open sequences too. */
  dispose(): void;
}

export interface BatchOptions extends SessionOptions {
  /** The most sequences of a step. Default: 16. */
  readonly sequences?: number;
}

const DEFAULT_SEQUENCES = 16;

export function createBatch(parts: SessionParts, options: BatchOptions = {}): Batch {
  const { backend, architecture, config, weights } = parts;
  const { sequences = DEFAULT_SEQUENCES, batch = 64, cache } = options;
  if (!Number.isInteger(sequences) || sequences < 1) {
    const why = `got ${sequences}, wanted a whole number of at least 1`;
    throw new InputError("the number of sequences is wrong", { kind: "value-out-of-range", why });
  }
  const context = contextOf(config, options.context);
  const room = createRoom(parts, context, Math.max(sequences, Math.min(batch, context)));
  const rows = createRows(backend, config, sequences);
  const opened = new Map<Session, Sequence>();

  function own(session: Session): Sequence {
    const sequence = opened.get(session);
    if (sequence) return sequence;
    throw new InputError("a sequence belongs to another batch, or was disposed of");
  }

  function step(members: readonly Sequence[], ids: ArrayLike<number>): Buffer {
    const { scratch } = room;
    const caches = members.map(({ cache, position }) => ({ cache, position }));
    rows.stand(scratch, caches);
    const state: ForwardState = {
      ...{ backend, config, weights, cache: gatheredCache({ backend, config }, caches, rows) },
      scratch: { ...scratch, cos: rows.cos, sin: rows.sin },
    };
    return architecture.forward(state, ids, 0, "all");
  }

  return {
    sequences,
    context,
    open(length = context) {
      const sequence = openSequence(parts, room, { context: Math.min(length, context), cache }, () =>
        opened.delete(sequence),
      );
      opened.set(sequence, sequence);
      return sequence;
    },
    forward(sessions, ids) {
      if (sessions.length !== ids.length || ids.length < 1 || ids.length > sequences) {
        const why = `got ${sessions.length} sequences and ${ids.length} ids, wanted as many of both, 1 to ${sequences}`;
        throw new InputError("a step does not fit the batch", { kind: "value-out-of-range", why });
      }
      if (new Set(sessions).size < sessions.length) throw new InputError("a sequence stands in a step twice");
      const members = sessions.map(own);
      for (const [i, sequence] of members.entries()) sequence.demand([ids[i]]);
      const logits = backend.batch(() => step(members, ids));
      for (const sequence of members) sequence.advance(sequence.position + 1);
      return logits.data();
    },
    dispose() {
      for (const sequence of [...opened.values()]) sequence.dispose();
      rows.dispose();
      room.dispose();
    },
  };
}

/** What a step needs for each of its rows: new keys and values, and the rotary angles of its position. */
function createRows(backend: Backend, config: DecoderConfig, count: number) {
  const width = config.kvHeads * config.headSize;
  const half = config.headSize / 2;
  const [keys, values] = [backend.allocate(count * width), backend.allocate(count * width)];
  const [cos, sin] = [backend.allocate(count * half), backend.allocate(count * half)];
  const at = (buffer: Buffer, row: number) => buffer.view(row * half, half);
  return {
    keys,
    values,
    cos,
    sin,
    /** Row i stands where its sequence has come to. */
    stand(tables: { readonly cos: Buffer; readonly sin: Buffer }, sequences: readonly RowCache[]): void {
      for (const [row, { position }] of sequences.entries()) {
        backend.copy(at(cos, row), at(tables.cos, position), half);
        backend.copy(at(sin, row), at(tables.sin, position), half);
      }
    },
    dispose() {
      for (const buffer of [sin, cos, values, keys]) backend.free(buffer);
    },
  };
}
