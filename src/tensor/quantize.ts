/** From f32 values to a packed tensor under a scheme's own rule. */
import { NumericError } from "../errors.js";
import type { Scheme } from "../formats/scheme.js";
import type { PackedTensor } from "./packed.js";
import { allocatePlanes } from "./planes.js";
import { checkShape, columnsOf, rowsOf } from "./shape.js";

/**
 * Rounds a row-major tensor to the scheme. InputError if shape and values disagree; NumericError for a value that is
 * not finite (naming its index) or a scale that the scheme cannot hold.
 */
export function quantize(values: Float32Array, shape: readonly number[], scheme: Scheme): PackedTensor {
  checkShape(shape, values.length);
  const bad = firstNonFinite(values);
  if (bad >= 0) {
    throw new NumericError(`the value at index ${bad} is ${values[bad]}`, {
      kind: "non-finite-weights",
      why: `${scheme.name} holds finite numbers only`,
      try: "repair or leave out the tensor",
    });
  }
  const rows = rowsOf(shape);
  const columns = columnsOf(shape);
  const planes = allocatePlanes(scheme, rows, columns);
  if (values.length > 0) scheme.quantize(scheme, values, rows, columns, planes);
  return { scheme, shape, planes };
}

function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
