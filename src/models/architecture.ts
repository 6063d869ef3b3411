/**
 * An architecture says how a checkpoint's numbers become logits or vectors: which weights there are, what each container
 * calls them, how the configuration is read and written, and one `forward`. A decoder's serves prefill and decoding alike
 * and ends in logits; an encoder's takes a whole text and ends in one vector for each token.
 */
import type { Checkpoint, Metadata } from "../checkpoints/checkpoint.js";
import type { GgufValue } from "../checkpoints/gguf/values.js";
import type { Backend, Buffer, Matrix, StoredHeads } from "../kernels/backend.js";
import type { GeluForm } from "../kernels/gelu.js";
import type { Products } from "../kernels/index.js";
import type { Named } from "../registry.js";
import type { Linear } from "./linear.js";
import type { Replay } from "./replay.js";

/** Rotary embedding: angle of pair i at position p is p * base^(-2 i / headSize) / factors[i]. */
export interface Rope {
  readonly base: number;
  /** One divisor for each pair, for models with scaled positions; absent means 1. */
  readonly factors?: Float32Array;
}

/** The shape of a transformer. */
export interface ModelConfig {
  readonly vocabularySize: number;
  readonly width: number;
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  readonly kvHeads: number;
  readonly headSize: number;
  /** The longest sequence the model was trained for, in tokens, special ones included. */
  readonly context: number;
  readonly epsilon: number;
  /** The head, if there is one, is the embedding matrix. */
  readonly tied: boolean;
}

/** The shape of a decoder-only transformer. */
export interface DecoderConfig extends ModelConfig {
  readonly rope: Rope;
}

/** The shape of an encoder, and how its vectors become one for a text. */
export interface EncoderConfig extends ModelConfig {
  /** Kinds of token with an embedding of their own: BERT's first and second sentence. A text is all of the first kind. */
  readonly tokenTypes: number;
  readonly gelu: GeluForm;
  readonly pooling: Pooling;
  /** Whether the vector of a text is divided by its length. */
  readonly normalize: boolean;
  /** Rows of the table of positions; `context` may be less. */
  readonly positions: number;
  /** What stands before all names in the safetensors file: "" or "bert.". */
  readonly prefix: string;
}

/** The mean of all tokens' vectors, or the vector of the first token. */
export type Pooling = "mean" | "cls";

/** One weight: what it is for, what it is called, what it must look like. */
export interface WeightSpec {
  /** Its place in the architecture, the same in every container: "embedding", "layers.3.query". */
  readonly role: string;
  readonly shape: readonly number[];
  /** Name by container; a container without an entry derives the weight from its metadata. */
  readonly names: { readonly safetensors?: string; readonly gguf?: string };
  readonly optional?: boolean;
  /** Rows are looked up and nothing is multiplied with them, so the table keeps its numbers when a model is quantized. */
  readonly table?: boolean;
  /** The numbers that the configuration implies where a file does not hold them. */
  readonly implied?: Float32Array;
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

/** Keys and values of the positions already seen, held in whatever way (kv-cache.ts). */
export interface KvCache {
  /** Of memory that is held for it. */
  readonly bytes: number;
  /** Where a layer puts the keys and values of new positions: at the row of the first, the others after it. */
  fresh(layer: number, position: number): StoredHeads;
  /** out, as q: causal attention of `batch` rows from `position` on. q may be changed. */
  attend(out: Buffer, q: Buffer, layer: number, position: number, batch: number): void;
  /** All layers have seen the positions before `end`. */
  advance(end: number): void;
  /** Positions from `position` on are forgotten. */
  rewind(position: number): void;
  dispose(): void;
}

/** What every layer works on; architectures add what theirs need. */
export interface LayerState {
  readonly backend: Backend;
  readonly weights: Weights;
  /** x: the hidden states. */
  readonly scratch: { readonly x: Buffer };
}

export interface ForwardState extends LayerState {
  readonly config: DecoderConfig;
  readonly cache: KvCache;
  readonly scratch: Scratch;
  /** Repeats the work of single tokens; absent where it differs in more than the position. */
  readonly replay?: Replay;
}

/** Activations of one forward step, sized for the largest batch, made once a session. */
export interface Scratch {
  readonly batch: number;
  readonly x: Buffer;
  readonly normed: Buffer;
  readonly query: Buffer;
  /** New keys and values on their way to the cache. */
  readonly keys: Buffer;
  readonly values: Buffer;
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
  readonly producer?: {
    readonly role: string;
    readonly kind: "gain" | "rows";
    /** Whether a shift of the producer's bias reaches the input as it is: behind a norm, or a mean with weights of sum 1. */
    readonly shifts: boolean;
  };
}

/**
 * How the weights of a decoder hang together beyond one input, for changes of basis that leave the outputs as they are
 * (quantize/fold.ts). What reads the residual stream are the groups whose producer is a gain, and the head.
 */
export interface WeightGraph {
  /** The stream between layers, if its norms see lengths alone (RMSNorm), so that an orthogonal matrix may turn it. */
  readonly stream: {
    /** Tables whose rows enter it, and roles inside a layer that add to it. */
    readonly tables: readonly string[];
    readonly writers: readonly string[];
    /** The norm before the head, the head where it is not a table, and what the configuration then says. */
    readonly norm: string;
    readonly head: string;
    readonly untied: Readonly<Record<string, boolean>>;
  };
  /** Roles inside a layer; heads of `headSize` rows, rotary positions pairing row i with i + headSize / 2. */
  readonly attention: {
    readonly query: string;
    readonly key: string;
    readonly value: string;
    readonly output: string;
  };
}

/** A decoder's way from hidden states to logits. */
export interface Head<Config extends ModelConfig, State extends LayerState> {
  /** The weight that makes logits: "head", or "embedding" where that is the same matrix. */
  role(config: Config): string;
  /** Weights that `input` reads. */
  readonly before: readonly string[];
  /** The input of the head for the last `count` of `batch` rows of scratch.x. */
  input(state: State, batch: number, count: number): Buffer;
}

/** The numbers of one layer by role inside it: "attentionNorm", "query", "query.bias". */
export type LayerNumbers = ReadonlyMap<string, Float32Array>;

export interface LayerTrace {
  /** The hidden states after the layer. */
  readonly outputs: Float32Array;
  /** The gradient of every matrix, by role, from that of the outputs. */
  backward(outputGradient: Float32Array): LayerNumbers;
}

/** Some rows on their way through a layer, which its stages pass on to each other. */
export interface LayerPass<State extends LayerState> {
  readonly state: State;
  readonly layer: number;
  readonly batch: number;
  readonly position: number;
  /** Rows whose states after the layer are wanted, the last ones; keys and values are made of all. */
  readonly wanted: number;
  readonly observe?: Observer;
}

/** What the i-th group of linear maps (`linears`) reads, [batch, columns]. */
export interface StageInput {
  readonly buffer: Buffer;
  readonly columns: number;
}

/**
 * A part of a layer: the group of linear maps before it, if there is one, and what makes of their outputs the input of the next
 * group, or the states after the layer. Nothing but scratch.x and that input goes on to the next stage, so that a pass may be
 * halted between two of them.
 */
export interface LayerStage<State extends LayerState> {
  run(pass: LayerPass<State>): void;
  /** Of the group after the stage; absent for the last. */
  input?(state: State): StageInput;
}

/** The forward pass in parts, for work that takes one layer at a time. `forward` is made of the same functions. */
export interface ForwardParts<Config extends ModelConfig = ModelConfig, State extends LayerState = LayerState> {
  /** Buffers to run one layer at a time on texts of at most `window` ids; `keep` is given each, to free it. */
  room(backend: Backend, config: Config, window: number, keep: (buffer: Buffer) => Buffer): Omit<State, "weights">;
  /** Weights that `embed` reads, "embedding" first. */
  readonly before: readonly string[];
  /** Writes the hidden states of `ids` to scratch.x. */
  embed(state: State, ids: ArrayLike<number>): void;
  /** One layer on scratch.x, in place: stages that run in turn, one more than there are groups of `linears`. */
  readonly stages: readonly LayerStage<State>[];
  /** Absent where nothing follows the layers. */
  readonly head?: Head<Config, State>;
  linears(config: Config): readonly LinearGroup[];
  /**
   * A layer as a function of its numbers that can be differentiated, on texts of `tokens` hidden states one after another.
   * Absent where nobody has written it yet.
   */
  trace?(products: Products, config: Config, weights: LayerNumbers, hidden: Float32Array, tokens: number): LayerTrace;
  /** Absent where nothing may be folded across layers or heads. */
  readonly graph?: WeightGraph;
}

/** An architecture whose kind of configuration and state have been checked and may be forgotten. */
export interface Architecture<Config extends ModelConfig = ModelConfig, State extends LayerState = LayerState>
  extends Named {
  /** What comes out: logits of the next token, or vectors. */
  readonly kind: "decoder" | "encoder";
  readonly summary: string;
  readonly source: string;
  /** `model_type` values of config.json that this architecture reads. */
  readonly modelTypes: readonly string[];
  /** `general.architecture` in GGUF. */
  readonly gguf: string;
  /** Reads the configuration; a FileError names a key that is missing or senseless. */
  parse(checkpoint: Checkpoint): Config;
  /** The configuration with what files keep elsewhere than in their metadata: tensors, other files of the folder. */
  complete?(checkpoint: Checkpoint, config: Config): Promise<Config>;
  weights(config: Config): readonly WeightSpec[];
  /** Whether a tensor of the file says nothing that the outputs need: rope frequencies, a copy of a tied head. */
  isSuperfluous(name: string, config: Config): boolean;
  /** config.json of this configuration. */
  toHuggingFace(config: Config): Metadata;
  /** The architecture's GGUF keys of this configuration. */
  toGguf(config: Config): Record<string, GgufValue>;
  /** Metadata for both containers about what neither has keys for. */
  ownMetadata?(config: Config): Metadata;
  readonly parts: ForwardParts<Config, State>;
}

export interface DecoderArchitecture extends Architecture<DecoderConfig, ForwardState> {
  readonly kind: "decoder";
  /**
   * Runs ids at positions position .. position + ids.length - 1, appending to the cache. Returns logits: one row for
   * each id, or for the last alone.
   */
  forward(state: ForwardState, ids: ArrayLike<number>, position: number, rows: "all" | "last"): Buffer;
}

/** Activations of one text, sized for the longest. One pair of keys and values serves all layers. */
export interface EncoderState extends LayerState {
  readonly config: EncoderConfig;
  readonly scratch: {
    readonly x: Buffer;
    readonly query: Buffer;
    readonly keys: Buffer;
    readonly values: Buffer;
    readonly mixed: Buffer;
    readonly projected: Buffer;
    readonly up: Buffer;
  };
}

export interface EncoderArchitecture extends Architecture<EncoderConfig, EncoderState> {
  readonly kind: "encoder";
  /** Runs a whole text. Returns the last layer's vectors, one row for each id. */
  forward(state: EncoderState, ids: ArrayLike<number>): Buffer;
}
