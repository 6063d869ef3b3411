/** A model ready to run: configuration, tokenizer, and weights in a backend's memory. */
import { type Checkpoint, openCheckpoint, openTokenizer, type Tokenizer } from "../checkpoints/index.js";
import { FileError } from "../errors.js";
import type { Activations, Backend } from "../kernels/backend.js";
import type { DecoderArchitecture, DecoderConfig, WeightSpec, Weights } from "./architecture.js";
import { decoderOf, describeModel } from "./architectures.js";
import { type Batch, type BatchOptions, createBatch } from "./batch.js";
import { type CacheScheme, readCacheScheme } from "./cache-scheme.js";
import { besideWeight, readLinears, withSteps } from "./linear-records.js";
import { createSession, type Session, type SessionOptions } from "./session.js";
import type { StepRecord } from "./steps/step.js";
import { type LoadedWeights, loadWeights } from "./weights.js";

/** Weights and configuration: ids in, logits out. */
export interface Decoder {
  readonly path: string;
  readonly container: string;
  readonly architecture: DecoderArchitecture;
  readonly config: DecoderConfig;
  readonly weights: Weights;
  readonly size: ModelSize;
  session(options?: SessionOptions): Session;
  /** Several sequences in work at once; to be disposed of like a session. */
  batch(options?: BatchOptions): Batch;
  /** Gives the weights' memory back to the backend; sessions must be disposed before. */
  dispose(): void;
}

/** A decoder with the tokenizer of its own file. */
export interface Model extends Decoder {
  readonly tokenizer: Tokenizer;
}

export interface ModelSize {
  /** Bytes of the files that hold tensors. */
  readonly bytes: number;
  /** Numbers in all tensors. */
  readonly parameters: number;
  /** Bits of tensor data in the file, scales and offsets included, for each number; metadata is not counted. */
  readonly bitsPerWeight: number;
}

export interface ModelOptions {
  readonly backend: Backend;
  /** How activations enter the matrix products. Default: "f32", exactly as they are. */
  readonly activations?: Activations;
  /** How sessions hold keys and values unless told otherwise. Default: what the file says, else f32. */
  readonly cache?: CacheScheme;
  /** Steps for the inputs of all linear maps, after those that the file says: a quick look at rounded activations. */
  readonly inputSteps?: readonly StepRecord[];
}

/** Opens a model from a path; see openCheckpoint for what a path may be. */
export async function openModel(path: string, options: ModelOptions): Promise<Model> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { vocabularySize } = decoderOf(checkpoint).parse(checkpoint);
    const tokenizer = await openTokenizerOf(checkpoint, vocabularySize);
    return { ...(await loadDecoder(checkpoint, options)), tokenizer };
  } finally {
    await checkpoint.close();
  }
}

/** The checkpoint's tokenizer; a FileError if it has tokens that the embedding has no rows for. */
export async function openTokenizerOf(checkpoint: Checkpoint, vocabularySize: number): Promise<Tokenizer> {
  const tokenizer = await openTokenizer(checkpoint);
  if (tokenizer.size <= vocabularySize) return tokenizer;
  throw new FileError("tokenizer and model do not belong together", {
    kind: "vocabulary-mismatch",
    where: checkpoint.path,
    why: `the tokenizer has ${tokenizer.size} tokens, the embedding ${vocabularySize} rows`,
  });
}

/** Loads the weights of an open checkpoint, which may be closed afterwards. */
export async function loadDecoder(checkpoint: Checkpoint, options: ModelOptions): Promise<Decoder> {
  const { backend } = options;
  const architecture = decoderOf(checkpoint);
  const { config, specs } = await describeModel(checkpoint, architecture);
  const cache = options.cache ?? readCacheScheme(checkpoint.metadata, checkpoint.path);
  const weights = await loadModelWeights(checkpoint, specs, options);
  const parts = { backend, architecture, config, weights };
  return {
    path: checkpoint.path,
    container: checkpoint.container,
    architecture,
    config,
    weights,
    size: modelSize(checkpoint),
    session: (session) => createSession(parts, { cache, ...session }),
    batch: (batch) => createBatch(parts, { cache, ...batch }),
    dispose: () => weights.dispose(),
  };
}

/** The weights, with what the file and the options say of their inputs. */
export function loadModelWeights(
  checkpoint: Checkpoint,
  specs: readonly WeightSpec[],
  { backend, activations = "f32", inputSteps = [] }: ModelOptions,
): Promise<LoadedWeights> {
  const stored = readLinears(checkpoint.metadata, checkpoint.path);
  return loadWeights(backend, checkpoint, specs, activations, withSteps(stored, specs, inputSteps));
}

/** Sizes counted from the file. */
export function modelSize(checkpoint: Checkpoint): ModelSize {
  // What stands beside a weight belongs to its bits and is no number of the model.
  const own = checkpoint.tensors.filter(({ name }) => besideWeight(name) === undefined);
  const parameters = own.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const data = checkpoint.tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  return { bytes: checkpoint.bytes, parameters, bitsPerWeight: (8 * data) / parameters };
}
