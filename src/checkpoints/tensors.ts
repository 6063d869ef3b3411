/** What both containers need of packed tensors: the planes of a shape, checks of what is about to be written. */

import { InputError, UnsupportedError } from "../errors.js";
import { type PlaneLayout, planeLayouts } from "../formats/planes.js";
import type { PlaneName, Scheme } from "../formats/scheme.js";
import { columnsOf, type PackedTensor, rowsOf } from "../tensor/index.js";
import type { CheckpointContent, TensorEntry, TensorPlan } from "./checkpoint.js";
import { place, quote } from "./source.js";

/** The planes of a tensor, codes first. */
export function planesOf(scheme: Scheme, shape: readonly number[]): readonly [PlaneName, PlaneLayout][] {
  return Object.entries(planeLayouts(scheme, rowsOf(shape), columnsOf(shape))) as [PlaneName, PlaneLayout][];
}

/** The entry of that name; an InputError otherwise. */
export function entryNamed<T>(entries: ReadonlyMap<string, T>, name: string, path: string): T {
  const entry = entries.get(name);
  if (entry) return entry;
  throw new InputError(`there is no tensor ${quote(name)}`, {
    kind: "unknown-tensor",
    where: path,
    why: `the file has ${entries.size} tensors`,
  });
}

/** More than any typed array of the supported engines holds. */
const MAX_TENSOR_BYTES = 2 ** 32;

/** The scheme of an entry that is about to be read. */
export function readableScheme(entry: TensorEntry): Scheme {
  const where = place(entry.file, { tensor: entry.name, offset: entry.offset });
  if (entry.bytes > MAX_TENSOR_BYTES) {
    throw new UnsupportedError("a tensor is too large", {
      kind: "too-large",
      where,
      why: `${entry.bytes} bytes, at most ${MAX_TENSOR_BYTES}`,
    });
  }
  if (entry.scheme) return entry.scheme;
  throw new UnsupportedError(`tensors of type ${entry.type} cannot be read`, {
    kind: "wrong-dtype",
    where,
    why: "this type has no scheme: it is listed only",
    try: "convert the model to another type, or leave this tensor out",
  });
}

/** Fails on names that appear twice, before anything is written. */
export function checkPlans(tensors: readonly TensorPlan[]): void {
  const seen = new Set<string>();
  for (const { name, shape } of tensors) {
    if (seen.has(name)) throw new InputError(`two tensors to write are called ${quote(name)}`);
    seen.add(name);
    if (shape.some((n) => !Number.isSafeInteger(n) || n < 0)) {
      throw new InputError(`tensor ${quote(name)} has the impossible shape [${shape.join(", ")}]`);
    }
  }
}

/** The next tensor from `content`, proved to be what was planned. */
export async function produced(content: CheckpointContent, index: number): Promise<PackedTensor> {
  const plan = content.tensors[index];
  const tensor = await content.produce(plan, index);
  const wanted = `${plan.scheme.name} [${plan.shape.join(", ")}]`;
  const got = `${tensor.scheme.name} [${tensor.shape.join(", ")}]`;
  if (got !== wanted) throw mismatch(plan, `wanted ${wanted}, got ${got}`);
  for (const [name, layout] of planesOf(plan.scheme, plan.shape)) {
    const [bytes, wantedBytes] = [tensor.planes[name]?.length, layout.rows * layout.bytesPerRow];
    if (bytes !== wantedBytes) throw mismatch(plan, `${name}: wanted ${wantedBytes} bytes, got ${bytes}`);
  }
  return tensor;
}

const mismatch = (plan: TensorPlan, why: string) =>
  new InputError(`tensor ${quote(plan.name)} is not what was planned`, { where: `tensor ${quote(plan.name)}`, why });
