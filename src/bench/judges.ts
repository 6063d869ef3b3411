/** What the quality of a quantized model is judged by: predicted tokens of a decoder, vectors of texts of an encoder. */
import { InputError } from "../errors.js";
import { compareEmbeddings, evaluateInSteps, liveReference, remember } from "../evaluate/index.js";
import type { Backend } from "../kernels/index.js";
import { type Architecture, openEncoder, openModel } from "../models/index.js";
import type { EncoderQualityRow, QualityRow } from "../quantize/index.js";

type Size = "model" | "method" | "scheme" | "bytes" | "bitsPerWeight" | "seconds" | "windows";

export interface Judge {
  /** What the model at `path` loses against the original. */
  judge(path: string): Promise<Omit<QualityRow, Size> | Omit<EncoderQualityRow, Size>>;
  dispose(): void;
}

export interface Case {
  readonly backend: Backend;
  /** The original model. */
  readonly input: string;
  readonly text: string;
  /** Tokens that a decoder predicts. */
  readonly tokens: number;
  /** Stops a judge at work. */
  readonly signal?: AbortSignal;
}

export const judges: Readonly<Record<Architecture["kind"], (given: Case) => Promise<Judge>>> = {
  decoder: judgeTokens,
  encoder: judgeVectors,
};

const WINDOW = 512;

/** Tokens of a text are predicted in windows of 512, or the model's context, by both models, and paired. */
async function judgeTokens({ backend, input, text, tokens, signal }: Case): Promise<Judge> {
  const base = await openModel(input, { backend });
  const context = Math.min(WINDOW, base.config.context);
  const reference = remember(liveReference(base, context));
  const ids = base.tokenizer.encode(text);
  const dispose = () => {
    reference.dispose();
    base.dispose();
  };
  if (ids.length < 2) {
    dispose();
    throw new InputError("the text is too short to predict anything", { kind: "text-too-short" });
  }
  return {
    async judge(path) {
      const model = await openModel(path, { backend });
      try {
        const found = await unhurried(evaluateInSteps(model, { ids, context, tokens, against: reference }), signal);
        if (!found.comparison) throw new Error("an evaluation against a reference has no comparison");
        const { deltaNll, deltaNllCi95: ci95, kl, klCi95, top1Agreement } = found.comparison;
        return { tokens: found.tokens, perplexity: found.perplexity, deltaNll, ci95, kl, klCi95, top1Agreement };
      } finally {
        model.dispose();
      }
    },
    dispose,
  };
}

/** Runs all steps; signals get their turn between them. */
async function unhurried<T>(steps: Generator<void, T>, signal: AbortSignal | undefined): Promise<T> {
  try {
    for (;;) {
      const { done, value } = steps.next();
      if (done) return value;
      await new Promise((resolve) => setImmediate(resolve));
      signal?.throwIfAborted();
    }
  } finally {
    steps.return(undefined as never);
  }
}

const SENTENCES = 240;

/** The vectors of the first 240 sentences of a text are compared, each with its own; every sentence once. */
async function judgeVectors({ backend, input, text, signal }: Case): Promise<Judge> {
  const sentences = sentencesOf(text).slice(0, SENTENCES);
  const vectorsOf = async (path: string) => {
    const encoder = await openEncoder(path, { backend });
    try {
      const vectors: Float32Array[] = [];
      for (const sentence of sentences) {
        vectors.push(encoder.embed(sentence).vector);
        await new Promise((resolve) => setImmediate(resolve));
        signal?.throwIfAborted();
      }
      return vectors;
    } finally {
      encoder.dispose();
    }
  };
  const base = await vectorsOf(input);
  return { judge: async (path) => compareEmbeddings(base, await vectorsOf(path)), dispose() {} };
}

/** Sentences of 40 to 160 characters: neither headings nor paragraphs. */
function sentencesOf(text: string): string[] {
  const all = text.replace(/\s+/g, " ").split(/(?<=[.!?]) /);
  return [...new Set(all)].filter(({ length }) => length >= 40 && length <= 160);
}
