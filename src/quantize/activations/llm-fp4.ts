import { formats, type MinifloatFormat, type NumberFormat, scaleTarget } from "../../formats/index.js";
import type { StepRecord } from "../../models/index.js";
import { activation } from "./activation.js";
import { oneScale } from "./static.js";
import { staticError } from "./static-error.js";

const OPTIONS = {
  split: { kind: "switch", summary: "search the split into exponent and significand", default: true },
  preShift: { kind: "switch", summary: "an exponent bias for each channel, moved into the weights", default: true },
  steps: { kind: "integer", summary: "clipping ranges tried", default: 40, min: 1, max: 1000 },
} as const;

/**
 * Channels differ in size by powers of two more than a 4-bit float can span. Each channel j gets an exponent bias: it is divided
 * by b_j = 2^floor(log2(max_j / min over channels)), clipped to what the exponent can hold, and column j of the weights is
 * multiplied by it. What is left takes one scale for the whole input, found together with the format's split by least squared
 * error. The paper moves the bias into the weights' own exponents; here it goes into their values before they are quantized.
 */
export const llmFp4 = activation({
  name: "llm-fp4",
  summary: "static floating point with its exponent split, range and an exponent bias for each channel searched",
  source: "Liu et al. 2023 (LLM-FP4), arXiv 2310.16836, sections 3.2 (search) and 3.3 (pre-shifted exponent bias)",
  options: OPTIONS,
  essential: true,
  needs: () => "moments",
  fault: (scheme) =>
    scheme.element.kind === "minifloat" ? oneScale(scheme) : `${scheme.element.name} is no floating-point format`,
  choose({ scheme, columns, statistics, isTable }, { split, preShift, steps }) {
    if (!statistics?.sample) throw new Error("the search needs a sample of the input");
    const given = scheme.element as MinifloatFormat;
    const biases =
      preShift && !isTable ? channelBiases(statistics.maxAbsolute, given) : new Float64Array(columns).fill(1);
    const values = statistics.sample.map((x, i) => x / biases[i % columns]);
    const weights = values.map((_, i) => biases[i % columns]);
    const found = leastError(split ? splitsOf(given) : [given], values, weights, steps);
    const shifted = biases.some((bias) => bias !== 1);
    const shift: StepRecord[] = shifted ? [{ kind: "scale", factors: Array.from(biases, (bias) => 1 / bias) }] : [];
    return {
      input: [...shift, { kind: "static", format: found.format.name, scales: [found.scale] }],
      ...(shifted && { scales: biases }),
      notes: { exponentBits: found.format.exponentBits, largestBias: Math.log2(Math.max(...biases)) },
    };
  },
});

/** Powers of two, 1 for the smallest channel, at most what the exponent of the format can make up for. */
function channelBiases(maxAbsolute: Float64Array, { exponentBits }: MinifloatFormat): Float64Array {
  const present = maxAbsolute.filter((x) => x > 0);
  const least = present.reduce((low, x) => Math.min(low, x), Number.POSITIVE_INFINITY);
  const most = 2 ** exponentBits - 1;
  return maxAbsolute.map((x) => (x > 0 ? 2 ** Math.min(most, Math.floor(Math.log2(x / least))) : 1));
}

/** The format, and those of the same width that split it in another way. */
export function splitsOf(given: MinifloatFormat): readonly MinifloatFormat[] {
  const { bits, exponentBits } = given;
  const others = Array.from({ length: bits - 1 }, (_, i) => i + 1).filter((e) => e !== exponentBits);
  const found = others.map((e) => formats.find(`e${e}m${bits - 1 - e}`));
  return [given, ...found.filter((format): format is MinifloatFormat => format?.kind === "minifloat")];
}

interface Found {
  readonly format: MinifloatFormat;
  readonly scale: number;
}

/** Format and scale S that make sum weight^2 (x - S v(code))^2 least. */
function leastError(
  candidates: readonly MinifloatFormat[],
  values: Float32Array,
  weights: Float32Array,
  steps: number,
): Found {
  const largest = values.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
  let best: Found & { readonly error: number } = { format: candidates[0], scale: 1, error: Number.POSITIVE_INFINITY };
  for (const format of candidates) {
    for (let step = 0; step < steps; step++) {
      const scale = Math.fround((largest * (1 - (0.9 * step) / steps)) / scaleTarget(format as NumberFormat));
      const error = staticError(format, values, scale, weights);
      if (error < best.error) best = { format, scale, error };
    }
  }
  return best;
}
