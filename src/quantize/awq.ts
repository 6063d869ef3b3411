import { scaleColumns } from "./fold.js";
import { type TransformJob, transform } from "./transform.js";

/**
 * Activation-aware scaling: channels that carry large activations get finer steps. s = E|x|^alpha, normalised, with the
 * alpha that leaves the least error of all outputs that read the input, rounding as the scheme's rule does. alpha = 0
 * is among them, so nothing gets worse by its own measure.
 */
export const awq = transform({
  name: "awq",
  summary: "input channels scaled by a power of their mean magnitude, the power found by search",
  source: "Lin et al. 2023, arXiv 2306.00978, equations 4 and 5",
  options: {
    steps: { kind: "integer", summary: "powers tried from 0 to below 1", default: 20, min: 1, max: 200 },
  },
  needs: () => "hessian",
  choose(job, { steps }) {
    let best = { scales: powers(job, 0), alpha: 0, error: Number.POSITIVE_INFINITY };
    let unscaled = 0;
    for (let step = 0; step < steps; step++) {
      const alpha = step / steps;
      const scales = powers(job, alpha);
      const error = errorWith(job, scales);
      if (step === 0) unscaled = error;
      if (error < best.error) best = { scales, alpha, error };
    }
    if (best.alpha === 0) return undefined;
    return { scales: best.scales, notes: { alpha: best.alpha, errorRatio: best.error / unscaled } };
  },
});

/** E|x_j|^alpha divided by the geometric middle of the largest and smallest. */
function powers({ statistics }: TransformJob, alpha: number): Float64Array {
  const s = statistics.meanAbsolute.map((x) => Math.max(x ** alpha, 1e-4));
  const [largest, smallest] = [s.reduce((a, b) => Math.max(a, b)), s.reduce((a, b) => Math.min(a, b))];
  return s.map((x) => x / Math.sqrt(largest * smallest));
}

/** The error of all consumers' outputs when their scaled weights are rounded. */
function errorWith({ consumers, outputError }: TransformJob, s: Float64Array): number {
  let sum = 0;
  for (const { values, rounded } of consumers) {
    const result = rounded(scaleColumns(values, s));
    for (let i = 0; i < result.length; i++) result[i] = values[i] - result[i] / s[i % s.length];
    sum += outputError(result);
  }
  return sum;
}
