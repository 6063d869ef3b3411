/** Architectures, and opening a model: checkpoint, configuration, tokenizer, weights, sessions. */
export type * from "./architecture.js";
export {
  architectureOf,
  architectures,
  type Description,
  decoderOf,
  describeModel,
  encoderOf,
} from "./architectures.js";
export type { Batch, BatchOptions } from "./batch.js";
export {
  CACHE_KEY,
  type CacheScheme,
  type CacheSide,
  cacheScheme,
  cacheText,
  parseCacheScheme,
} from "./cache-scheme.js";
export { type ChatOptions, encodeChat, type Message, renderChat } from "./chat.js";
export {
  type BatchGenerateOptions,
  type BatchPiece,
  type GeneratedToken,
  type GenerateOptions,
  generate,
  generateBatch,
  type Prompt,
} from "./generate.js";
export {
  createLayerRunner,
  type HaltedText,
  type InputObserver,
  type LayerRunner,
  type LayerWeights,
  type LoadedLayer,
} from "./layer-runner.js";
export { applyLinear, applyLinears, type Linear } from "./linear.js";
export {
  besideSpecs,
  besideWeight,
  essentialRole,
  LINEARS_KEY,
  type LinearRecord,
  type LinearRecords,
  linearsMetadata,
  readLinears,
} from "./linear-records.js";
export {
  type Decoder,
  loadDecoder,
  type Model,
  type ModelOptions,
  type ModelSize,
  modelSize,
  openModel,
} from "./model.js";
export { argmax, type SamplingOptions, sample } from "./sampling.js";
export type { Session, SessionOptions } from "./session.js";
export { stepKinds } from "./steps/index.js";
export { rootMeanSquare } from "./steps/round.js";
export type { PreparedStep, StepKind, StepRecord } from "./steps/step.js";
export { type Embedding, type Encoder, loadEncoder, openEncoder, shortened, type TextEncoder } from "./text-encoder.js";
export { findWeight, inverse, nameIn, readVector, readWeight, readWeights } from "./weights.js";
