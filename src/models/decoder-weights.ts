/** The weights of the Llama family: what each is for, its shape, and what files call it. */
import type { DecoderConfig, WeightSpec } from "./architecture.js";

/** role, Hugging Face name, GGUF name of each matrix of a layer. */
const LAYER_MATRICES = [
  ["query", "self_attn.q_proj", "attn_q"],
  ["key", "self_attn.k_proj", "attn_k"],
  ["value", "self_attn.v_proj", "attn_v"],
  ["output", "self_attn.o_proj", "attn_output"],
  ["gate", "mlp.gate_proj", "ffn_gate"],
  ["up", "mlp.up_proj", "ffn_up"],
  ["down", "mlp.down_proj", "ffn_down"],
] as const;

const LAYER_NORMS = [
  ["attentionNorm", "input_layernorm", "attn_norm"],
  ["mlpNorm", "post_attention_layernorm", "ffn_norm"],
] as const;

export interface DecoderWeightOptions {
  /** GGUF of this architecture pairs rotary elements (2i, 2i + 1), so query and key rows are permuted. */
  readonly ggufInterleaved: boolean;
  /** Matrices of a layer that must have a bias; those not listed may have one. */
  readonly biases: readonly string[];
}

/** The weight table of a decoder. */
export function decoderWeights(config: DecoderConfig, options: DecoderWeightOptions): WeightSpec[] {
  const { width, hidden, heads, kvHeads, headSize, vocabularySize } = config;
  const shapes: Record<(typeof LAYER_MATRICES)[number][0], readonly [number, number]> = {
    query: [heads * headSize, width],
    key: [kvHeads * headSize, width],
    value: [kvHeads * headSize, width],
    output: [width, heads * headSize],
    gate: [hidden, width],
    up: [hidden, width],
    down: [width, hidden],
  };
  const interleave: Partial<Record<string, readonly number[]>> = options.ggufInterleaved
    ? { query: interleavedRows(heads, headSize), key: interleavedRows(kvHeads, headSize) }
    : {};
  const vocabulary = [vocabularySize, width];
  const specs: WeightSpec[] = [
    { role: "embedding", shape: vocabulary, names: names("model.embed_tokens.weight", "token_embd.weight") },
  ];
  for (let layer = 0; layer < config.layers; layer++) {
    const hf = `model.layers.${layer}`;
    const gguf = `blk.${layer}`;
    for (const [role, hfName, ggufName] of LAYER_NORMS) {
      const where = names(`${hf}.${hfName}.weight`, `${gguf}.${ggufName}.weight`);
      specs.push({ role: `layers.${layer}.${role}`, shape: [width], names: where });
    }
    for (const [role, hfName, ggufName] of LAYER_MATRICES) {
      const ggufRows = interleave[role];
      const weight = names(`${hf}.${hfName}.weight`, `${gguf}.${ggufName}.weight`);
      const bias = names(`${hf}.${hfName}.bias`, `${gguf}.${ggufName}.bias`);
      const optional = !options.biases.includes(role);
      specs.push({ role: `layers.${layer}.${role}`, shape: shapes[role], names: weight, ggufRows });
      specs.push({ role: `layers.${layer}.${role}.bias`, shape: [shapes[role][0]], names: bias, ggufRows, optional });
    }
  }
  specs.push({ role: "norm", shape: [width], names: names("model.norm.weight", "output_norm.weight") });
  if (!config.tied) specs.push({ role: "head", shape: vocabulary, names: names("lm_head.weight", "output.weight") });
  if (config.rope.factors) specs.push(ropeFactors(config));
  return specs;
}

const names = (safetensors: string, gguf: string) => ({ safetensors, gguf });

/** Row order of GGUF's rotary layout: file row (head, j, half) holds canonical row (head, half, j). */
export function interleavedRows(heads: number, headSize: number): number[] {
  const half = headSize / 2;
  return Array.from({ length: heads * headSize }, (_, row) => {
    const [head, inside] = [Math.floor(row / headSize), row % headSize];
    return head * headSize + (inside % 2) * half + Math.floor(inside / 2);
  });
}

/** Rope divisors kept as a tensor. */
export const ropeFactors = ({ headSize, rope }: DecoderConfig): WeightSpec => ({
  role: "ropeFactors",
  shape: [headSize / 2],
  names: { gguf: "rope_freqs.weight" },
  optional: true,
  implied: rope.factors,
});
