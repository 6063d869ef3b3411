/** How a backend holds and multiplies weights, and why: asked of the backend itself, which plans when it loads. */
import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { scheme } from "../formats/index.js";
import type { Activations, Backend } from "../kernels/backend.js";
import { architectureOf } from "../models/architectures.js";
import { readWeight } from "../models/weights.js";
import type { PackedTensor } from "../tensor/packed.js";
import { repeated } from "./kernels.js";

export interface PlanRow {
  /** What the matrix is for: "layers.*.query" stands for that of every layer. */
  readonly role: string;
  /** How many matrices are held so. */
  readonly count: number;
  readonly scheme: string;
  /** [outputs, inputs] */
  readonly shape: readonly [number, number];
  /** Bytes that the backend holds for one of them. */
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly plan: string;
}

/** The plan of a matrix of that scheme and shape. */
export function planScheme(backend: Backend, name: string, rows: number, columns: number, activations: Activations) {
  return planOf(backend, repeated(scheme(name).name, rows, columns), "matrix", activations);
}

/** The plans of a model's matrices, those of a kind together. */
export async function planModel(
  backend: Backend,
  checkpoint: Checkpoint,
  activations: Activations,
): Promise<readonly PlanRow[]> {
  const architecture = architectureOf(checkpoint);
  const rows = new Map<string, PlanRow>();
  for (const spec of architecture.weights(architecture.parse(checkpoint))) {
    if (spec.shape.length !== 2) continue;
    const weight = await readWeight(checkpoint, spec);
    if (!weight) continue;
    const role = spec.role.replace(/\.\d+\./, ".*.");
    const key = `${role} ${weight.scheme.name}`;
    const known = rows.get(key);
    rows.set(key, known ? { ...known, count: known.count + 1 } : planOf(backend, weight, role, activations));
  }
  return [...rows.values()];
}

function planOf(backend: Backend, weight: PackedTensor, role: string, activations: Activations): PlanRow {
  const matrix = backend.loadMatrix(weight, activations);
  backend.freeMatrix(matrix);
  const { rows, columns, bytes, plan } = matrix;
  const bitsPerWeight = (8 * bytes) / (rows * columns);
  return { role, count: 1, scheme: weight.scheme.name, shape: [rows, columns], bytes, bitsPerWeight, plan };
}
