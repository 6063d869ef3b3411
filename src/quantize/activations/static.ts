import { type NumberFormat, scaleTarget } from "../../formats/index.js";
import type { Scheme } from "../../formats/scheme.js";
import { choice, type ValuesOf } from "../../options.js";
import { activation } from "./activation.js";
import { staticError } from "./static-error.js";

const OPTIONS = {
  range: choice(
    "what is taken for the largest magnitude: the largest seen, a percentile, or what rounds with the least squared error",
    ["mse", "max", "percentile"],
    "mse",
  ),
  percentile: { kind: "number", summary: "of the magnitudes, for range=percentile", default: 99.9, min: 50, max: 100 },
  per: choice("one scale for the whole input, or one for each channel", ["tensor", "channel"], "tensor"),
  steps: {
    kind: "integer",
    summary: "ranges tried, from the largest seen down to a fifth",
    default: 80,
    min: 1,
    max: 1000,
  },
} as const;

/** Scales fixed once, from what calibration saw; what lies beyond is cut off. */
export const staticRange = activation({
  name: "static",
  summary: "rounded with scales fixed by calibration, one for the input or one for each channel",
  source:
    "Jacob et al. 2018, arXiv 1712.05877; percentile and least squared error: Wu et al. 2020, arXiv 2004.09602, section 4.2",
  options: OPTIONS,
  needs: () => "moments",
  fault: oneScale,
  choose({ scheme, columns, statistics }, options) {
    if (!statistics?.sample) throw new Error("static ranges need a sample of the input");
    const { element } = scheme;
    const { sample, maxAbsolute } = statistics;
    const channels = options.per === "channel" ? columnsOf(sample, columns) : [sample];
    const scales = channels.map((values, channel) => {
      // Of all tokens: the few that stand out most need not be in the sample.
      const largest =
        options.per === "channel" ? maxAbsolute[channel] : maxAbsolute.reduce((a, b) => Math.max(a, b), 0);
      return Math.fround(rangeOf(element, values, largest, options) / scaleTarget(element));
    });
    return { input: [{ kind: "static", format: element.name, scales: scales.map((s) => (s > 0 ? s : 1)) }] };
  },
});

/** Static scales replace the one that a scheme gives each row. */
export function oneScale({ name, scale, offset, tags }: Scheme): string | undefined {
  if (!offset && !tags && !scale?.super && (scale?.per ?? "row") === "row") return undefined;
  return `${name} has more than one scale for a row; int8-row and e4m3fn-row, say, have one`;
}

function columnsOf(sample: Float32Array, columns: number): Float32Array[] {
  const rows = sample.length / columns;
  return Array.from({ length: columns }, (_, j) =>
    Float32Array.from({ length: rows }, (_, row) => sample[row * columns + j]),
  );
}

function rangeOf(
  element: NumberFormat,
  values: Float32Array,
  largest: number,
  options: ValuesOf<typeof OPTIONS>,
): number {
  if (options.range === "max" || largest === 0) return largest;
  if (options.range === "percentile") {
    const magnitudes = values.map(Math.abs).sort();
    return magnitudes[Math.min(values.length - 1, Math.floor((options.percentile / 100) * values.length))];
  }
  let [best, least] = [largest, Number.POSITIVE_INFINITY];
  for (let step = 0; step < options.steps; step++) {
    const range = largest * (1 - (0.8 * step) / options.steps);
    const error = staticError(element, values, range / scaleTarget(element));
    if (error < least) [best, least] = [range, error];
  }
  return best;
}
