/** Whether all numbers of a tensor are finite, looked up in its scales where that decides it. */
import { codeArray, decodeTableF32, type PlaneLayout, planeLayouts, unpackCodes } from "../formats/index.js";
import { columnsOf, dequantize, type PackedTensor, rowsOf } from "../tensor/index.js";

/** The first number that is not finite, and where it stands; undefined if there is none. */
export function firstNonFinite(packed: PackedTensor): { readonly value: number; readonly index: number } | undefined {
  if (Number.isFinite(Math.fround(bound(packed)))) return undefined;
  const values = dequantize(packed);
  for (let index = 0; index < values.length; index++) {
    const value = values[index];
    // Infinite minus infinite, and NaN minus NaN, are NaN.
    if (value - value !== 0) return { value, index };
  }
  return undefined;
}

/**
 * A number that no |w| exceeds: w = S (v - Z) + M of the largest scale, element and offsets of the tensor; infinite if it is not
 * known without decoding all elements.
 */
function bound({ scheme, shape, planes }: PackedTensor): number {
  if (scheme.tags || scheme.element.bits > 8 || !scheme.scale) return Number.POSITIVE_INFINITY;
  const layouts = planeLayouts(scheme, rowsOf(shape), columnsOf(shape));
  const largest = (name: "scales" | "superScales" | "offsets" | "superOffsets", otherwise: number) => {
    const [layout, bytes] = [layouts[name], planes[name]];
    return layout && bytes ? largestIn(layout, bytes) : otherwise;
  };
  const element = decodeTableF32(scheme.element).reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  const scale = largest("scales", 1) * largest("superScales", 1);
  const offset = largest("offsets", 0) * largest("superOffsets", 1);
  const sum = scheme.offset?.kind === "zeroPoint" ? scale * (element + offset) : scale * element + offset;
  return Number.isNaN(sum) ? Number.POSITIVE_INFINITY : sum;
}

/** The largest magnitude that a plane of shared numbers holds; NaN if it holds one. */
function largestIn({ format, rows, codesPerRow, bytesPerRow }: PlaneLayout, bytes: Uint8Array): number {
  if (format.bits > 16) return Number.POSITIVE_INFINITY;
  const magnitudes = decodeTableF32(format).map(Math.abs);
  const codes = codeArray(format.bits, codesPerRow);
  let most = 0;
  for (let row = 0; row < rows; row++) {
    unpackCodes(bytes, row * bytesPerRow, format.bits, codes, codesPerRow);
    for (let i = 0; i < codesPerRow; i++) {
      const value = magnitudes[codes[i]];
      if (Number.isNaN(value)) return value;
      if (value > most) most = value;
    }
  }
  return most;
}
