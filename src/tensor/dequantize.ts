/**
 * From a packed tensor back to f32 values, in one documented order of f32 operations, the same for every scheme:
 *
 *     S = f32(super scale * scale)      M = f32(super offset * offset)
 *     w = f32(f32(S * v) + M)           offset kind "min"
 *     w = f32(S * (v - Z))              offset kind "zeroPoint"
 *     w = f32(S * v)                    no offset
 *     w = v                             no scale
 *
 * which is also what ggml does with its blocks. Where a scheme has tags, v is that of the widened code.
 */
import { decodeArray } from "../formats/casts.js";
import type { NumberFormat } from "../formats/format.js";
import { codeArray, unpackCodes } from "../formats/packing.js";
import { groupSize, type PlaneLayout, planeLayouts, widenCodes } from "../formats/planes.js";
import type { TagCodec } from "../formats/scheme.js";
import type { PackedTensor } from "./packed.js";
import { columnsOf, elementCount, rowsOf } from "./shape.js";

/** The values of `packed`, row-major; written to `out` if given (at least as long as the tensor). */
export function dequantize(packed: PackedTensor, out = new Float32Array(elementCount(packed.shape))): Float32Array {
  const { scheme, shape, planes } = packed;
  const rows = rowsOf(shape);
  const columns = columnsOf(shape);
  if (rows * columns === 0) return out;
  const layouts = planeLayouts(scheme, rows, columns);
  const elements = scheme.tags
    ? taggedDecoder(scheme.tags, layouts.codes!, planes.codes, layouts.tags!, planes.tags!)
    : rowDecoder(layouts.codes!, planes.codes);
  const height = scheme.scale?.rows ?? 1;
  const scales =
    layouts.scales && shared(layouts.scales, planes.scales!, layouts.superScales, planes.superScales, height);
  const offsets =
    layouts.offsets &&
    shared(layouts.offsets, planes.offsets!, layouts.superOffsets, planes.superOffsets, scheme.offset?.rows ?? 1);
  for (let row = 0; row < rows; row++) {
    const target = out.subarray(row * columns, (row + 1) * columns);
    elements(row, target);
    if (!scales) continue;
    const s = scales(row, scheme.scale!.per, scheme.scale!.super?.per, columns);
    if (!offsets) scaleRow(target, s, groupSize(scheme.scale!.per, columns));
    else {
      const o = offsets(row, scheme.offset!.per, scheme.offset!.super?.per, columns);
      const apply = scheme.offset!.kind === "min" ? scaleAndAdd : subtractAndScale;
      apply(target, s, groupSize(scheme.scale!.per, columns), o, groupSize(scheme.offset!.per, columns));
    }
  }
  return out;
}

/** Decodes one row of a plane into f32. */
function rowDecoder({ format, codesPerRow, bytesPerRow }: PlaneLayout, bytes: Uint8Array) {
  const direct = wholeWordDecoder(format, codesPerRow, bytesPerRow, bytes);
  if (direct) return direct;
  const codes = codeArray(format.bits, codesPerRow);
  return (row: number, out: Float32Array) => {
    unpackCodes(bytes, row * bytesPerRow, format.bits, codes, codesPerRow);
    decodeArray(format, codes, out, 0, codesPerRow);
  };
}

/** Decodes one row of codes whose meaning depends on tags. */
function taggedDecoder(
  codec: TagCodec,
  codes: PlaneLayout,
  codeBytes: Uint8Array,
  tags: PlaneLayout,
  tagBytes: Uint8Array,
) {
  const { element, format } = codec;
  const row = codeArray(element.bits, codes.codesPerRow);
  const tagRow = codeArray(format.bits, tags.codesPerRow);
  return (index: number, out: Float32Array) => {
    unpackCodes(codeBytes, index * codes.bytesPerRow, codes.format.bits, row, codes.codesPerRow);
    unpackCodes(tagBytes, index * tags.bytesPerRow, format.bits, tagRow, tags.codesPerRow);
    widenCodes(codec, row, tagRow, codes.codesPerRow);
    decodeArray(element, row, out, 0, codes.codesPerRow);
  };
}

/** binary32 needs no decoding: its bytes are copied. */
function wholeWordDecoder(format: NumberFormat, count: number, bytesPerRow: number, bytes: Uint8Array) {
  const isF32 = format.kind === "minifloat" && format.exponentBits === 8 && format.significandBits === 23;
  if (!isF32 || !format.signed || format.nonFinite !== "ieee") return undefined;
  return (row: number, out: Float32Array) => {
    const target = new Uint8Array(out.buffer, out.byteOffset, 4 * count);
    target.set(bytes.subarray(row * bytesPerRow, (row + 1) * bytesPerRow));
  };
}

/**
 * The scales (or offsets) of one row, already multiplied by their second level; `height` rows share them. The result is
 * reused.
 */
function shared(
  layout: PlaneLayout,
  bytes: Uint8Array,
  superLayout: PlaneLayout | undefined,
  superBytes: Uint8Array | undefined,
  height: number,
) {
  const decodeRow = rowDecoder(layout, bytes);
  const values = new Float32Array(layout.codesPerRow);
  const decodeSuper = superLayout && superBytes && rowDecoder(superLayout, superBytes);
  const supers = new Float32Array(superLayout?.codesPerRow ?? 0);
  return (row: number, per: number | "row", superPer: number | "tensor" | undefined, columns: number) => {
    decodeRow(Math.floor(row / height), values);
    if (!decodeSuper || superPer === undefined) return values;
    decodeSuper(superPer === "tensor" ? 0 : row, supers);
    const size = groupSize(per, columns);
    for (let g = 0; g < values.length; g++) {
      values[g] *= superPer === "tensor" ? supers[0] : supers[Math.floor((g * size) / superPer)];
    }
    return values;
  };
}

function scaleRow(row: Float32Array, scales: Float32Array, size: number): void {
  for (let g = 0, start = 0; start < row.length; g++, start += size) {
    const s = scales[g];
    const end = Math.min(start + size, row.length);
    for (let i = start; i < end; i++) row[i] *= s;
  }
}

function scaleAndAdd(row: Float32Array, scales: Float32Array, size: number, mins: Float32Array, minSize: number): void {
  const step = Math.min(size, minSize);
  for (let start = 0; start < row.length; start += step) {
    const s = scales[Math.floor(start / size)];
    const m = mins[Math.floor(start / minSize)];
    const end = Math.min(start + step, row.length);
    for (let i = start; i < end; i++) row[i] = Math.fround(row[i] * s) + m;
  }
}

function subtractAndScale(
  row: Float32Array,
  scales: Float32Array,
  size: number,
  zeros: Float32Array,
  zeroSize: number,
): void {
  const step = Math.min(size, zeroSize);
  for (let start = 0; start < row.length; start += step) {
    const s = scales[Math.floor(start / size)];
    const z = zeros[Math.floor(start / zeroSize)];
    const end = Math.min(start + step, row.length);
    for (let i = start; i < end; i++) row[i] = s * (row[i] - z);
  }
}
