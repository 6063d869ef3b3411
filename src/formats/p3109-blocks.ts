/**
 * Block operations of IEEE P3109 (Interim Report v4.0, section 5). A block is a scale in one format and elements in another;
 * its values are scale x element. Every operation is exact up to one projection (rounding and saturation) for each result.
 * Unlike microscaling, the scale is the largest magnitude itself, not divided by the largest element.
 */
import type { EncodeOptions } from "./codec.js";
import { decodeExact } from "./exact.js";
import {
  type Extended,
  exceeds,
  magnitude,
  negate,
  ONE,
  product,
  project,
  quotient,
  signOf,
  sum,
  ZERO,
} from "./extended.js";
import type { NumberFormat } from "./format.js";

/** A scale and its elements, as codes. */
export interface Block {
  readonly scaleFormat: NumberFormat;
  readonly scale: number;
  readonly format: NumberFormat;
  readonly codes: readonly number[];
}

/** The scale of a result, as the caller supplies it. */
export type BlockScale = Pick<Block, "scaleFormat" | "scale">;

/** Values of a block: scale x element (BlockDecode, 5.1.1). */
function valuesOf({ scaleFormat, scale, format, codes }: Block): Extended[] {
  const s = decodeExact(scaleFormat, scale);
  return codes.map((code) => product(s, decodeExact(format, code)));
}

/**
 * Elements for values under a given scale (BlockProject, 5.1.2): value / scale, projected. Under a scale of zero every element is
 * zero, under an infinite one the sign of its value; NaN stays.
 */
function underScale(
  { scaleFormat, scale }: BlockScale,
  values: readonly Extended[],
  format: NumberFormat,
  options?: EncodeOptions,
): Block {
  const s = decodeExact(scaleFormat, scale);
  const element = (x: Extended): Extended => {
    const sign = signOf(x) * signOf(s);
    if (Number.isNaN(sign)) return Number.NaN;
    if (typeof s === "number") return sign === 0 ? ZERO : sign > 0 ? ONE : negate(ONE);
    return s.significand === 0n ? ZERO : quotient(x, s);
  };
  return { scaleFormat, scale, format, codes: values.map((x) => project(format, element(x), options)) };
}

const decoded = (format: NumberFormat, codes: readonly number[]) => codes.map((code) => decodeExact(format, code));

/** The block's values as codes of `result` (ConvertFromBlock, 5.2.1). */
export function convertFromBlock(block: Block, result: NumberFormat, options?: EncodeOptions): number[] {
  return valuesOf(block).map((x) => project(result, x, options));
}

/** Codes of `from` as a block with the given scale and elements in `result` (ConvertToBlock, 5.2.2). */
export function convertToBlock(
  from: NumberFormat,
  codes: readonly number[],
  scale: BlockScale,
  result: NumberFormat,
  options?: EncodeOptions,
): Block {
  return underScale(scale, decoded(from, codes), result, options);
}

/**
 * Codes of `from` as a block whose scale is their largest finite magnitude, projected by `scaleOptions`
 * (ConvertToBlockMaxAbsFinite, 5.2.3): an infinity if all numbers are infinite, NaN if there are none.
 */
export function convertToBlockMaxAbsFinite(
  from: NumberFormat,
  codes: readonly number[],
  scaleFormat: NumberFormat,
  result: NumberFormat,
  { scale: scaleOptions, element }: { readonly scale?: EncodeOptions; readonly element?: EncodeOptions } = {},
): Block {
  const values = decoded(from, codes);
  const largest = values.map(magnitude).reduce(maximumFinite, Number.NaN);
  return underScale({ scaleFormat, scale: project(scaleFormat, largest, scaleOptions) }, values, result, element);
}

/** The larger finite number; an infinity only beside no finite number, NaN only beside NaN. Magnitudes. */
function maximumFinite(x: Extended, y: Extended): Extended {
  if (typeof x !== "number" && typeof y !== "number") return exceeds(x, y) ? x : y;
  if (typeof x !== "number") return x;
  return typeof y !== "number" || Number.isNaN(x) ? y : x;
}

/** The code of the sum of all values (BlockReduceAdd, 5.3.1). */
export function blockReduceAdd(block: Block, result: NumberFormat, options?: EncodeOptions): number {
  return project(result, valuesOf(block).reduce(sum, ZERO), options);
}

/** The code of the product of all values (BlockReduceMultiply, 5.3.1). */
export function blockReduceMultiply(block: Block, result: NumberFormat, options?: EncodeOptions): number {
  return project(result, valuesOf(block).reduce(product, ONE), options);
}

/** The code of the sum of products of two blocks of the same length (BlockDotProduct, 5.3.2). */
export function blockDotProduct(x: Block, y: Block, result: NumberFormat, options?: EncodeOptions): number {
  const other = valuesOf(y);
  const products = valuesOf(x).map((value, i) => product(value, other[i]));
  return project(result, products.reduce(sum, ZERO), options);
}

/** What `blockOperation` computes of the values of its operands; FMA is x y + z, FAA x + y + z. */
const OPERATIONS = {
  convert: (x) => x,
  negate,
  abs: magnitude,
  add: sum,
  subtract: (x, y) => sum(x, negate(y)),
  multiply: product,
  fma: (x, y, z) => sum(product(x, y), z),
  faa: (x, y, z) => sum(sum(x, y), z),
} as const satisfies Record<string, (x: Extended, y: Extended, z: Extended) => Extended>;
export type BlockOperation = keyof typeof OPERATIONS;

/** An operation on blocks element by element, into a block with the given scale (BlockNegate, BlockAdd, BlockFMA, ...; 5.4). */
export function blockOperation(
  operation: BlockOperation,
  operands: readonly Block[],
  scale: BlockScale,
  result: NumberFormat,
  options?: EncodeOptions,
): Block {
  const [x, y, z] = operands.map(valuesOf);
  const compute: (x: Extended, y: Extended, z: Extended) => Extended = OPERATIONS[operation];
  return underScale(
    scale,
    x.map((value, i) => compute(value, y?.[i] ?? ZERO, z?.[i] ?? ZERO)),
    result,
    options,
  );
}
