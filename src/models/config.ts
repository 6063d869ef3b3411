/** Reading decoder configurations out of config.json and GGUF metadata, with an error for each key that is wrong. */
import type { Checkpoint, Metadata, MetadataValue } from "../checkpoints/checkpoint.js";
import { type GgufValue, gguf } from "../checkpoints/gguf/values.js";
import { FileError, UnsupportedError } from "../errors.js";
import type { DecoderConfig, Rope } from "./architecture.js";
import { llama3Factors } from "./rope.js";

/** Typed access to the metadata of one file; `prefix` goes before every key ("llama." in GGUF). */
export class Fields {
  private readonly values: Metadata;
  private readonly file: string;
  private readonly prefix: string;

  constructor(values: Metadata, file: string, prefix = "") {
    this.values = values;
    this.file = file;
    this.prefix = prefix;
  }

  has(key: string): boolean {
    return (this.values[this.prefix + key] ?? null) !== null;
  }

  /** The value as a finite number; `otherwise` if the key is absent, a FileError if there is no `otherwise`. */
  number(key: string, otherwise?: number): number {
    if (!this.has(key) && otherwise !== undefined) return otherwise;
    const value = this.values[this.prefix + key];
    if (typeof value === "number" && Number.isFinite(value)) return value;
    throw this.wrong(key, value, "a number");
  }

  /** A count: an integer from 1 to 2^31 - 1. */
  count(key: string, otherwise?: number): number {
    const value = this.number(key, otherwise);
    if (Number.isInteger(value) && value > 0 && value < 2 ** 31) return value;
    throw this.wrong(key, value, "a positive integer");
  }

  positive(key: string, otherwise?: number): number {
    const value = this.number(key, otherwise);
    if (value > 0) return value;
    throw this.wrong(key, value, "a positive number");
  }

  /** A list of finite numbers. */
  numbers(key: string): readonly number[] {
    const value = this.values[this.prefix + key];
    const isNumber = (one: MetadataValue): one is number => typeof one === "number" && Number.isFinite(one);
    if (Array.isArray(value) && value.every(isNumber)) return value;
    throw this.wrong(key, value, "a list of numbers");
  }

  boolean(key: string, otherwise: boolean): boolean {
    if (!this.has(key)) return otherwise;
    const value = this.values[this.prefix + key];
    if (typeof value === "boolean") return value;
    throw this.wrong(key, value, "true or false");
  }

  text(key: string, otherwise: string): string {
    if (!this.has(key)) return otherwise;
    const value = this.values[this.prefix + key];
    if (typeof value === "string") return value;
    throw this.wrong(key, value, "a string");
  }

  /** A nested object, or undefined if the key is absent or null. */
  object(key: string): Fields | undefined {
    if (!this.has(key)) return undefined;
    const value = this.values[this.prefix + key];
    if (isObject(value)) return new Fields(value, this.file);
    throw this.wrong(key, value, "an object");
  }

  wrong(key: string, got: MetadataValue | undefined, wanted: string): FileError {
    const shown = got === undefined ? "nothing" : JSON.stringify(got, (_, v) => (typeof v === "bigint" ? `${v}` : v));
    return new FileError(`the configuration value "${this.prefix + key}" is wrong`, {
      kind: "bad-config",
      where: this.file,
      why: `got ${shown.length > 80 ? `${shown.slice(0, 80)}...` : shown}, wanted ${wanted}`,
    });
  }
}

function isObject(value: MetadataValue): value is Metadata {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A decoder's configuration from config.json (Llama, Mistral and Qwen2 use the same keys). */
export function parseHuggingFace(checkpoint: Checkpoint): DecoderConfig {
  const file = `${checkpoint.path}/config.json`;
  const fields = new Fields(checkpoint.metadata, file);
  const activation = fields.text("hidden_act", "silu");
  if (activation !== "silu") throw unsupported(`activation "${activation}"`, file, "silu is supported");
  if (fields.has("sliding_window") && fields.boolean("use_sliding_window", true)) {
    throw unsupported("sliding-window attention", file, "full attention is supported");
  }
  const width = fields.count("hidden_size");
  const heads = fields.count("num_attention_heads");
  const headSize = fields.count("head_dim", width / heads);
  return checked(file, {
    vocabularySize: fields.count("vocab_size"),
    width,
    hidden: fields.count("intermediate_size"),
    layers: fields.count("num_hidden_layers"),
    heads,
    kvHeads: fields.count("num_key_value_heads", heads),
    headSize,
    context: fields.count("max_position_embeddings", 2048),
    epsilon: fields.positive("rms_norm_eps", 1e-6),
    rope: huggingFaceRope(fields, headSize, file),
    tied: fields.boolean("tie_word_embeddings", false),
  });
}

/** `rope_theta` and `rope_scaling`, or `rope_parameters` as newer files write it. */
function huggingFaceRope(fields: Fields, headSize: number, file: string): Rope {
  const parameters = fields.object("rope_parameters");
  const base = (parameters ?? fields).positive("rope_theta", fields.positive("rope_theta", 10000));
  const scaling = parameters ?? fields.object("rope_scaling");
  if (!scaling) return { base };
  const type = scaling.text("rope_type", scaling.text("type", "default"));
  if (type === "default") return { base };
  if (type === "longrope") return { base, factors: equalFactors(scaling, headSize, file) };
  const factor = scaling.positive("factor");
  if (type === "linear") return { base, factors: new Float32Array(headSize / 2).fill(factor) };
  if (type !== "llama3")
    throw unsupported(`rope scaling "${type}"`, file, "default, linear, llama3 and longrope are supported");
  const factors = llama3Factors(base, headSize, {
    factor,
    lowFrequencyFactor: scaling.positive("low_freq_factor"),
    highFrequencyFactor: scaling.positive("high_freq_factor"),
    originalContext: scaling.count("original_max_position_embeddings"),
  });
  return { base, factors };
}

/** The divisors of "longrope" where they are the same for short and long texts and scores are not scaled with them. */
function equalFactors(scaling: Fields, headSize: number, file: string): Float32Array {
  const [short, long] = [scaling.numbers("short_factor"), scaling.numbers("long_factor")];
  const same = short.length === headSize / 2 && short.every((factor, i) => factor === long[i] && factor > 0);
  if (same && scaling.number("attention_factor", 0) === 1) return Float32Array.from(short);
  throw unsupported("longrope scaling", file, "short and long factors must be the same, attention_factor 1");
}

/** A decoder's configuration from GGUF metadata with the keys of `architecture`. Rope factors, if any, are a tensor. */
export function parseGguf(checkpoint: Checkpoint, architecture: string): DecoderConfig {
  const file = checkpoint.path;
  const fields = new Fields(checkpoint.metadata, file, `${architecture}.`);
  const width = fields.count("embedding_length");
  const heads = fields.count("attention.head_count");
  const headSize = fields.count("attention.key_length", width / heads);
  if (fields.count("attention.value_length", headSize) !== headSize) {
    throw unsupported("values of another size than keys", file, "they must be equal");
  }
  if (fields.count("rope.dimension_count", headSize) !== headSize) {
    throw unsupported("partial rotary embedding", file, "all elements of a head must rotate");
  }
  const embedding = checkpoint.tensors.find((tensor) => tensor.name === "token_embd.weight");
  return checked(file, {
    vocabularySize: fields.count("vocab_size", embedding?.shape[0]),
    width,
    hidden: fields.count("feed_forward_length"),
    layers: fields.count("block_count"),
    heads,
    kvHeads: fields.count("attention.head_count_kv", heads),
    headSize,
    context: fields.count("context_length"),
    epsilon: fields.positive("attention.layer_norm_rms_epsilon"),
    rope: { base: fields.positive("rope.freq_base", 10000), factors: ggufRopeFactors(checkpoint, fields, headSize) },
    tied: !checkpoint.tensors.some((tensor) => tensor.name === "output.weight"),
  });
}

/** Linear scaling is a key; Llama 3's divisors are a tensor, marked here by ones and read with the weights. */
function ggufRopeFactors(checkpoint: Checkpoint, fields: Fields, headSize: number): Float32Array | undefined {
  const type = fields.text("rope.scaling.type", "none");
  if (type === "linear") return new Float32Array(headSize / 2).fill(fields.positive("rope.scaling.factor"));
  if (type !== "none") throw unsupported(`rope scaling "${type}"`, checkpoint.path, "none and linear are supported");
  const stored = checkpoint.tensors.some((tensor) => tensor.name === "rope_freqs.weight");
  return stored ? new Float32Array(headSize / 2).fill(1) : undefined;
}

function checked(file: string, config: DecoderConfig): DecoderConfig {
  const wrong = (why: string) =>
    new FileError("the configuration contradicts itself", { kind: "bad-config", where: file, why });
  const { heads, kvHeads, headSize, layers } = config;
  if (heads % kvHeads !== 0) throw wrong(`${heads} heads cannot share ${kvHeads} key-value heads evenly`);
  if (!Number.isInteger(headSize) || headSize % 2 !== 0) throw wrong(`head size ${headSize} is not an even integer`);
  if (layers > 10_000) throw wrong(`${layers} layers`);
  return config;
}

const unsupported = (what: string, where: string, why: string) =>
  new UnsupportedError(`${what} is not supported`, { kind: "unsupported-feature", where, why });

/** The keys of config.json that every decoder shares. */
export function huggingFaceDecoder(config: DecoderConfig): Metadata {
  return {
    vocab_size: config.vocabularySize,
    hidden_size: config.width,
    intermediate_size: config.hidden,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    num_key_value_heads: config.kvHeads,
    head_dim: config.headSize,
    max_position_embeddings: config.context,
    rms_norm_eps: config.epsilon,
    rope_theta: config.rope.base,
    hidden_act: "silu",
    tie_word_embeddings: config.tied,
    ...ropeScaling(config),
  };
}

/** Divisors as the rope type that takes any, under the key of older and of newer versions of transformers. */
function ropeScaling({ rope: { base, factors }, context }: DecoderConfig): Metadata {
  if (!factors) return {};
  const list = Array.from(factors);
  const scaling = {
    rope_type: "longrope",
    ...{ short_factor: list, long_factor: list, attention_factor: 1, original_max_position_embeddings: context },
  };
  return { rope_scaling: scaling, rope_parameters: { ...scaling, rope_theta: base } };
}

/** The architecture keys of GGUF that every decoder shares (ggml docs/gguf.md, "LLM"). */
export function ggufDecoderKeys(architecture: string, config: DecoderConfig): Record<string, GgufValue> {
  const values = {
    context_length: gguf.u32(config.context),
    embedding_length: gguf.u32(config.width),
    block_count: gguf.u32(config.layers),
    feed_forward_length: gguf.u32(config.hidden),
    vocab_size: gguf.u32(config.vocabularySize),
    "attention.head_count": gguf.u32(config.heads),
    "attention.head_count_kv": gguf.u32(config.kvHeads),
    "attention.key_length": gguf.u32(config.headSize),
    "attention.value_length": gguf.u32(config.headSize),
    "attention.layer_norm_rms_epsilon": gguf.f32(config.epsilon),
    "rope.dimension_count": gguf.u32(config.headSize),
    "rope.freq_base": gguf.f32(config.rope.base),
  };
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [`${architecture}.${key}`, value]));
}
