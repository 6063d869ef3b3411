/**
 * An architecture says how a checkpoint's numbers become logits: which weights there are, what each container calls
 * them, how the configuration is read and written, and one `forward` that serves prefill and decoding alike.
 */
import type { Checkpoint, Metadata } from "../checkpoints/checkpoint.js";
import type { GgufValue } from "../checkpoints/gguf/values.js";
import type { Backend, Buffer, Matrix } from "../kernels/backend.js";
import type { Named } from "../registry.js";
import type { Linear } from "./linear.js";

/** Rotary embedding: angle of pair i at position p is p * base^(-2 i / headSize) / factors[i]. */
export interface Rope {
  readonly base: number;
  /** One divisor for each pair, for models with scaled positions; absent means 1. */
  readonly factors?: Float32Array;
}

/** The shape of a decoder-only transformer. */
export interface DecoderConfig {
  readonly vocabularySize: number;
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** The longest sequence the model was trained for. */
  readonly context: number;
  readonly epsilon: number;
  readonly rope: Rope;
  /** The head is the embedding matrix. */
  readonly tied: boolean;
}

/** One weight: what it is for, what it is called, what it must look like. */
export interface WeightSpec {
  /** Its place in the architecture, the same in every container: "embedding", "layers.3.query". */
  readonly role: string;
  readonly shape: readonly number[];
  /** Name by container; a container without an entry derives the weight from its metadata. */
  readonly names: { readonly safetensors?: string; readonly gguf?: string };
  readonly optional?: boolean;
  /** Rows of the GGUF file in terms of the canonical (Hugging Face) order: file row i is canonical row order[i]. */
  readonly ggufRows?: readonly number[];
}

/** Loaded weights by role: linear maps for what is multiplied, matrices for tables, buffers for norms. */
export interface Weights {
  /** The matrix of that role with its bias and all else that belongs to the map; see applyLinear. */
  linear(role: string): Linear;
  matrix(role: string): Matrix;
  vector(role: string): Buffer;
  optionalVector(role: string): Buffer | undefined;
}

/** Keys and values of the positions already seen, one pair of buffers [context, kvHeads * headSize] a layer. */
export interface KvCache {
  readonly context: number;
  readonly keys: readonly Buffer[];
  readonly values: readonly Buffer[];
}

export interface ForwardState {
  readonly backend: Backend;
  readonly config: DecoderConfig;
  readonly weights: Weights;
  readonly cache: KvCache;
  readonly scratch: Scratch;
}

/** Activations of one forward step, sized for the largest batch, made once a session. */
export interface Scratch {
  readonly batch: number;
  readonly x: Buffer;
  readonly normed: Buffer;
  readonly query: Buffer;
  readonly mixed: Buffer;
  readonly projected: Buffer;
  readonly gate: Buffer;
  readonly up: Buffer;
  readonly logits: Buffer;
  readonly cos: Buffer;
  readonly sin: Buffer;
}

/**
 * Called with the input of every linear map before it runs, and before the map's own input steps: role inside the layer
 * ("query"), rows, and how many.
 */
export type Observer = (role: string, input: Buffer, batch: number) => void;

/** Linear maps of a layer that read the same input, in the order in which they run. */
export interface LinearGroup {
  /** Roles inside a layer: "query", "key", "value". */
  readonly roles: readonly string[];
  /**
   * What can take over a division of the input, channel by channel: the gain of the norm before, or the rows (and bias) of
   * the linear map before. Absent where nothing can without changing the outputs.
   */
  readonly producer?: { readonly role: string; readonly kind: "gain" | "rows" };
}

/** The forward pass in parts, for work that takes one layer at a time. `forward` is made of the same functions. */
export interface ForwardParts {
  /** Writes the hidden states of `ids` to scratch.x. */
  embed(state: ForwardState, ids: ArrayLike<number>): void;
  /** One layer on scratch.x, in place. */
  layer(state: ForwardState, layer: number, batch: number, position: number, observe?: Observer): void;
  /** The input of the head for the last `count` of `batch` rows of scratch.x. */
  headInput(state: ForwardState, batch: number, count: number): Buffer;
  linears(config: DecoderConfig): readonly LinearGroup[];
}

export interface Architecture extends Named {
  readonly summary: string;
  readonly source: string;
  /** `model_type` values of config.json that this architecture reads. */
  readonly modelTypes: readonly string[];
  /** `general.architecture` in GGUF. */
  readonly gguf: string;
  /** Reads the configuration; a FileError names a key that is missing or senseless. */
  parse(checkpoint: Checkpoint): DecoderConfig;
  weights(config: DecoderConfig): readonly WeightSpec[];
  /** config.json of this configuration. */
  toHuggingFace(config: DecoderConfig): Metadata;
  /** The architecture's GGUF keys of this configuration. */
  toGguf(config: DecoderConfig): Record<string, GgufValue>;
  /**
   * Runs ids at positions position .. position + ids.length - 1, appending to the cache. Returns logits: one row for
   * each id, or for the last alone.
   */
  forward(state: ForwardState, ids: ArrayLike<number>, position: number, rows: "all" | "last"): Buffer;
  readonly parts: ForwardParts;
}
