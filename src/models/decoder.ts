/**
 * The Llama family: a stack of layers, each x += attention(norm(x)), x += swiglu(norm(x)), between an embedding and a
 * norm with a linear head. Llama, Mistral, SmolLM and Qwen2 differ in configuration, biases and file names only.
 *
 * Touvron et al. 2023 (Llama); RMSNorm: Zhang and Sennrich 2019; RoPE: Su et al. 2021; SwiGLU: Shazeer 2020;
 * grouped-query attention: Ainslie et al. 2023.
 */
import type { Checkpoint } from "../checkpoints/checkpoint.js";
import type { Backend, Buffer } from "../kernels/backend.js";
import type {
  DecoderConfig,
  ForwardParts,
  ForwardState,
  LayerPass,
  LayerStage,
  LinearGroup,
  WeightGraph,
} from "./architecture.js";
import { traceDecoderLayer } from "./decoder-gradient.js";
import { ropeFactors } from "./decoder-weights.js";
import { plainCache } from "./kv-cache.js";
import { applyLinear, applyLinears } from "./linear.js";
import { makeScratch } from "./session.js";
import { readVector } from "./weights.js";

/** Logits of `ids` standing at `position` and after; fills the cache for them. See Architecture.forward. */
export function decoderForward(
  state: ForwardState,
  ids: ArrayLike<number>,
  position: number,
  rows: "all" | "last",
): Buffer {
  const { config, scratch } = state;
  const count = rows === "all" ? ids.length : 1;
  embed(state, ids);
  const rest = () => afterEmbedding(state, ids.length, position, count);
  if (ids.length === 1 && state.replay) state.replay.run(position, rest);
  else rest();
  return scratch.logits.view(0, count * config.vocabularySize);
}

/** Layers and head; the logits of the last `count` rows. */
function afterEmbedding(state: ForwardState, batch: number, position: number, count: number): void {
  const { backend, config, weights, scratch } = state;
  for (let layer = 0; layer < config.layers; layer++) {
    // Beyond its keys and values, the last layer matters for the rows whose logits are wanted alone.
    const wanted = layer + 1 < config.layers ? batch : count;
    const pass = { state, layer, batch, position, wanted };
    for (const stage of decoderStages) stage.run(pass);
  }
  const normed = headInput(state, batch, count);
  applyLinear(backend, scratch.logits, normed, weights.linear(headRole(config)), count);
}

function embed({ backend, weights, scratch }: ForwardState, ids: ArrayLike<number>): void {
  backend.embed(scratch.x, ids, weights.matrix("embedding"));
}

/** Names of what layers have, "layers.3.query": put together once, and not for every step. */
const layerRoles: Record<string, string>[] = [];

function roleOf(layer: number, name: string): string {
  layerRoles[layer] ??= {};
  layerRoles[layer][name] ??= `layers.${layer}.${name}`;
  return layerRoles[layer][name];
}

/**
 * x += attention(norm(x)), x += swiglu(norm(x)), for the rows that are wanted; keys and values of all rows. The groups of linear
 * maps stand between the stages.
 */
const decoderStages: readonly LayerStage<ForwardState>[] = [
  { run: attentionInput, input: ({ scratch, config }) => ({ buffer: scratch.normed, columns: config.width }) },
  {
    run: attention,
    input: ({ scratch, config: { heads, headSize } }) => ({ buffer: scratch.mixed, columns: heads * headSize }),
  },
  { run: mlpInput, input: ({ scratch, config }) => ({ buffer: scratch.normed, columns: config.width }) },
  { run: swiglu, input: ({ scratch, config }) => ({ buffer: scratch.gate, columns: config.hidden }) },
  { run: mlpOutput },
];

/** Linear maps of the layer on one input; `outs` by role. */
function apply(
  { state, layer, observe }: LayerPass<ForwardState>,
  outs: Readonly<Record<string, Buffer>>,
  input: Buffer,
  rows: number,
): void {
  const targets = Object.entries(outs).map(([name, out]) => {
    observe?.(name, input, rows);
    return { out, linear: state.weights.linear(roleOf(layer, name)) };
  });
  applyLinears(state.backend, input, targets, rows);
}

/** The rows that are wanted. */
const last = ({ batch, wanted }: LayerPass<ForwardState>, buffer: Buffer, columns: number) =>
  wanted === batch ? buffer : buffer.view((batch - wanted) * columns, wanted * columns);

function attentionInput({ state, layer, batch }: LayerPass<ForwardState>): void {
  const { backend, config, weights, scratch } = state;
  backend.rmsNorm(scratch.normed, scratch.x, weights.vector(roleOf(layer, "attentionNorm")), batch, config.epsilon);
}

function attention(pass: LayerPass<ForwardState>): void {
  const { layer, batch, position } = pass;
  const { backend, config, cache, scratch } = pass.state;
  const { heads, kvHeads, headSize } = config;
  const { normed, query, keys, values, mixed, cos, sin } = scratch;
  apply(pass, { query, key: keys, value: values }, normed, batch);
  const shape = { batch, heads, kvHeads, headSize };
  backend.ropeAndStore(query, keys, values, cache.fresh(layer, position), { cos, sin, position }, shape);
  cache.attend(mixed, query, layer, position, batch);
}

function mlpInput(pass: LayerPass<ForwardState>): void {
  const { backend, config, weights, scratch } = pass.state;
  const { heads, headSize, epsilon } = config;
  const stream = addToStream(pass, last(pass, scratch.mixed, heads * headSize), "output");
  backend.rmsNorm(scratch.normed, stream, weights.vector(roleOf(pass.layer, "mlpNorm")), pass.wanted, epsilon);
}

function swiglu(pass: LayerPass<ForwardState>): void {
  const { backend, config, scratch } = pass.state;
  const { normed, gate, up } = scratch;
  apply(pass, { gate, up }, normed, pass.wanted);
  backend.siluMultiply(gate, gate, up, pass.wanted * config.hidden);
}

function mlpOutput(pass: LayerPass<ForwardState>): void {
  addToStream(pass, pass.state.scratch.gate, "down");
}

/** x += linear(input); the rows of x that are wanted. */
function addToStream(pass: LayerPass<ForwardState>, input: Buffer, name: string): Buffer {
  const { backend, config, scratch } = pass.state;
  const stream = last(pass, scratch.x, config.width);
  apply(pass, { [name]: scratch.projected }, input, pass.wanted);
  backend.add(stream, stream, scratch.projected, pass.wanted * config.width);
  return stream;
}

function headInput({ backend, config, weights, scratch }: ForwardState, batch: number, count: number): Buffer {
  const last = scratch.x.view((batch - count) * config.width, count * config.width);
  backend.rmsNorm(scratch.normed, last, weights.vector("norm"), count, config.epsilon);
  return scratch.normed;
}

/**
 * What reads the same input, and what may be rescaled for it. Dividing the input of the output projection by s needs value
 * rows of its own for every query head; the product gate * up is divided where up is.
 */
function decoderLinears({ heads, kvHeads }: DecoderConfig): readonly LinearGroup[] {
  return [
    { roles: ["query", "key", "value"], producer: { role: "attentionNorm", kind: "gain", shifts: true } },
    { roles: ["output"], ...(heads === kvHeads && { producer: { role: "value", kind: "rows", shifts: true } }) },
    { roles: ["gate", "up"], producer: { role: "mlpNorm", kind: "gain", shifts: true } },
    { roles: ["down"], producer: { role: "up", kind: "rows", shifts: false } },
  ];
}

const decoderGraph: WeightGraph = {
  stream: { tables: ["embedding"], writers: ["output", "down"], norm: "norm", head: "head", untied: { tied: false } },
  attention: { query: "query", key: "key", value: "value", output: "output" },
};

const headRole = ({ tied }: DecoderConfig) => (tied ? "embedding" : "head");

/** Room for one layer at a time: one pair of keys and values serves all, and no logits are made. */
function decoderRoom(
  backend: Backend,
  config: DecoderConfig,
  window: number,
  keep: (buffer: Buffer) => Buffer,
): Omit<ForwardState, "weights"> {
  const scratch = makeScratch(backend, { ...config, vocabularySize: 1 }, window, window, keep);
  return {
    backend,
    config,
    scratch,
    cache: plainCache({ backend, config, context: window, allocate: (length) => keep(backend.allocate(length)) }, 1),
  };
}

const decoderParts: ForwardParts<DecoderConfig, ForwardState> = {
  room: decoderRoom,
  before: ["embedding"],
  embed,
  stages: decoderStages,
  head: { role: headRole, before: ["norm"], input: headInput },
  linears: decoderLinears,
  trace: traceDecoderLayer,
  graph: decoderGraph,
};

/** Rope divisors kept as a tensor replace the marker that the configuration holds for them. */
async function withStoredRope(checkpoint: Checkpoint, config: DecoderConfig): Promise<DecoderConfig> {
  const factors = config.rope.factors && (await readVector(checkpoint, ropeFactors(config)));
  return factors ? { ...config, rope: { ...config.rope, factors } } : config;
}

/** What the decoders of this family have in common. */
export const decoder = {
  kind: "decoder",
  complete: withStoredRope,
  isSuperfluous: (name: string, { tied }: DecoderConfig) =>
    (tied && name === "lm_head.weight") || name.endsWith("rotary_emb.inv_freq"),
  forward: decoderForward,
  parts: decoderParts,
} as const;
