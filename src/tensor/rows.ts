/** Parts of a packed tensor by rows. Rows of every plane start at a byte, so nothing is unpacked. */
import { InputError, UnsupportedError } from "../errors.js";
import { type PlaneLayout, planeLayouts } from "../formats/planes.js";
import type { PlaneName, Planes } from "../formats/scheme.js";
import { type PackedTensor, PLANE_NAMES } from "./packed.js";
import { columnsOf, rowsOf } from "./shape.js";

/** Rows start .. end as a tensor [end - start, columns] that shares the memory of `packed`. */
export function sliceRows(packed: PackedTensor, start: number, end: number): PackedTensor {
  const rows = rowsOf(packed.shape);
  if (!(Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= rows)) {
    throw new InputError(`rows ${start} to ${end} do not exist`, { why: `the tensor has ${rows} rows` });
  }
  const slice = (bytes: Uint8Array, { bytesPerRow }: PlaneLayout, height: number) => {
    if (start % height !== 0)
      throw shares(packed, height, `a slice must start at a multiple of ${height}, got ${start}`);
    return bytes.subarray((start / height) * bytesPerRow, Math.ceil(end / height) * bytesPerRow);
  };
  return { scheme: packed.scheme, shape: [end - start, columnsOf(packed.shape)], planes: mapPlanes(packed, slice) };
}

/** A new tensor whose row i is row order[i] of `packed`; the shape becomes [order.length, columns]. */
export function gatherRows(packed: PackedTensor, order: ArrayLike<number>): PackedTensor {
  const rows = rowsOf(packed.shape);
  for (let i = 0; i < order.length; i++) {
    if (Number.isInteger(order[i]) && order[i] >= 0 && order[i] < rows) continue;
    throw new InputError(`row ${order[i]} does not exist`, { why: `the tensor has ${rows} rows` });
  }
  const gather = (bytes: Uint8Array, { bytesPerRow: size }: PlaneLayout, height: number) => {
    if (height > 1) throw shares(packed, height, "rows of different tiles cannot share a scale");
    const out = new Uint8Array(order.length * size);
    for (let i = 0; i < order.length; i++) out.set(bytes.subarray(order[i] * size, (order[i] + 1) * size), i * size);
    return out;
  };
  return { scheme: packed.scheme, shape: [order.length, columnsOf(packed.shape)], planes: mapPlanes(packed, gather) };
}

const shares = ({ scheme }: PackedTensor, height: number, why: string) =>
  new UnsupportedError(`in ${scheme.name} ${height} rows share a scale`, {
    why,
    try: "dequantize, or a scheme with scales for each row",
  });

/**
 * Applies `change` to every plane that has a row for each row (or each `height` rows) of the tensor; numbers held once per
 * tensor are shared.
 */
function mapPlanes(
  packed: PackedTensor,
  change: (bytes: Uint8Array, layout: PlaneLayout, height: number) => Uint8Array,
): Planes {
  const { scheme, shape, planes } = packed;
  const layouts = planeLayouts(scheme, rowsOf(shape), columnsOf(shape));
  const perTensor: Partial<Record<PlaneName, boolean>> = {
    superScales: scheme.scale?.super?.per === "tensor",
    superOffsets: scheme.offset?.super?.per === "tensor",
  };
  const heights: Partial<Record<PlaneName, number>> = { scales: scheme.scale?.rows, offsets: scheme.offset?.rows };
  const changed: { [P in PlaneName]?: Uint8Array } = {};
  for (const name of PLANE_NAMES) {
    const bytes = planes[name];
    const layout = layouts[name];
    if (bytes && layout) changed[name] = perTensor[name] ? bytes : change(bytes, layout, heights[name] ?? 1);
  }
  return changed as Planes;
}
