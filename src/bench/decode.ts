/**
 * The speed of a whole model: tokens per second of a prompt and of generation, and how near generation comes to the
 * memory's limit. Each token that is made reads every weight once, so bytes per token times tokens per second is the
 * bandwidth it uses; the rest of the time goes to arithmetic and to starting kernels.
 */
import { UnsupportedError } from "../errors.js";
import type { Backend, OperationTime } from "../kernels/backend.js";
import { detectFeatures } from "../kernels/wasm/features.js";
import { measurePeaks } from "../kernels/wasm/peaks.js";
import type { Model } from "../models/index.js";
import { argmax } from "../models/index.js";
import { summary, type Times } from "./timing.js";

export interface DecodeOptions {
  /** Tokens of the prompt. Default: 128. */
  readonly prompt?: number;
  /** Tokens made after it. Default: 64. */
  readonly tokens?: number;
  /** Measured runs, after one to warm up. Default: 3. */
  readonly runs?: number;
  /** The model's backend, to tell where the time goes, in one more run with each operation on its own. */
  readonly profile?: Backend;
}

/** What one kernel took of a prompt or of a token: microseconds, and the share of all of it. */
export interface OperationShare {
  readonly phase: "prompt" | "token";
  /** "between" for what no operation took: JavaScript from one operation to the next, and taking the time. */
  readonly kernel: string;
  /** Scheme and shape of the weight of a product. */
  readonly weight?: string;
  readonly calls: number;
  readonly microseconds: number;
  readonly share: number;
  /** 10^9 multiply-accumulates a second, of products. */
  readonly gmacs?: number;
}

export interface DecodeReport {
  readonly promptTokens: number;
  readonly generatedTokens: number;
  /** Medians over runs. */
  readonly promptTokensPerSecond: number;
  readonly tokensPerSecond: number;
  /** Of single tokens. */
  readonly perToken: Times;
  /** Bytes of weights, and of keys and values half way, that one generated token reads. */
  readonly bytesPerToken: number;
  readonly gbs: number;
  /** What one thread reads at best, in the same process. */
  readonly readBandwidthGBs: number;
  readonly shareOfReadBandwidth: number;
  /** Empty unless asked for. */
  readonly operations: readonly OperationShare[];
}

export function benchDecode(model: Model, options: DecodeOptions = {}): DecodeReport {
  const { prompt = 128, tokens = 64, runs = 3 } = options;
  const { context: trained, vocabularySize, layers, kvHeads, headSize } = model.config;
  const promptTokens = Math.min(prompt, trained - 1);
  const generatedTokens = Math.min(tokens, trained - promptTokens);
  const session = model.session({ context: promptTokens + generatedTokens, batch: promptTokens });
  const ids = Array.from({ length: promptTokens }, (_, i) => (i * 7919 + 11) % vocabularySize);
  const promptTimes: number[] = [];
  const sums: number[] = [];
  const single: number[] = [];
  for (let run = 0; run <= runs; run++) {
    session.rewind(0);
    const start = performance.now();
    let logits = session.prefill(ids);
    const afterPrompt = performance.now();
    const times: number[] = [];
    for (let made = 0; made < generatedTokens; made++) {
      const begin = performance.now();
      logits = session.forward([argmax(logits)], "last");
      times.push(performance.now() - begin);
    }
    // The first run warms up: engines compile in stages.
    if (run === 0) continue;
    promptTimes.push(afterPrompt - start);
    sums.push(times.reduce((a, b) => a + b, 0));
    single.push(...times);
  }
  const operations = options.profile
    ? [
        ...profiled(options.profile, "prompt", 1, () => {
          session.rewind(0);
          session.prefill(ids);
        }),
        ...profiled(options.profile, "token", generatedTokens, () => {
          for (let made = 0; made < generatedTokens; made++) session.forward([ids[made % promptTokens]], "last");
        }),
      ]
    : [];
  session.dispose();
  const perSecond = (count: number, times: readonly number[]) => (1000 * count) / summary(times).medianMs;
  const cached = 2 * 4 * layers * kvHeads * headSize * (promptTokens + generatedTokens / 2);
  const bytesPerToken = weightBytes(model) + cached;
  const tokensPerSecond = perSecond(generatedTokens, sums);
  const gbs = (bytesPerToken * tokensPerSecond) / 1e9;
  const { readBandwidthGBs } = measurePeaks(detectFeatures().relaxedDot);
  return {
    ...{ promptTokens, generatedTokens, promptTokensPerSecond: perSecond(promptTokens, promptTimes), tokensPerSecond },
    ...{ perToken: summary(single), bytesPerToken, gbs, readBandwidthGBs },
    shareOfReadBandwidth: gbs / readBandwidthGBs,
    operations,
  };
}

/** Where the time of `work` goes, which is `times` prompts or tokens. */
function profiled(backend: Backend, phase: OperationShare["phase"], times: number, work: () => void): OperationShare[] {
  if (!backend.profile) {
    throw new UnsupportedError(`the ${backend.info.name} backend does not tell what operations take`, {
      ...{ kind: "unsupported-feature", where: "bench decode", try: "--backend wasm" },
    });
  }
  const start = performance.now();
  const { operations } = backend.profile(work);
  const total = performance.now() - start;
  const between = total - operations.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rows: readonly OperationTime[] = [...operations, { kernel: "between", calls: times, milliseconds: between }];
  return rows.map(({ kernel, weight, calls, milliseconds, multiplications }) => ({
    ...{ phase, kernel, ...(weight !== undefined && { weight }), calls: calls / times },
    ...{ microseconds: (1000 * milliseconds) / times, share: milliseconds / total },
    ...(multiplications !== undefined && { gmacs: multiplications / milliseconds / 1e6 }),
  }));
}

/** Bytes of the matrices that every token reads; of an embedding that is not also the head it reads one row. */
function weightBytes({ architecture, config, weights }: Model): number {
  const matrices = architecture.weights(config).filter(({ shape }) => shape.length === 2);
  return matrices
    .filter(({ role }) => role !== "embedding" || config.tied)
    .reduce((sum, { role }) => sum + weights.matrix(role).bytes, 0);
}
