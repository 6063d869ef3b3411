/** How a backend holds and multiplies weights, and why: asked of the backend itself, which plans when it loads. */
import type { Checkpoint } from "../checkpoints/checkpoint.js";
import { scheme } from "../formats/index.js";
import type { Activations, Backend, Matrix } from "../kernels/backend.js";
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
  const weight = repeated(scheme(name).name, rows, columns);
  const matrix = backend.loadMatrix(weight, activations);
  backend.freeMatrix(matrix);
  return rowOf(matrix, weight, "matrix");
}

/** The plans of a model's matrices, those of a kind together. */
export async function planModel(
  backend: Backend,
  checkpoint: Checkpoint,
  activations: Activations,
): Promise<readonly PlanRow[]> {
  const architecture = architectureOf(checkpoint);
  // All are held at once, as in use: how a matrix is held may depend on how many there are.
  const held: Matrix[] = [];
  const rows = new Map<string, PlanRow>();
  for (const spec of architecture.weights(architecture.parse(checkpoint))) {
    if (spec.shape.length !== 2) continue;
    const weight = await readWeight(checkpoint, spec);
    if (!weight) continue;
    const role = spec.role.replace(/\.\d+\./, ".*.");
    const matrix = backend.loadMatrix(weight, activations);
    held.push(matrix);
    const key = `${role} ${weight.scheme.name} ${matrix.plan}`;
    const known = rows.get(key);
    rows.set(key, known ? { ...known, count: known.count + 1 } : rowOf(matrix, weight, role));
  }
  for (const matrix of held) backend.freeMatrix(matrix);
  return [...rows.values()];
}

function rowOf({ rows, columns, bytes, plan }: Matrix, { scheme: { name } }: PackedTensor, role: string): PlanRow {
  const bitsPerWeight = (8 * bytes) / (rows * columns);
  return { role, count: 1, scheme: name, shape: [rows, columns], bytes, bitsPerWeight, plan };
}
