import { transform } from "./transform.js";

/**
 * Moves the difficulty of outlier activations into the weights: s_j = max|x_j|^alpha / max|w_j|^(1 - alpha), so that an input
 * rounded to 8 bits after division by s loses less. Of use where activations are rounded too.
 */
export const smoothquant = transform({
  name: "smoothquant",
  summary: "outlier activations moved into the weights, channel by channel",
  source: "Xiao et al. 2022, arXiv 2211.10438, equation 4",
  options: {
    alpha: { kind: "number", summary: "how much is moved", default: 0.5, min: 0, max: 1 },
    online: {
      kind: "switch",
      summary: "where nothing before can take the division over, divide activations as they come",
      default: false,
    },
  },
  needs: () => "moments",
  online: ({ online }) => online,
  choose({ consumers, statistics }, { alpha }) {
    const { columns, maxAbsolute } = statistics;
    const largest = new Float64Array(columns);
    for (const { values } of consumers) {
      for (let i = 0; i < values.length; i++) {
        const j = i % columns;
        if (Math.abs(values[i]) > largest[j]) largest[j] = Math.abs(values[i]);
      }
    }
    const scales = maxAbsolute.map((x, j) => {
      return x === 0 || largest[j] === 0 ? 1 : Math.max(x ** alpha / largest[j] ** (1 - alpha), 1e-5);
    });
    return { scales };
  },
});
