/** Means of correlated numbers, with intervals that admit the correlation. */

export interface Estimate {
  readonly mean: number;
  /** 95 % confidence interval of the mean; infinite ends when there are too few numbers to tell. */
  readonly ci95: readonly [number, number];
}

/** Neighbouring tokens of a text are not independent; blocks of this many nearly are. */
export const BLOCK_TOKENS = 64;

/**
 * The mean of `values` and its 95 % interval by non-overlapping batch means: the standard error is that of the means of
 * consecutive blocks of `block` values (an incomplete last block is left out of the error, not of the mean), the
 * quantile is Student's t with one degree of freedom less than there are blocks.
 *
 * Source: Law and Kelton, "Simulation Modeling and Analysis", section 9.5.3.
 */
export function estimate(values: Float64Array, block = BLOCK_TOKENS): Estimate {
  const mean = average(values);
  const blocks = Math.floor(values.length / block);
  if (blocks < 2) return { mean, ci95: [-Infinity, Infinity] };
  const means = Float64Array.from({ length: blocks }, (_, i) => average(values.subarray(i * block, (i + 1) * block)));
  const centre = average(means);
  const variance = means.reduce((sum, value) => sum + (value - centre) ** 2, 0) / (blocks - 1);
  const half = studentQuantile(blocks - 1) * Math.sqrt(variance / blocks);
  return { mean, ci95: [mean - half, mean + half] };
}

function average(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/**
 * The 97.5 % quantile of Student's t with `freedom` degrees of freedom: exact for 1 and 2, otherwise the Cornish-Fisher
 * expansion (Abramowitz and Stegun 26.7.5), within 0.3 % for 3 and more.
 */
export function studentQuantile(freedom: number): number {
  if (freedom === 1) return 12.706204736;
  if (freedom === 2) return 4.3026527299;
  const z = 1.959963984540054;
  const terms = [
    z,
    (z ** 3 + z) / 4,
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / 96,
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / 384,
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / 92160,
  ];
  return terms.reduce((sum, term, power) => sum + term / freedom ** power, 0);
}
