import type { DecoderArchitecture } from "./architecture.js";
import { ggufDecoderKeys, huggingFaceDecoder, parseGguf, parseHuggingFace } from "./config.js";
import { decoder } from "./decoder.js";
import { decoderWeights } from "./decoder-weights.js";

/** Llama 1 to 3.x, Mistral, SmolLM and everything else that transformers loads as LlamaForCausalLM. */
export const llama: DecoderArchitecture = {
  ...decoder,
  name: "llama",
  summary: "RMSNorm, rotary positions, grouped-query attention, SwiGLU",
  source: "Touvron et al. 2023, arXiv 2302.13971; Grattafiori et al. 2024, arXiv 2407.21783",
  modelTypes: ["llama", "mistral"],
  gguf: "llama",
  parse: (checkpoint) =>
    checkpoint.container === "gguf" ? parseGguf(checkpoint, "llama") : parseHuggingFace(checkpoint),
  weights: (config) => decoderWeights(config, { ggufInterleaved: true, biases: [] }),
  toHuggingFace: (config) => ({
    architectures: ["LlamaForCausalLM"],
    model_type: "llama",
    ...huggingFaceDecoder(config),
  }),
  toGguf: (config) => ggufDecoderKeys("llama", config),
};
