/** What quantization costs: perplexity, divergence and agreement, paired, with intervals. */
export { klDivergence, logSumExp } from "./distribution.js";
export { compareEmbeddings, type EmbeddingComparison } from "./embeddings.js";
export {
  assertSameVocabulary,
  type Comparison,
  type EvaluateOptions,
  type Evaluation,
  evaluate,
  evaluateInSteps,
} from "./evaluate.js";
export { liveReference, type Reference, remember } from "./reference.js";
export { BLOCK_TOKENS, type Estimate, estimate } from "./statistics.js";
