/** What two rows of logits say about the next token. All in nats and binary64. */
import { NumericError } from "../errors.js";

/** log(sum(exp(logits))), shifted by the largest so that nothing overflows. */
export function logSumExp(logits: Float32Array): number {
  let largest = -Infinity;
  for (const logit of logits) if (logit > largest) largest = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - largest);
  const result = largest + Math.log(sum);
  if (!Number.isFinite(result))
    throw new NumericError("the model's logits are not finite numbers", { kind: "non-finite-logits" });
  return result;
}

/**
 * Kullback-Leibler divergence sum_i p_i (log p_i - log q_i) of q (the model) from p (the base), given both rows of
 * logits and their logSumExp. Rounding can leave it below zero by 1e-16 or so; it is cut off there.
 */
export function klDivergence(base: Float32Array, baseTotal: number, model: Float32Array, modelTotal: number): number {
  let sum = 0;
  for (let i = 0; i < base.length; i++) {
    const logP = base[i] - baseTotal;
    sum += Math.exp(logP) * (logP - (model[i] - modelTotal));
  }
  return Math.max(0, sum);
}
