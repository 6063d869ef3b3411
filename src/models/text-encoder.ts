/** An encoder ready to run: texts in, vectors out. */
import { type Checkpoint, openCheckpoint, type Tokenizer } from "../checkpoints/index.js";
import { InputError } from "../errors.js";
import type { Buffer } from "../kernels/backend.js";
import type { EncoderArchitecture, EncoderConfig, Weights } from "./architecture.js";
import { describeModel, encoderOf } from "./architectures.js";
import { encoderRoom } from "./encoder.js";
import { loadModelWeights, type ModelOptions, type ModelSize, modelSize, openTokenizerOf } from "./model.js";
import { pool } from "./sentence.js";

/** Weights and configuration: ids in, one vector out. */
export interface Encoder {
  readonly path: string;
  readonly container: string;
  readonly architecture: EncoderArchitecture;
  readonly config: EncoderConfig;
  readonly weights: Weights;
  readonly size: ModelSize;
  /** The vector [width] of a text's ids, special ones included, as the model pools and normalizes. */
  vectorOf(ids: readonly number[]): Float32Array;
  /** Gives the memory back to the backend. */
  dispose(): void;
}

/** An encoder with the tokenizer of its own file. */
export interface TextEncoder extends Encoder {
  readonly tokenizer: Tokenizer;
  embed(text: string): Embedding;
}

export interface Embedding {
  readonly vector: Float32Array;
  /** Tokens that the vector was made of, special ones included. */
  readonly tokens: number;
  /** Tokens that the text has; more than `tokens` if its end was left out. */
  readonly textTokens: number;
}

/** Opens an encoder from a path; see openCheckpoint for what a path may be. */
export async function openEncoder(path: string, options: ModelOptions): Promise<TextEncoder> {
  const checkpoint = await openCheckpoint(path);
  try {
    const { vocabularySize } = encoderOf(checkpoint).parse(checkpoint);
    const tokenizer = await openTokenizerOf(checkpoint, vocabularySize);
    const encoder = await loadEncoder(checkpoint, options);
    const embed = (text: string): Embedding => {
      const ids = tokenizer.encode(text);
      const kept = shortened(ids, encoder.config.context, tokenizer);
      return { vector: encoder.vectorOf(kept), tokens: kept.length, textTokens: ids.length };
    };
    return { ...encoder, tokenizer, embed };
  } finally {
    await checkpoint.close();
  }
}

/** At most `limit` ids: the end of the text is left out, not the special id after it. */
export function shortened(ids: readonly number[], limit: number, { addEos, eos }: Tokenizer): readonly number[] {
  if (ids.length <= limit) return ids;
  return addEos ? [...ids.slice(0, limit - 1), eos[0]] : ids.slice(0, limit);
}

/** Loads the weights of an open checkpoint, which may be closed afterwards. */
export async function loadEncoder(checkpoint: Checkpoint, options: ModelOptions): Promise<Encoder> {
  const { backend } = options;
  const architecture = encoderOf(checkpoint);
  const { config, specs } = await describeModel(checkpoint, architecture);
  const weights = await loadModelWeights(checkpoint, specs, options);
  const buffers: Buffer[] = [];
  const keep = (buffer: Buffer) => {
    buffers.push(buffer);
    return buffer;
  };
  const state = { ...encoderRoom(backend, config, config.context, keep), weights };
  return {
    path: checkpoint.path,
    container: checkpoint.container,
    architecture,
    config,
    weights,
    size: modelSize(checkpoint),
    vectorOf(ids) {
      checkIds(ids, config);
      const vectors = backend.batch(() => architecture.forward(state, ids)).data();
      return pool(vectors.subarray(0, ids.length * config.width), ids.length, config);
    },
    dispose() {
      for (const buffer of buffers.splice(0).reverse()) backend.free(buffer);
      weights.dispose();
    },
  };
}

function checkIds(ids: readonly number[], { context, vocabularySize }: EncoderConfig): void {
  if (ids.length < 1 || ids.length > context) {
    throw new InputError(`a text takes 1 to ${context} tokens, got ${ids.length}`, { kind: "value-out-of-range" });
  }
  const wrong = ids.find((id) => !Number.isInteger(id) || id < 0 || id >= vocabularySize);
  if (wrong === undefined) return;
  throw new InputError(`token id ${wrong} is outside the vocabulary of ${vocabularySize}`, { kind: "unknown-token" });
}
