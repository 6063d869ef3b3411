import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { gguf } from "../checkpoints/gguf/values.js";
import { FileError, UnsupportedError } from "../errors.js";
import type { GeluForm } from "../kernels/gelu.js";
import type { EncoderArchitecture, EncoderConfig, Pooling } from "./architecture.js";
import { Fields } from "./config.js";
import { encoderForward, encoderParts, encoderWeights } from "./encoder.js";
import { readSentence, sentenceMetadata } from "./sentence.js";

/** `hidden_act` of config.json. */
const GELU: Readonly<Record<string, GeluForm>> = {
  gelu: "erf",
  gelu_python: "erf",
  gelu_new: "tanh",
  gelu_pytorch_tanh: "tanh",
};

/** GGUF has no key for the form of GELU, and its engines take the tanh form for all (ggml_gelu). */
const GELU_KEY = "bitloom.gelu";

/** `pooling_type` of GGUF. Source: gguf-py, constants.py, PoolingType. */
const POOLING: Readonly<Record<number, Pooling>> = { 1: "mean", 2: "cls" };

function parseHuggingFace(checkpoint: Checkpoint): EncoderConfig {
  const file = `${checkpoint.path}/config.json`;
  const fields = new Fields(checkpoint.metadata, file);
  const activation = fields.text("hidden_act", "gelu");
  const kind = fields.text("position_embedding_type", "absolute");
  if (!(activation in GELU)) throw unsupported(`activation "${activation}"`, file, Object.keys(GELU).join(", "));
  if (kind !== "absolute") throw unsupported(`position embedding "${kind}"`, file, "absolute");
  if (fields.boolean("is_decoder", false)) throw unsupported("BERT as a decoder", file, "encoders");
  const heads = fields.count("num_attention_heads");
  const width = fields.count("hidden_size");
  const positions = fields.count("max_position_embeddings");
  const prefixed = checkpoint.tensors.some(({ name }) => name.startsWith("bert."));
  return checked(file, {
    vocabularySize: fields.count("vocab_size"),
    width,
    hidden: fields.count("intermediate_size"),
    layers: fields.count("num_hidden_layers"),
    heads,
    kvHeads: heads,
    headSize: width / heads,
    context: positions,
    positions,
    epsilon: fields.positive("layer_norm_eps", 1e-12),
    tied: false,
    tokenTypes: fields.count("type_vocab_size", 2),
    gelu: GELU[activation],
    pooling: "mean",
    normalize: false,
    prefix: prefixed ? "bert." : "",
  });
}

function parseGguf(checkpoint: Checkpoint): EncoderConfig {
  const file = checkpoint.path;
  const fields = new Fields(checkpoint.metadata, file, "bert.");
  const type = fields.number("pooling_type", 1);
  if (!(type in POOLING)) throw unsupported(`pooling type ${type}`, file, "1 (mean) and 2 (cls)");
  if (fields.boolean("attention.causal", false)) throw unsupported("causal attention in an encoder", file, "full");
  const rows = (name: string) => checkpoint.tensors.find((tensor) => tensor.name === name)?.shape[0];
  const heads = fields.count("attention.head_count");
  const width = fields.count("embedding_length");
  const positions = fields.count("context_length");
  return checked(file, {
    vocabularySize: fields.count("vocab_size", rows("token_embd.weight")),
    width,
    hidden: fields.count("feed_forward_length"),
    layers: fields.count("block_count"),
    heads,
    kvHeads: heads,
    headSize: width / heads,
    context: positions,
    positions,
    epsilon: fields.positive("attention.layer_norm_epsilon"),
    tied: false,
    tokenTypes: rows("token_types.weight") ?? 1,
    gelu: checkpoint.metadata[GELU_KEY] === "tanh" ? "tanh" : "erf",
    pooling: POOLING[type],
    // llama.cpp's embedding tools normalize, and so do nearly all sentence encoders.
    normalize: true,
    prefix: "",
  });
}

function checked(file: string, config: EncoderConfig): EncoderConfig {
  const { headSize, heads, width } = config;
  if (Number.isInteger(headSize)) return config;
  const why = `width ${width} cannot be shared evenly by ${heads} heads`;
  throw new FileError("the configuration contradicts itself", { kind: "bad-config", where: file, why });
}

const unsupported = (what: string, where: string, wanted: string) =>
  new UnsupportedError(`${what} is not supported`, { kind: "unsupported-feature", where, why: `supported: ${wanted}` });

/** BERT, MiniLM, and the sentence encoders made of them (all-MiniLM, bge, e5, gte). */
export const bert: EncoderArchitecture = {
  name: "bert",
  kind: "encoder",
  summary: "encoder: LayerNorm after each block, learned positions, full attention, GELU, mean or first-token pooling",
  source: "Devlin et al. 2018, arXiv 1810.04805; Wang et al. 2020, arXiv 2002.10957 (MiniLM)",
  modelTypes: ["bert"],
  gguf: "bert",
  parse: (checkpoint) => (checkpoint.container === "gguf" ? parseGguf(checkpoint) : parseHuggingFace(checkpoint)),
  complete: async (checkpoint, config) => ({ ...config, ...(await readSentence(checkpoint, config)) }),
  weights: encoderWeights,
  /** The pooler and the heads of training are no part of the vectors of tokens; positions are counted. */
  isSuperfluous: (name, { prefix }) =>
    name === `${prefix}embeddings.position_ids` || name.startsWith(`${prefix}pooler.`) || name.startsWith("cls."),
  toHuggingFace: (config) => ({
    architectures: ["BertModel"],
    model_type: "bert",
    vocab_size: config.vocabularySize,
    hidden_size: config.width,
    intermediate_size: config.hidden,
    num_hidden_layers: config.layers,
    num_attention_heads: config.heads,
    max_position_embeddings: config.positions,
    type_vocab_size: config.tokenTypes,
    layer_norm_eps: config.epsilon,
    hidden_act: config.gelu === "erf" ? "gelu" : "gelu_pytorch_tanh",
    position_embedding_type: "absolute",
  }),
  toGguf: (config) => ({
    "bert.context_length": gguf.u32(config.positions),
    "bert.embedding_length": gguf.u32(config.width),
    "bert.block_count": gguf.u32(config.layers),
    "bert.feed_forward_length": gguf.u32(config.hidden),
    "bert.vocab_size": gguf.u32(config.vocabularySize),
    "bert.attention.head_count": gguf.u32(config.heads),
    "bert.attention.layer_norm_epsilon": gguf.f32(config.epsilon),
    "bert.attention.causal": gguf.bool(false),
    "bert.pooling_type": gguf.u32(config.pooling === "mean" ? 1 : 2),
    "tokenizer.ggml.token_type_count": gguf.u32(config.tokenTypes),
  }),
  ownMetadata: (config) => ({ ...sentenceMetadata(config), [GELU_KEY]: config.gelu }),
  forward: encoderForward,
  parts: encoderParts,
};
