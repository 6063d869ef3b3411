/**
 * Perplexity of a model on a text and, against a base, what quantization changed: paired differences token by token.
 *
 * The ids of the text are cut into windows of `context`; each id but the first of the text is predicted exactly once, from the
 * ids of its own window before it (so the first prediction of a window sees one id). Every window starts afresh.
 */
import { FileError, InputError } from "../errors.js";
import { argmax, type Decoder, type Model } from "../models/index.js";
import { klDivergence, logSumExp } from "./distribution.js";
import type { Reference } from "./reference.js";
import { estimate } from "./statistics.js";

export interface EvaluateOptions {
  /** Ids of the text, with the beginning-of-text id if the model wants one. */
  readonly ids: readonly number[];
  readonly context: number;
  /** Predict at most this many tokens. */
  readonly tokens?: number;
  readonly against?: Reference;
  /** `nll` is the mean of the tokens done. */
  readonly onProgress?: (done: number, total: number, nll: number) => void;
}

/** Likelihoods are in nats per token. */
export interface Evaluation {
  readonly tokens: number;
  /** exp(nll). */
  readonly perplexity: number;
  /** Mean negative log-likelihood. */
  readonly nll: number;
  readonly nllCi95: readonly [number, number];
  readonly comparison?: Comparison;
  /** Time in the model's own forward passes. */
  readonly seconds: number;
  readonly tokensPerSecond: number;
}

export interface Comparison {
  /** nll of this model minus nll of the base, with the interval of the paired differences. */
  readonly deltaNll: number;
  readonly deltaNllCi95: readonly [number, number];
  /** Mean divergence of this model's distribution from the base's. */
  readonly kl: number;
  readonly klCi95: readonly [number, number];
  /** Share of tokens where both find the same token most likely. */
  readonly top1Agreement: number;
}

export function evaluate(model: Decoder, options: EvaluateOptions): Evaluation {
  const steps = evaluateInSteps(model, options);
  for (;;) {
    const { done, value } = steps.next();
    if (done) return value;
  }
}

/** The same, batch by batch, for callers that have other things to see to in between; one that stops half way calls `return`. */
export function* evaluateInSteps(model: Decoder, options: EvaluateOptions): Generator<void, Evaluation> {
  const { ids, context, against, onProgress } = options;
  const total = Math.min(options.tokens ?? Infinity, ids.length - 1);
  if (total < 1) {
    const why = `it has ${ids.length} tokens; one is needed to start and one to predict`;
    throw new InputError("the text is too short to evaluate", { kind: "text-too-short", why });
  }
  const session = model.session({ context });
  const scores = createScores(total, against !== undefined);
  let milliseconds = 0;
  try {
    for (let done = 0; done < total; ) {
      const offset = done % context;
      const count = Math.min(session.batch, context - offset, total - done);
      const chunk = ids.slice(done, done + count);
      if (offset === 0) session.rewind(0);
      const begin = performance.now();
      const logits = session.forward(chunk, "all");
      milliseconds += performance.now() - begin;
      scoreRows(scores, done, ids.slice(done + 1, done + 1 + count), logits, against?.logits(done, offset, chunk));
      done += count;
      onProgress?.(done, total, mean(scores.losses.subarray(0, done)));
      yield;
    }
  } finally {
    session.dispose();
  }
  return { ...summary(scores, total), seconds: milliseconds / 1000, tokensPerSecond: total / (milliseconds / 1000) };
}

const mean = (values: Float64Array) => values.reduce((sum, one) => sum + one, 0) / values.length;

/** One number a token: its loss, and against a base the difference of losses, the divergence, the agreement. */
interface Scores {
  readonly losses: Float64Array;
  readonly paired?: {
    readonly differences: Float64Array;
    readonly divergences: Float64Array;
    readonly agreements: Float64Array;
  };
}

function createScores(total: number, paired: boolean): Scores {
  const column = () => new Float64Array(total);
  const three = { differences: column(), divergences: column(), agreements: column() };
  return { losses: column(), paired: paired ? three : undefined };
}

/** Scores the tokens `targets` from number `start` on, given a row of logits for each, and the base's rows if any. */
function scoreRows(
  { losses, paired }: Scores,
  start: number,
  targets: readonly number[],
  logits: Float32Array,
  baseLogits: Float32Array | undefined,
): void {
  const width = logits.length / targets.length;
  targets.forEach((target, row) => {
    const mine = logits.subarray(row * width, (row + 1) * width);
    const total = logSumExp(mine);
    losses[start + row] = total - mine[target];
    if (!paired || !baseLogits) return;
    const base = baseLogits.subarray(row * width, (row + 1) * width);
    const baseTotal = logSumExp(base);
    paired.differences[start + row] = losses[start + row] - (baseTotal - base[target]);
    paired.divergences[start + row] = klDivergence(base, baseTotal, mine, total);
    paired.agreements[start + row] = argmax(mine) === argmax(base) ? 1 : 0;
  });
}

function summary({ losses, paired }: Scores, tokens: number): Omit<Evaluation, "seconds" | "tokensPerSecond"> {
  const loss = estimate(losses);
  const own = { tokens, perplexity: Math.exp(loss.mean), nll: loss.mean, nllCi95: loss.ci95 };
  if (!paired) return own;
  const [delta, kl] = [estimate(paired.differences), estimate(paired.divergences)];
  const top1Agreement = estimate(paired.agreements).mean;
  const comparison = { deltaNll: delta.mean, deltaNllCi95: delta.ci95, kl: kl.mean, klCi95: kl.ci95, top1Agreement };
  return { ...own, comparison };
}

/** A FileError unless both models number the same tokens the same way, without which no comparison means anything. */
export function assertSameVocabulary(model: Model, base: Model): void {
  const wrong = (why: string) =>
    new FileError("the two models cannot be compared", {
      kind: "vocabulary-mismatch",
      where: `${model.path} against ${base.path}`,
      why,
    });
  const [mine, theirs] = [model.config.vocabularySize, base.config.vocabularySize];
  if (mine !== theirs) throw wrong(`vocabularies of ${mine} and ${theirs} tokens`);
  const probe = "The quick brown fox, 12345 — naïve café\n\tjumps.";
  const ids = [model, base].map((one) => one.tokenizer.encode(probe).join(" "));
  if (ids[0] !== ids[1]) throw wrong("their tokenizers give different ids for the same text");
}
