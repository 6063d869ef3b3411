/** The factor that walks along a Hessian estimated from a text, which may lack channels or rank. */
import { NumericError } from "../errors.js";
import { inverseUpperFactor } from "./cholesky.js";
import type { InputStatistics } from "./statistics.js";

/**
 * U, upper triangular, with (H + damping mean(diag H) I)^-1 = U^T U, H with its rows and columns in `order`. Channels that
 * were never active get 1 on the diagonal, so they are rounded to nearest and change nothing else. Where the factorisation
 * fails, damping grows tenfold; how often is noted.
 */
export function dampedInverseFactor(
  { hessian, columns }: InputStatistics,
  damping: number,
  order: ArrayLike<number> = Array.from({ length: columns }, (_, j) => j),
) {
  const h = hessian as Float64Array;
  const diagonal = Float64Array.from({ length: columns }, (_, j) => h[j * columns + j]);
  const deadColumns = diagonal.reduce((count, x) => count + (x === 0 ? 1 : 0), 0);
  const mean = diagonal.reduce((sum, x) => sum + x, 0) / columns || 1;
  let share = damping;
  for (let dampingRetries = 0; dampingRetries < 8; dampingRetries++) {
    const permuted = new Float64Array(columns * columns);
    for (let i = 0; i < columns; i++) {
      const row = order[i] * columns;
      for (let j = 0; j < columns; j++) permuted[i * columns + j] = h[row + order[j]];
      permuted[i * columns + i] += share * mean + (diagonal[order[i]] === 0 ? mean : 0);
    }
    const factor = inverseUpperFactor(permuted, columns);
    if (factor) return { factor, notes: { deadColumns, dampingRetries, damping: share } };
    share = Math.max(1e-4, share * 10);
  }
  throw new NumericError("the Hessian cannot be factorised", {
    kind: "singular-matrix",
    why: `it is not positive definite even with ${share} of its mean diagonal added`,
    try: "more calibration text, or another method",
  });
}
