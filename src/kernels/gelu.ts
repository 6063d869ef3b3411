/**
 * GELU in f32 as every backend computes it, operation by operation, so that results agree to the bit. gelu(x) is x times
 * the chance that a standard normal number lies below x (Hendrycks and Gimpel, 2016). With Q(a) = erfc(a / sqrt 2) / 2, the
 * chance of more than a, no cancellation is left:
 *
 *     gelu(x) = max(x, 0) - a Q(a)           a = min(|x|, 13); beyond 13 the product is below 2^-120
 *     Q(a)    = exp(-a^2 / 2) t p(t)         t = 1 / (1 + 0.3 a), p of degree 7
 *
 * p is a minimax fit of erfc(a / sqrt 2) exp(a^2 / 2) / 2 over 0 <= a <= 13 (relative error 1.2e-7; the form is the one of
 * Abramowitz and Stegun, 7.1.26). The tanh form is the approximation of the same paper, which GPT-2 and its heirs use:
 *
 *     x / (1 + exp(-2 u))                    u = sqrt(2 / pi) (x + 0.044715 x^3)
 *
 * Every step is one rounded f32 operation; NaN stays NaN.
 */
import { expF32 } from "./exp.js";

/** `erf`: the definition, as BERT has it. `tanh`: the approximation of GPT-2. */
export type GeluForm = "erf" | "tanh";

export const geluConstants = {
  largest: 13,
  slope: Math.fround(0.3),
  /** Of t p(t), highest power first; the last is that of t. */
  coefficients: [
    0.0361948085159266, -0.15937810224303714, 0.2101180173932555, -0.05716704298705947, 0.13041629448855002,
    0.09934717239056973, 0.1208455283967223, 0.11962326780227071,
  ].map(Math.fround),
  cubic: Math.fround(0.044715),
  /** -2 sqrt(2 / pi) */
  scale: Math.fround(-2 * Math.sqrt(2 / Math.PI)),
} as const;

const f = Math.fround;

/** x * P(N(0, 1) < x) for an f32 x. */
export function geluF32(x: number): number {
  const { largest, slope, coefficients } = geluConstants;
  const a = Math.min(Math.abs(x), largest);
  const t = f(1 / f(1 + f(slope * a)));
  let p = coefficients[0];
  for (const c of coefficients.slice(1)) p = f(f(p * t) + c);
  const tail = f(expF32(f(-0.5 * f(a * a))) * f(p * t));
  return f(Math.max(x, 0) - f(a * tail));
}

/** x / (1 + exp(-2 sqrt(2 / pi) (x + 0.044715 x^3))) for an f32 x. */
export function geluTanhF32(x: number): number {
  const { cubic, scale } = geluConstants;
  const inner = f(x + f(f(f(x * x) * x) * cubic));
  return f(x / f(1 + expF32(f(scale * inner))));
}
