/** From a checkpoint's tensors to a model's weights, in canonical order and checked against the weight table. */
import type { Checkpoint, TensorEntry } from "../checkpoints/checkpoint.js";
import { FileError, UnsupportedError } from "../errors.js";
import type { Activations, Backend, Buffer, Matrix } from "../kernels/backend.js";
import { dequantize, gatherRows, type PackedTensor } from "../tensor/index.js";
import type { WeightSpec, Weights } from "./architecture.js";
import { makeLinears } from "./linear.js";
import { type LinearRecords, withBeside } from "./linear-records.js";

/** The tensor of the file that holds `spec`; undefined if it is optional and absent. */
export function findWeight(checkpoint: Checkpoint, spec: WeightSpec): TensorEntry | undefined {
  const name = nameIn(checkpoint.container, spec);
  const entry = name === undefined ? undefined : checkpoint.tensors.find((tensor) => tensor.name === name);
  if (!entry) {
    if (spec.optional || name === undefined) return undefined;
    throw new FileError(`tensor "${name}" is missing`, {
      kind: "missing-tensor",
      where: checkpoint.path,
      why: `the architecture needs it as ${spec.role}, shape [${spec.shape}]`,
    });
  }
  if (entry.shape.length !== spec.shape.length || entry.shape.some((size, axis) => size !== spec.shape[axis])) {
    throw new FileError(`tensor "${entry.name}" has the wrong shape`, {
      kind: "wrong-shape",
      where: `${entry.file}, offset ${entry.offset}`,
      why: `got [${entry.shape}], the configuration wants [${spec.shape}]`,
    });
  }
  if (!entry.scheme) {
    throw new UnsupportedError(`tensor "${entry.name}" has type ${entry.type}, which cannot be read as weights`, {
      kind: "wrong-dtype",
      where: `${entry.file}, offset ${entry.offset}`,
    });
  }
  return entry;
}

export function nameIn(container: string, spec: WeightSpec): string | undefined {
  return container === "gguf" ? spec.names.gguf : spec.names.safetensors;
}

/** The weight in canonical (Hugging Face) row order, still packed. */
export async function readWeight(checkpoint: Checkpoint, spec: WeightSpec): Promise<PackedTensor | undefined> {
  const entry = findWeight(checkpoint, spec);
  if (!entry) return undefined;
  const packed = await checkpoint.read(entry.name);
  if (checkpoint.container !== "gguf" || !spec.ggufRows || packed.shape.length < 2) return packed;
  return gatherRows(packed, inverse(spec.ggufRows));
}

/** A norm, bias or table as f32 numbers in canonical order. */
export async function readVector(checkpoint: Checkpoint, spec: WeightSpec): Promise<Float32Array | undefined> {
  const packed = await readWeight(checkpoint, spec);
  if (!packed) return undefined;
  const values = dequantize(packed);
  if (checkpoint.container !== "gguf" || !spec.ggufRows) return values;
  return Float32Array.from(inverse(spec.ggufRows), (row) => values[row]);
}

/** Several weights by role, matrices as they are packed, norms and biases as numbers; those that are there. */
export async function readWeights(
  checkpoint: Checkpoint,
  specs: readonly WeightSpec[],
): Promise<Map<string, PackedTensor | Float32Array>> {
  const weights = new Map<string, PackedTensor | Float32Array>();
  for (const spec of specs) {
    const found = await (spec.shape.length > 1 ? readWeight : readVector)(checkpoint, spec);
    if (found) weights.set(spec.role, found);
  }
  return weights;
}

/** The permutation that undoes `order`: inverse(order)[order[i]] = i. */
export function inverse(order: readonly number[]): number[] {
  const back = new Array<number>(order.length);
  order.forEach((from, to) => {
    back[from] = to;
  });
  return back;
}

/** What `read` makes of each item, in order; it reads the next one while the one before is worked on. */
async function* readAhead<T, R>(items: readonly T[], read: (item: T) => Promise<R>): AsyncGenerator<readonly [T, R]> {
  let next: Promise<R> | undefined;
  for (const [i, item] of items.entries()) {
    const found = await (next ?? read(item));
    next = i + 1 < items.length ? read(items[i + 1]) : undefined;
    // An error is thrown where the item's turn comes; if that never comes, nobody needs it.
    next?.catch(() => {});
    yield [item, found];
  }
}

/** Weights in a backend's memory, given back by `dispose`. */
export interface LoadedWeights extends Weights {
  dispose(): void;
}

/** `records`: what the linear maps do besides (linear.ts). */
export async function loadWeights(
  backend: Backend,
  checkpoint: Checkpoint,
  table: readonly WeightSpec[],
  activations: Activations,
  records: LinearRecords = {},
): Promise<LoadedWeights> {
  const own = new Set(table);
  const specs = withBeside(table, records, checkpoint.path);
  for (const spec of specs) findWeight(checkpoint, spec);
  const matrices = new Map<string, Matrix>();
  const vectors = new Map<string, Buffer>();
  const read = async (spec: WeightSpec) =>
    spec.shape.length > 1 ? readWeight(checkpoint, spec) : readVector(checkpoint, spec);
  for await (const [spec, found] of readAhead(specs, read)) {
    if (found instanceof Float32Array) vectors.set(spec.role, backend.upload(found));
    else if (found)
      matrices.set(spec.role, backend.loadMatrix(found, spec.table || !own.has(spec) ? "f32" : activations));
  }
  const matrix = (role: string) => matrices.get(role) ?? absent(role);
  const optionalVector = (role: string) => vectors.get(role);
  const linears = makeLinears({ backend, records, matrix, optionalVector });
  return {
    linear: linears.linear,
    matrix,
    vector: (role) => vectors.get(role) ?? absent(role),
    optionalVector,
    dispose() {
      linears.dispose();
      for (const matrix of matrices.values()) backend.freeMatrix(matrix);
      for (const vector of vectors.values()) backend.free(vector);
    },
  };
}

function absent(role: string): never {
  throw new Error(`no weight is loaded as ${role}`);
}
