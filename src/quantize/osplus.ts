import { type TransformJob, type TransformOutcome, transform } from "./transform.js";

/**
 * Channels shifted, x - z, then those divided that reach beyond a threshold t, s = max(1, max|x - z| / t), with the z and t
 * that leave the least error of the outputs when inputs and weights are rounded as the recipe says. The paper's shift is the
 * middle of a channel's range, z = (max + min) / 2. Where one token in many holds the outlier of a channel that is near 0
 * otherwise (BERT's first token after GELU), the middle makes every other token large in its place; so the mean and no shift
 * are tried as well. A shift needs biases that take it over, so models with RMSNorm and no biases are divided only. Doing
 * nothing is among the candidates.
 */
export const osplus = transform({
  name: "osplus",
  summary:
    "channels of activations shifted to their middle or mean, outliers divided, by the least error of rounded outputs",
  source:
    "Wei et al. 2023 (Outlier Suppression+), arXiv 2304.09145, equations 4 to 8; shifts other than the middle are this library's",
  options: {
    steps: {
      kind: "integer",
      summary: "thresholds tried, each for every input and shift",
      default: 24,
      min: 1,
      max: 1000,
    },
    online: {
      kind: "switch",
      summary: "where nothing before can take the change over, shift and divide activations as they come",
      default: false,
    },
  },
  needs: () => "moments",
  online: ({ online }) => online,
  choose(job, { steps }) {
    const { statistics, roundingError } = job;
    const { columns } = statistics;
    const none: TransformOutcome = { scales: new Float64Array(columns).fill(1) };
    const unchanged = roundingError(none);
    let [best, least] = [none, unchanged];
    for (const shift of shiftsOf(job)) {
      for (const candidate of candidates(job, shift, steps)) {
        const error = roundingError(candidate);
        if (error < least) [best, least] = [candidate, error];
      }
    }
    if (best === none) return undefined;
    return { ...best, notes: { errorRatio: least / unchanged } };
  },
});

/** Where channels may be moved from; undefined for no shift. */
function shiftsOf({ statistics: { signed }, canShift }: TransformJob): readonly (Float64Array | undefined)[] {
  if (!signed || !canShift) return [undefined];
  const { mean, smallest, largest } = signed;
  return [largest.map((x, j) => (x + smallest[j]) / 2), mean, undefined];
}

/** Thresholds from the largest range, where nothing is divided, down to the smallest, evenly in their logarithms. */
function candidates({ statistics }: TransformJob, shift: Float64Array | undefined, steps: number): TransformOutcome[] {
  const { signed, maxAbsolute } = statistics;
  const ranges =
    shift && signed ? signed.largest.map((x, j) => Math.max(x - shift[j], shift[j] - signed.smallest[j])) : maxAbsolute;
  const seen = ranges.filter((range) => range > 0);
  if (seen.length === 0) return [];
  const [most, least] = [seen.reduce((a, b) => Math.max(a, b)), seen.reduce((a, b) => Math.min(a, b))];
  return Array.from({ length: steps }, (_, step) => {
    const t = most * (least / most) ** (step / steps);
    return { scales: ranges.map((range) => Math.max(1, range / t)), ...(shift && { shift }) };
  });
}
