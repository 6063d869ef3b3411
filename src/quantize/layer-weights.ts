/** The weights of one part of a model on their way: as numbers, by role, and as a layer runner loads them. */
import { schemes } from "../formats/index.js";
import { type LayerWeights, type LinearGroup, readVector, readWeight } from "../models/index.js";
import { dequantize, type PackedTensor } from "../tensor/index.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Unit } from "./units.js";

/** Numbers by full role. */
export type Values = Map<string, Float32Array>;

/** The weights of a unit as f32 numbers, by role. */
export async function readAll({ checkpoint }: QuantizePlan, unit: Unit): Promise<Values> {
  const values: Values = new Map();
  for (const { spec } of unit.tensors) {
    if (!spec) continue;
    const packed = spec.shape.length > 1 ? await readWeight(checkpoint, spec) : undefined;
    const numbers = packed ? dequantize(packed) : await readVector(checkpoint, spec);
    if (numbers) values.set(spec.role, numbers);
  }
  return values;
}

/** The numbers as they are. */
export function plainWeights(unit: Unit, values: Values): Map<string, PackedTensor | Float32Array> {
  const weights = new Map<string, PackedTensor | Float32Array>();
  for (const { spec } of unit.tensors) {
    const numbers = spec && values.get(spec.role);
    if (spec && numbers) weights.set(spec.role, spec.shape.length > 1 ? plain(numbers, spec.shape) : numbers);
  }
  return weights;
}

/** The last maps of a layer without any outputs: nothing that is observed comes after them, and their products take long. */
export function withoutRows(weights: LayerWeights, unit: Unit, roles: readonly string[]): LayerWeights {
  const fewer = new Map(weights);
  for (const role of roles.map((one) => `${unit.name}.${one}`)) {
    const whole = weights.get(role);
    if (!whole || whole instanceof Float32Array) continue;
    fewer.set(role, plain(new Float32Array(), [0, whole.shape[1]]));
    fewer.delete(`${role}.bias`);
  }
  return fewer;
}

/** What a layer's stage needs: the maps of the group before it, and the first of the group after it without any outputs. */
export function stageWeights(
  weights: LayerWeights,
  { name }: Unit,
  groups: readonly LinearGroup[],
  stage: number,
): LayerWeights {
  const before = (groups[stage - 1]?.roles ?? []).map((role) => `${name}.${role}`);
  const after = groups[stage] && `${name}.${groups[stage].roles[0]}`;
  const taken = new Map<string, PackedTensor | Float32Array>();
  for (const [role, weight] of weights) {
    const own = before.some((one) => role === one || role.startsWith(`${one}.`));
    if (own || weight instanceof Float32Array) taken.set(role, weight);
    else if (role === after) taken.set(role, plain(new Float32Array(), [0, weight.shape[1]]));
  }
  return taken;
}

const F32 = schemes.get("f32");

/** Numbers as a tensor of f32, in the same memory. */
export const plain = (values: Float32Array, shape: readonly number[]): PackedTensor => ({
  scheme: F32,
  shape,
  planes: { codes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
});
