/** The scales and offsets of a tensor as f32 numbers, one for each group of each row. */
import { decode } from "../../formats/codec.js";
import { codeArray, unpackCodes } from "../../formats/packing.js";
import { type PlaneLayout, planeLayouts } from "../../formats/planes.js";
import type { PlaneName, Scheme, SharedCodec } from "../../formats/scheme.js";
import { decodeTableF32 } from "../../formats/table.js";

export const superPlane = (which: "scale" | "offset") => (which === "scale" ? "superScales" : "superOffsets");

/** All scales (or offsets) of a tensor, times their second level: one a group, row after row. */
export function sharedValues(
  scheme: Scheme,
  which: "scale" | "offset",
  planeBytes: (name: PlaneName) => Uint8Array,
  rows: number,
  columns: number,
): Float32Array {
  const codec = scheme[which]!;
  const layouts = planeLayouts(scheme, rows, columns);
  const layout = layouts[`${which}s`]!;
  const values = new Float32Array(layout.rows * layout.codesPerRow);
  readPlane(layout, planeBytes(`${which}s`), values);
  const upper = layouts[superPlane(which)];
  if (upper && codec.super) {
    const supers = new Float32Array(upper.rows * upper.codesPerRow);
    readPlane(upper, planeBytes(superPlane(which)), supers);
    multiplyBySupers(values, layout, supers, upper, codec, columns);
  }
  return codec.rows === undefined ? values : forEachRow(values, layout, codec.rows, rows);
}

/** The tags of a tensor, one a group, row after row. */
export function tagsOf(scheme: Scheme, bytes: Uint8Array, rows: number, columns: number): Int32Array {
  const { format, codesPerRow, bytesPerRow } = planeLayouts(scheme, rows, columns).tags!;
  const tags = new Int32Array(rows * codesPerRow);
  const row = codeArray(format.bits, codesPerRow);
  for (let r = 0; r < rows; r++) {
    unpackCodes(bytes, r * bytesPerRow, format.bits, row, codesPerRow);
    tags.set(row, r * codesPerRow);
  }
  return tags;
}

function multiplyBySupers(
  values: Float32Array,
  { rows, codesPerRow }: PlaneLayout,
  supers: Float32Array,
  upper: PlaneLayout,
  codec: SharedCodec,
  columns: number,
): void {
  const size = codec.per === "row" ? columns : codec.per;
  const per = codec.super!.per;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < codesPerRow; g++) {
      const s = per === "tensor" ? supers[0] : supers[row * upper.codesPerRow + Math.floor((g * size) / per)];
      values[row * codesPerRow + g] *= s;
    }
  }
}

/** Numbers that `height` rows share, repeated for each of them. */
function forEachRow(values: Float32Array, { codesPerRow }: PlaneLayout, height: number, rows: number): Float32Array {
  const all = new Float32Array(rows * codesPerRow);
  for (let row = 0; row < rows; row++) {
    const from = Math.floor(row / height) * codesPerRow;
    all.set(values.subarray(from, from + codesPerRow), row * codesPerRow);
  }
  return all;
}

function readPlane(
  { format, rows, codesPerRow, bytesPerRow }: PlaneLayout,
  bytes: Uint8Array,
  out: Float32Array,
): void {
  const codes = codeArray(format.bits, codesPerRow);
  const table = format.bits <= 16 ? decodeTableF32(format) : undefined;
  for (let row = 0; row < rows; row++) {
    unpackCodes(bytes, row * bytesPerRow, format.bits, codes, codesPerRow);
    for (let i = 0; i < codesPerRow; i++) {
      out[row * codesPerRow + i] = table ? table[codes[i]] : decode(format, codes[i]);
    }
  }
}
