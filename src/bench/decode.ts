/**
 * The speed of a whole model: tokens per second of a prompt and of generation, and how near generation comes to the
 * memory's limit. Each token that is made reads every weight once, so bytes per token times tokens per second is the
 * bandwidth it uses; the rest of the time goes to arithmetic and to starting kernels.
 */
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
  };
}

/** Bytes of the matrices that every token reads; of an embedding that is not also the head it reads one row. */
function weightBytes({ architecture, config, weights }: Model): number {
  const matrices = architecture.weights(config).filter(({ shape }) => shape.length === 2);
  return matrices
    .filter(({ role }) => role !== "embedding" || config.tied)
    .reduce((sum, { role }) => sum + weights.matrix(role).bytes, 0);
}
