import { rootMeanSquare } from "../../models/index.js";
import { activation } from "./activation.js";

const OPTIONS = {
  threshold: {
    kind: "number",
    summary: "numbers beyond this many root mean squares of their token's input are outliers",
    default: 4,
    min: 1,
  },
  often: {
    kind: "number",
    summary: "share of tokens in which a channel holds an outlier for its column of the weights to be kept apart",
    default: 0.06,
    min: 0,
    max: 1,
  },
  most: {
    kind: "number",
    summary: "share of channels kept apart at most, those that hold outliers most often",
    default: 0.05,
    min: 0,
    max: 1,
  },
} as const;

/**
 * Outliers are multiplied as they are, all else is rounded with one scale for each token; with weights of one scale for each row
 * (`int8-row`) this is the paper's vector-wise product. A token finds its own outliers, so that its result does not depend on
 * its neighbours. Channels that hold outliers often, by calibration, leave the weights as well, which keep those columns in 16
 * bits. The paper's threshold of 6 is of the inputs of large models, whose norms leave them a root mean square of about 1; those
 * of small models differ, so that here it counts root mean squares: 4 of them leave a hundredth of the numbers as they are.
 */
export const llmInt8 = activation({
  name: "llm-int8",
  summary:
    "rounded token by token, but for outliers; weights of channels that often hold them are kept apart in 16 bits",
  source:
    "Dettmers et al. 2022, arXiv 2208.07339, sections 3.2 (decomposition) and 4 (6 % of tokens); a threshold relative to the " +
    "token and outliers found for each token, not for each batch, are this library's",
  options: OPTIONS,
  essential: true,
  needs: () => "moments",
  choose({ scheme, columns, statistics, isTable }, { threshold, often, most }) {
    const input = [{ kind: "round", scheme: scheme.name, beyond: threshold }];
    if (isTable) return { input };
    if (!statistics?.sample) throw new Error("channels of outliers are found in a sample of the input");
    const { shares, outliers } = outlierShares(statistics.sample, columns, threshold);
    const order = Array.from(shares.keys()).sort((i, j) => shares[j] - shares[i] || i - j);
    const frequent = order.filter((j) => shares[j] > 0 && shares[j] >= often);
    const apart = frequent.slice(0, Math.floor(most * columns)).sort((i, j) => i - j);
    const notes = { outlierShare: outliers, outlierChannels: frequent.length, channelsApart: apart.length };
    return { input, apart, notes };
  },
});

/** Share of tokens in which each channel holds an outlier, and the share of outliers among all numbers. */
function outlierShares(sample: Float32Array, columns: number, threshold: number) {
  const tokens = sample.length / columns;
  const shares = new Float64Array(columns);
  for (let start = 0; start < sample.length; start += columns) {
    const limit = threshold * rootMeanSquare(sample, start, columns);
    for (let j = 0; j < columns; j++) if (Math.abs(sample[start + j]) > limit) shares[j] += 1 / tokens;
  }
  return { shares, outliers: shares.reduce((sum, share) => sum + share, 0) / columns };
}
