/** The compensation steps of a recipe, done to matrices that have been quantized. */
import type { Products } from "../kernels/products.js";
import { dequantize } from "../tensor/index.js";
import type { FinishedTensor } from "./artifacts.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { InputStatistics } from "./statistics.js";

/** A pair that stands beside a weight. */
export interface Pair {
  readonly role: string;
  readonly rank: number;
  readonly tensors: readonly FinishedTensor[];
}

/** The pairs of the matrices that a step takes. `values` are what they were quantized from, by role. */
export function compensated(
  { recipe }: QuantizePlan,
  maps: readonly PlannedTensor[],
  made: readonly FinishedTensor[],
  values: ReadonlyMap<string, Float32Array>,
  statistics: InputStatistics | undefined,
  products: Products,
): Pair[] {
  return made.flatMap(({ role, packed }) => {
    const name = maps.find(({ spec }) => spec?.role === role)?.name ?? "";
    const step = recipe.compensations.find(({ pattern }) => pattern.test(name) || pattern.test(role));
    const original = values.get(role);
    if (!step || !original) return [];
    const [rows, columns] = packed.shape;
    const job = { original, quantized: dequantize(packed), shape: [rows, columns] as const, statistics };
    const begin = performance.now();
    const { a, b, notes } = step.compensation.compensate({ ...job, seed: recipe.seed, products }, step.options);
    const seconds = (performance.now() - begin) / 1000;
    const report = {
      relativeMse: errorLeft(original, job.quantized, dequantize(a), dequantize(b), columns),
      notes,
      seconds,
    };
    const tensors = [
      { role: `${role}.lowrank_a`, packed: a, report: { ...report, method: step.compensation.name } },
      { role: `${role}.lowrank_b`, packed: b, report: { ...report, method: step.compensation.name } },
    ];
    return [{ role, rank: b.shape[0], tensors }];
  });
}

/** ||W - Q(W) - A B||^2 / ||W||^2. */
function errorLeft(w: Float32Array, q: Float32Array, a: Float32Array, b: Float32Array, columns: number): number {
  const rank = b.length / columns;
  const row = new Float64Array(columns);
  let [error, power] = [0, 0];
  for (let i = 0; i < w.length / columns; i++) {
    for (let j = 0; j < columns; j++) row[j] = w[i * columns + j] - q[i * columns + j];
    for (let k = 0; k < rank; k++) {
      const factor = a[i * rank + k];
      for (let j = 0; j < columns; j++) row[j] -= factor * b[k * columns + j];
    }
    for (let j = 0; j < columns; j++) {
      error += row[j] * row[j];
      power += w[i * columns + j] ** 2;
    }
  }
  return power === 0 ? 0 : error / power;
}
