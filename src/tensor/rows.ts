/** Parts of a packed tensor by rows. Rows of every plane start at a byte, so nothing is unpacked. */
import { InputError } from "../errors.js";
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
  return {
    scheme: packed.scheme,
    shape: [end - start, columnsOf(packed.shape)],
    planes: mapPlanes(packed, (bytes, layout) => bytes.subarray(start * layout.bytesPerRow, end * layout.bytesPerRow)),
  };
}

/** A new tensor whose row i is row order[i] of `packed`; the shape becomes [order.length, columns]. */
export function gatherRows(packed: PackedTensor, order: ArrayLike<number>): PackedTensor {
  const rows = rowsOf(packed.shape);
  for (let i = 0; i < order.length; i++) {
    if (Number.isInteger(order[i]) && order[i] >= 0 && order[i] < rows) continue;
    throw new InputError(`row ${order[i]} does not exist`, { why: `the tensor has ${rows} rows` });
  }
  const gather = (bytes: Uint8Array, { bytesPerRow: size }: PlaneLayout) => {
    const out = new Uint8Array(order.length * size);
    for (let i = 0; i < order.length; i++) out.set(bytes.subarray(order[i] * size, (order[i] + 1) * size), i * size);
    return out;
  };
  return { scheme: packed.scheme, shape: [order.length, columnsOf(packed.shape)], planes: mapPlanes(packed, gather) };
}

/** Applies `change` to every plane that has a row for each row of the tensor; numbers held once per tensor are shared. */
function mapPlanes(packed: PackedTensor, change: (bytes: Uint8Array, layout: PlaneLayout) => Uint8Array): Planes {
  const { scheme, shape, planes } = packed;
  const layouts = planeLayouts(scheme, rowsOf(shape), columnsOf(shape));
  const perTensor: Partial<Record<PlaneName, boolean>> = {
    superScales: scheme.scale?.super?.per === "tensor",
    superOffsets: scheme.offset?.super?.per === "tensor",
  };
  const changed: { [P in PlaneName]?: Uint8Array } = {};
  for (const name of PLANE_NAMES) {
    const bytes = planes[name];
    const layout = layouts[name];
    if (bytes && layout) changed[name] = perTensor[name] ? bytes : change(bytes, layout);
  }
  return changed as Planes;
}
