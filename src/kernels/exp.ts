/**
 * exp in f32 as every backend computes it, operation by operation, so that results agree to the bit:
 *
 *     x = min(max(x, -87), 88)                          so that neither overflow nor subnormals appear
 *     n = x * log2(e), rounded to the nearest integer   by adding and subtracting 1.5 * 2^23
 *     r = (x - n * high) - n * low                      with high + low = ln 2 (Cody and Waite)
 *     e = 1 + r + r^2 p(r)                              p of degree 5
 *     exp(x) = e * 2^n
 *
 * Every step is one rounded f32 operation. Relative error below 2^-22 on [-87, 88]; NaN stays NaN.
 * Source: the minimax polynomial of Moshier's Cephes library, expf.
 */
export const expConstants = {
  lowest: -87,
  highest: 88,
  log2e: Math.fround(Math.LOG2E),
  round: 12582912,
  ln2High: 0.693359375,
  ln2Low: Math.fround(-2.1219444e-4),
  /** Of p, highest power first. */
  coefficients: [
    1.98756915e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1,
  ].map(Math.fround),
} as const;

const f = Math.fround;

/** exp(x) for an f32 x. */
export function expF32(x: number): number {
  const { lowest, highest, log2e, round, ln2High, ln2Low, coefficients } = expConstants;
  const clamped = Math.min(Math.max(x, lowest), highest);
  const n = f(f(f(clamped * log2e) + round) - round);
  const r = f(f(clamped - f(n * ln2High)) - f(n * ln2Low));
  let p = coefficients[0];
  for (const c of coefficients.slice(1)) p = f(f(p * r) + c);
  const e = f(f(f(p * f(r * r)) + r) + 1);
  return f(e * 2 ** n);
}
