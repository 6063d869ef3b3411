/** From f32 values to a packed tensor under a scheme's own rule. */
import { NumericError, UnsupportedError } from "../errors.js";
import type { EncodeOptions } from "../formats/codec.js";
import type { Scheme } from "../formats/scheme.js";
import type { PackedTensor } from "./packed.js";
import { allocatePlanes } from "./planes.js";
import { checkShape, columnsOf, rowsOf } from "./shape.js";

/** How elements are encoded instead of as the scheme's rule has it: rounding, overflow, random bits. */
export type QuantizeOptions = EncodeOptions;

/**
 * Rounds a row-major tensor to the scheme. InputError if shape and values disagree; NumericError for a value that is
 * not finite (naming its index) or a scale that the scheme cannot hold; UnsupportedError for options that the scheme's rule
 * does not take (GGUF's, say, which define their rounding).
 */
export function quantize(
  values: Float32Array,
  shape: readonly number[],
  scheme: Scheme,
  options?: QuantizeOptions,
): PackedTensor {
  checkShape(shape, values.length);
  checkOptions(scheme, options);
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
  if (values.length > 0) scheme.quantize(scheme, values, rows, columns, planes, options);
  return { scheme, shape, planes };
}

function checkOptions(scheme: Scheme, options: QuantizeOptions = {}): void {
  const [given] = Object.entries(options).find(([, value]) => value !== undefined) ?? [];
  if (given === undefined || scheme.quantize.takesOptions) return;
  throw new UnsupportedError(`${scheme.name} takes no ${given}`, {
    why: "its rule says how elements are rounded",
    try: "a scheme of the families ELEMENT, ELEMENT-gG, ELEMENT-mxG, MX or NVFP4",
  });
}

function firstNonFinite(values: Float32Array): number {
  for (let i = 0; i < values.length; i++) if (values[i] - values[i] !== 0) return i;
  return -1;
}
