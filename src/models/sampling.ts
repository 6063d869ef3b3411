/** Choosing the next token from logits. All arithmetic is in binary64, so that a seed gives the same text everywhere. */
import { InputError, NumericError } from "../errors.js";
import { randomUniform } from "../random.js";

export interface SamplingOptions {
  /** 0 takes the most likely token. Logits are divided by it. */
  readonly temperature?: number;
  /** Only the k most likely tokens are considered. 0: all. */
  readonly topK?: number;
  /** Only the most likely tokens whose probabilities together reach this are considered. 1: all. */
  readonly topP?: number;
  readonly seed?: number;
}

/** The token for draw number `index` of the seed. */
export function sample(logits: Float32Array, options: SamplingOptions, index: number): number {
  const { temperature = 0, topK = 0, topP = 1, seed = 0 } = options;
  if (!(temperature >= 0)) {
    throw new InputError(`the temperature is ${temperature}`, { kind: "value-out-of-range", why: "wanted 0 or more" });
  }
  if (!(topP > 0 && topP <= 1)) {
    throw new InputError(`top-p is ${topP}`, { kind: "value-out-of-range", why: "wanted more than 0, at most 1" });
  }
  const best = argmax(logits);
  if (temperature === 0) return best;
  const weights = new Float64Array(logits.length);
  for (let i = 0; i < weights.length; i++) weights[i] = Math.exp((logits[i] - logits[best]) / temperature);
  const kept = topK > 0 || topP < 1 ? candidates(weights, topK, topP) : undefined;
  const draw = randomUniform(seed, 0, index);
  if (!kept) return pick(weights, draw);
  const keptWeights = Float64Array.from(kept, (token) => weights[token]);
  return kept[pick(keptWeights, draw)];
}

/** The first index where the running sum of the weights exceeds `draw` (in [0, 1)) times their total. */
function pick(weights: Float64Array, draw: number): number {
  let total = 0;
  for (let i = 0; i < weights.length; i++) total += weights[i];
  let left = draw * total;
  for (let i = 0; i < weights.length; i++) {
    left -= weights[i];
    if (left < 0) return i;
  }
  return weights.length - 1;
}

/** Token numbers by falling weight, cut off after `topK` of them or a share `topP` of the weight. */
function candidates(weights: Float64Array, topK: number, topP: number): number[] {
  const ranked = Array.from(weights.keys())
    .sort((a, b) => weights[b] - weights[a] || a - b)
    .slice(0, topK > 0 ? topK : undefined);
  const wanted = topP * ranked.reduce((sum, token) => sum + weights[token], 0);
  let sum = 0;
  const end = ranked.findIndex((token) => {
    sum += weights[token];
    return sum >= wanted;
  });
  return end < 0 ? ranked : ranked.slice(0, end + 1);
}

/** The index of the largest value, the first of equals; a NumericError if any value is NaN. */
export function argmax(values: Float32Array): number {
  const largest = maximum(values);
  if (!Number.isNaN(largest)) return Math.max(0, values.indexOf(largest));
  const where = `token ${values.findIndex((value) => Number.isNaN(value))}`;
  throw new NumericError("a logit is not a number", { kind: "non-finite-logits", where });
}

/** The largest value, NaN if any is; four maxima at a time, which do not wait for each other. */
function maximum(values: Float32Array): number {
  let [a, b, c, d] = [-Infinity, -Infinity, -Infinity, -Infinity];
  const { length } = values;
  const whole = length - (length % 4);
  for (let i = 0; i < whole; i += 4) {
    a = Math.max(a, values[i]);
    b = Math.max(b, values[i + 1]);
    c = Math.max(c, values[i + 2]);
    d = Math.max(d, values[i + 3]);
  }
  for (let i = whole; i < length; i++) a = Math.max(a, values[i]);
  return Math.max(a, b, c, d);
}
