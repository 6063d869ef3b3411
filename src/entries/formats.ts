/**
 * `bitloom/formats`: number formats and schemes, single values and whole arrays. Formats and schemes are given as records
 * (`format("e4m3fn")`, `scheme("mxfp4")`, or one of your own) or simply by name.
 */

import type { EncodeOptions } from "../formats/codec.js";
import * as codec from "../formats/codec.js";
import type { NumberFormat } from "../formats/format.js";
import { format, scheme } from "../formats/index.js";
import type { Scheme } from "../formats/scheme.js";
import type { PackedTensor } from "../tensor/packed.js";
import * as tensor from "../tensor/quantize.js";

export * from "../formats/index.js";
export { dequantize } from "../tensor/dequantize.js";
export type { PackedTensor } from "../tensor/packed.js";
export { packedBytes } from "../tensor/planes.js";
export type { QuantizeOptions } from "../tensor/quantize.js";

const formatOf = (given: NumberFormat | string) => (typeof given === "string" ? format(given) : given);
const schemeOf = (given: Scheme | string) => (typeof given === "string" ? scheme(given) : given);

/** The value of `code` in a format, exactly. InputError if the code does not fit the format's bits. */
export function decode(format: NumberFormat | string, code: number): number {
  return codec.decode(formatOf(format), code);
}

/**
 * The code of `value` in a format: one single rounding from binary64, then the overflow rule. NumericError where the format
 * has no code for the answer (NaN in FP4, overflow "error").
 */
export function encode(format: NumberFormat | string, value: number, options?: EncodeOptions): number {
  return codec.encode(formatOf(format), value, options);
}

/** `value` rounded to a format: decode(encode(value)). */
export function roundTo(format: NumberFormat | string, value: number, options?: EncodeOptions): number {
  return codec.roundTo(formatOf(format), value, options);
}

/**
 * Rounds a row-major tensor to a scheme: packed codes, scales, offsets. `values` that are no Float32Array are rounded to f32
 * first. Blocks lie along the last axis of `shape` unless the scheme says otherwise (`int8-32x1`). Errors are those of
 * `quantize` in bitloom/tensor.
 */
export function quantize(
  values: ArrayLike<number>,
  shape: readonly number[],
  scheme: Scheme | string,
  options?: tensor.QuantizeOptions,
): PackedTensor {
  const array = values instanceof Float32Array ? values : Float32Array.from(values);
  return tensor.quantize(array, shape, schemeOf(scheme), options);
}
