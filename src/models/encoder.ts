/**
 * Encoders of BERT's kind: every token sees all others, and each block adds its output to its input and normalizes the sum
 * (post-norm), x = norm(x + attention(x)), x = norm(x + mlp(x)). Vectors of tokens are pooled into one for the text.
 *
 * Devlin et al. 2018, arXiv 1810.04805 (BERT); Vaswani et al. 2017 (attention, post-norm); Ba et al. 2016 (LayerNorm);
 * Reimers and Gurevych 2019, arXiv 1908.10084, section 3 (pooling).
 */
import type { Backend, Buffer } from "../kernels/backend.js";
import type {
  EncoderConfig,
  EncoderState,
  ForwardParts,
  LayerPass,
  LayerStage,
  LinearGroup,
  WeightSpec,
} from "./architecture.js";
import { applyLinears } from "./linear.js";

/** The last layer's vectors, [ids.length, width]. */
export function encoderForward(state: EncoderState, ids: ArrayLike<number>): Buffer {
  embed(state, ids);
  const batch = ids.length;
  for (let layer = 0; layer < state.config.layers; layer++) {
    for (const { run } of encoderStages) run({ state, layer, batch, position: 0, wanted: batch });
  }
  return state.scratch.x.view(0, ids.length * state.config.width);
}

/** x = norm(token + type + position), the type being that of a first sentence. */
function embed(state: EncoderState, ids: ArrayLike<number>): void {
  const { backend, config, weights, scratch } = state;
  const { x, projected } = scratch;
  const length = ids.length * config.width;
  const add = (rows: ArrayLike<number>, table: string) => {
    backend.embed(projected, rows, weights.matrix(table));
    backend.add(x, x, projected, length);
  };
  backend.embed(x, ids, weights.matrix("embedding"));
  add(new Int32Array(ids.length), "tokenTypes");
  add(
    Int32Array.from(ids, (_, position) => position),
    "positions",
  );
  normalize(state, "embeddingNorm", ids.length);
}

function normalize({ backend, config, weights, scratch }: EncoderState, role: string, batch: number): void {
  const { x } = scratch;
  backend.layerNorm(x, x, weights.vector(role), weights.vector(`${role}.bias`), batch, config.epsilon);
}

/** x = norm(x + attention(x)), x = norm(x + down(gelu(up(x)))); the groups of linear maps stand between the stages. */
const encoderStages: readonly LayerStage<EncoderState>[] = [
  { run() {}, input: ({ scratch, config }) => ({ buffer: scratch.x, columns: config.width }) },
  {
    run: attention,
    input: ({ scratch, config: { heads, headSize } }) => ({ buffer: scratch.mixed, columns: heads * headSize }),
  },
  {
    run: (pass) => addAndNormalize(pass, pass.state.scratch.mixed, "output", "attentionNorm"),
    input: ({ scratch, config }) => ({ buffer: scratch.x, columns: config.width }),
  },
  { run: widen, input: ({ scratch, config }) => ({ buffer: scratch.up, columns: config.hidden }) },
  { run: (pass) => addAndNormalize(pass, pass.state.scratch.up, "down", "mlpNorm") },
];

/** Linear maps of the layer on one input; `outs` by role. */
function apply(
  { state, layer, batch, observe }: LayerPass<EncoderState>,
  outs: Readonly<Record<string, Buffer>>,
  input: Buffer,
): void {
  const targets = Object.entries(outs).map(([name, out]) => {
    observe?.(name, input, batch);
    return { out, linear: state.weights.linear(`layers.${layer}.${name}`) };
  });
  applyLinears(state.backend, input, targets, batch);
}

function attention(pass: LayerPass<EncoderState>): void {
  const { batch, position } = pass;
  const { backend, config, scratch } = pass.state;
  const { x, query, keys, values, mixed } = scratch;
  const { heads, kvHeads, headSize } = config;
  apply(pass, { query, key: keys, value: values }, x);
  backend.attention(mixed, query, keys, values, { batch, position, heads, kvHeads, headSize, causal: false });
}

function widen(pass: LayerPass<EncoderState>): void {
  const { backend, config, scratch } = pass.state;
  apply(pass, { up: scratch.up }, scratch.x);
  backend.gelu(scratch.up, scratch.up, pass.batch * config.hidden, config.gelu);
}

/** x = norm(x + linear(input)) */
function addAndNormalize(pass: LayerPass<EncoderState>, input: Buffer, name: string, norm: string): void {
  const { state, layer, batch } = pass;
  const { x, projected } = state.scratch;
  apply(pass, { [name]: projected }, input);
  state.backend.add(x, x, projected, batch * state.config.width);
  normalize(state, `layers.${layer}.${norm}`, batch);
}

/**
 * What reads the same input, and what may be rescaled for it. The output of a norm is also added to what comes later, so no
 * gain can take over a division; GELU lies between up and down. Mixing values is linear, so value rows can.
 */
const encoderLinears = (): readonly LinearGroup[] => [
  { roles: ["query", "key", "value"] },
  { roles: ["output"], producer: { role: "value", kind: "rows", shifts: true } },
  { roles: ["up"] },
  { roles: ["down"] },
];

export function encoderRoom(
  backend: Backend,
  config: EncoderConfig,
  window: number,
  keep: (buffer: Buffer) => Buffer,
): Omit<EncoderState, "weights"> {
  const rows = (width: number) => keep(backend.allocate(window * width));
  const { width, hidden, heads, kvHeads, headSize } = config;
  const scratch = {
    x: rows(width),
    query: rows(heads * headSize),
    keys: rows(kvHeads * headSize),
    values: rows(kvHeads * headSize),
    mixed: rows(heads * headSize),
    projected: rows(width),
    up: rows(hidden),
  };
  return { backend, config, scratch };
}

export const encoderParts: ForwardParts<EncoderConfig, EncoderState> = {
  room: encoderRoom,
  before: ["embedding", "tokenTypes", "positions", "embeddingNorm", "embeddingNorm.bias"],
  embed,
  stages: encoderStages,
  linears: encoderLinears,
};

/** role, Hugging Face name, GGUF name of each linear map and norm of a layer; all have a bias. */
const LAYER_WEIGHTS = [
  ["query", "attention.self.query", "attn_q"],
  ["key", "attention.self.key", "attn_k"],
  ["value", "attention.self.value", "attn_v"],
  ["output", "attention.output.dense", "attn_output"],
  ["attentionNorm", "attention.output.LayerNorm", "attn_output_norm"],
  ["up", "intermediate.dense", "ffn_up"],
  ["down", "output.dense", "ffn_down"],
  ["mlpNorm", "output.LayerNorm", "layer_output_norm"],
] as const;

/** The weight table of an encoder. */
export function encoderWeights(config: EncoderConfig): WeightSpec[] {
  const { width, hidden, heads, kvHeads, headSize, vocabularySize, positions, tokenTypes, prefix } = config;
  const shapes: Record<(typeof LAYER_WEIGHTS)[number][0], readonly number[]> = {
    query: [heads * headSize, width],
    key: [kvHeads * headSize, width],
    value: [kvHeads * headSize, width],
    output: [width, heads * headSize],
    attentionNorm: [width],
    up: [hidden, width],
    down: [width, hidden],
    mlpNorm: [width],
  };
  const names = (safetensors: string, gguf: string) => ({ safetensors: prefix + safetensors, gguf });
  const withBias = (role: string, shape: readonly number[], hf: string, gguf: string): WeightSpec[] => [
    { role, shape, names: names(`${hf}.weight`, `${gguf}.weight`) },
    { role: `${role}.bias`, shape: [shape[0]], names: names(`${hf}.bias`, `${gguf}.bias`) },
  ];
  const table = (role: string, rows: number, hf: string, gguf: string): WeightSpec => ({
    role,
    shape: [rows, width],
    names: names(`embeddings.${hf}.weight`, `${gguf}.weight`),
    table: true,
  });
  const layers = Array.from({ length: config.layers }, (_, layer) =>
    LAYER_WEIGHTS.flatMap(([role, hf, gguf]) =>
      withBias(`layers.${layer}.${role}`, shapes[role], `encoder.layer.${layer}.${hf}`, `blk.${layer}.${gguf}`),
    ),
  );
  return [
    {
      role: "embedding",
      shape: [vocabularySize, width],
      names: names("embeddings.word_embeddings.weight", "token_embd.weight"),
    },
    table("positions", positions, "position_embeddings", "position_embd"),
    table("tokenTypes", tokenTypes, "token_type_embeddings", "token_types"),
    ...withBias("embeddingNorm", [width], "embeddings.LayerNorm", "token_embd_norm"),
    ...layers.flat(),
  ];
}
