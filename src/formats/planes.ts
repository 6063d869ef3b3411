/** How many codes stand in each plane of a scheme, and where its rows begin. */

import type { NumberFormat } from "./format.js";
import { codeArray, packCodes, rowBytes } from "./packing.js";
import type { PlaneName, Scheme, SharedCodec } from "./scheme.js";

export interface PlaneLayout {
  readonly format: NumberFormat;
  /** Rows of this plane: those of the tensor, or 1 for a number held once per tensor. */
  readonly rows: number;
  readonly codesPerRow: number;
  readonly bytesPerRow: number;
}

export type PlaneLayouts = { readonly [P in PlaneName]?: PlaneLayout };

/** The planes that a tensor of `rows` x `columns` has in this scheme. */
export function planeLayouts(scheme: Scheme, rows: number, columns: number): PlaneLayouts {
  const { element, scale, offset } = scheme;
  return {
    codes: plane(element, rows, columns),
    ...(scale && { scales: plane(scale.format, rows, groupsPerRow(scale.per, columns)) }),
    ...(scale?.super && { superScales: superPlane(scale.super, rows, columns) }),
    ...(offset && { offsets: plane(offset.format, rows, groupsPerRow(offset.per, columns)) }),
    ...(offset?.super && { superOffsets: superPlane(offset.super, rows, columns) }),
  };
}

const plane = (format: NumberFormat, rows: number, codesPerRow: number): PlaneLayout => ({
  format,
  rows,
  codesPerRow,
  bytesPerRow: rowBytes(format.bits, codesPerRow),
});

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
