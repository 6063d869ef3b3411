import type { DecoderArchitecture } from "./architecture.js";
import { ggufDecoderKeys, huggingFaceDecoder, parseGguf, parseHuggingFace } from "./config.js";
import { decoder } from "./decoder.js";
import { decoderWeights } from "./decoder-weights.js";

/** Qwen2 and Qwen2.5: Llama with biases on query, key and value; its GGUF files keep the rotary order of Hugging Face. */
export const qwen2: DecoderArchitecture = {
  ...decoder,
  name: "qwen2",
  summary: "as llama, with biases on query, key and value",
  source: "Yang et al. 2024, arXiv 2407.10671",
  modelTypes: ["qwen2"],
  gguf: "qwen2",
  parse: (checkpoint) =>
    checkpoint.container === "gguf" ? parseGguf(checkpoint, "qwen2") : parseHuggingFace(checkpoint),
  weights: (config) => decoderWeights(config, { ggufInterleaved: false, biases: ["query", "key", "value"] }),
  toHuggingFace: (config) => ({
    architectures: ["Qwen2ForCausalLM"],
    model_type: "qwen2",
    use_sliding_window: false,
    ...huggingFaceDecoder(config),
  }),
  toGguf: (config) => ggufDecoderKeys("qwen2", config),
};
