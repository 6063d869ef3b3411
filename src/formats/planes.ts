/** How many codes stand in each plane of a scheme, and where its rows begin. */

import type { NumberFormat } from "./format.js";
import { type Codes, codeArray, packCodes, rowBytes } from "./packing.js";
import type { PlaneName, Scheme, SharedCodec, TagCodec } from "./scheme.js";

export interface PlaneLayout {
  readonly format: NumberFormat;
  /** Rows of this plane: those of the tensor, of its tiles of rows, or 1 for a number held once per tensor. */
  readonly rows: number;
  readonly codesPerRow: number;
  readonly bytesPerRow: number;
}

export type PlaneLayouts = { readonly [P in PlaneName]?: PlaneLayout };

/** The planes that a tensor of `rows` x `columns` has in this scheme. */
export function planeLayouts(scheme: Scheme, rows: number, columns: number): PlaneLayouts {
  const { element, scale, offset, tags } = scheme;
  return {
    codes: plane(element, rows, columns),
    ...(scale && { scales: groupPlane(scale, rows, columns) }),
    ...(scale?.super && { superScales: superPlane(scale.super, rows, columns) }),
    ...(offset && { offsets: groupPlane(offset, rows, columns) }),
    ...(offset?.super && { superOffsets: superPlane(offset.super, rows, columns) }),
    ...(tags && { tags: plane(tags.format, rows, groupsPerRow(tags.per, columns)) }),
  };
}

const plane = (format: NumberFormat, rows: number, codesPerRow: number): PlaneLayout => ({
  format,
  rows,
  codesPerRow,
  bytesPerRow: rowBytes(format.bits, codesPerRow),
});

const groupPlane = ({ format, per, rows: height = 1 }: SharedCodec, rows: number, columns: number) =>
  plane(format, Math.ceil(rows / height), groupsPerRow(per, columns));

const superPlane = ({ format, per }: NonNullable<SharedCodec["super"]>, rows: number, columns: number) =>
  per === "tensor" ? plane(format, 1, 1) : plane(format, rows, Math.ceil(columns / per));

/** Groups in a row of `columns` elements; the last may be shorter. */
export function groupsPerRow(per: number | "row", columns: number): number {
  return per === "row" ? Math.min(1, columns) : Math.ceil(columns / per);
}

/** Elements of a full group. */
export function groupSize(per: number | "row", columns: number): number {
  return per === "row" ? Math.max(1, columns) : per;
}

/** Replaces the stored codes of a row by what they mean under the tags of its groups. */
export function widenCodes({ per, widen }: TagCodec, codes: Codes, tags: Codes, columns: number): void {
  for (let g = 0, start = 0; start < columns; g++, start += per) {
    const end = Math.min(start + per, columns);
    for (let i = start; i < end; i++) codes[i] = widen(codes[i], tags[g], i - start);
  }
}

/** Writes rows of unpacked codes to a plane, one after another. */
export interface PlaneWriter {
  /** The codes of the row in hand; fill it, then call `next`. */
  readonly row: Uint8Array | Uint16Array | Uint32Array;
  next(): void;
}

export function planeWriter(layout: PlaneLayout, bytes: Uint8Array): PlaneWriter {
  const row = codeArray(layout.format.bits, layout.codesPerRow);
  let offset = 0;
  const next = () => {
    packCodes(row, layout.codesPerRow, layout.format.bits, bytes, offset);
    offset += layout.bytesPerRow;
  };
  return { row, next };
}
