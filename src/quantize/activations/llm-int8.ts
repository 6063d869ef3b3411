import { activation } from "./activation.js";

const OPTIONS = {
  threshold: { kind: "number", summary: "a channel that reached this magnitude is kept apart", default: 6, min: 0 },
  most: {
    kind: "number",
    summary: "share of channels kept apart at most, the largest first",
    default: 0.05,
    min: 0,
    max: 1,
  },
} as const;

/**
 * Channels with outliers leave both input and weights and are multiplied in 16 bits; all others are rounded with one scale for
 * each token. With weights of one scale for each row (`int8-row`) this is the paper's vector-wise product. Which channels those
 * are is decided by calibration, so that a token's result does not depend on its neighbours.
 */
export const llmInt8 = activation({
  name: "llm-int8",
  summary: "rounded token by token, but for channels with outliers, whose columns are kept apart in 16 bits",
  source:
    "Dettmers et al. 2022, arXiv 2208.07339, section 3.2; the share of channels kept apart is bounded here, " +
    "because norms of small models scale whole inputs beyond the threshold",
  options: OPTIONS,
  essential: true,
  needs: () => "moments",
  choose({ scheme, columns, statistics, isTable }, { threshold, most }) {
    const input = [{ kind: "round", scheme: scheme.name }];
    if (isTable) return { input };
    if (!statistics) throw new Error("outliers are found in statistics of the input");
    const { maxAbsolute } = statistics;
    const order = Array.from({ length: columns }, (_, j) => j).sort((i, j) => maxAbsolute[j] - maxAbsolute[i] || i - j);
    const beyond = order.filter((j) => maxAbsolute[j] > threshold);
    const apart = beyond.slice(0, Math.floor(most * columns)).sort((i, j) => i - j);
    const notes = { outlierChannels: beyond.length, channelsApart: apart.length };
    return { input, apart, notes };
  },
});
