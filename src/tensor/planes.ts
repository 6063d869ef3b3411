/** Memory for the planes of a packed tensor, and how much it is. */
import { type PlaneLayout, planeLayouts } from "../formats/planes.js";
import type { PlaneName, Planes, Scheme } from "../formats/scheme.js";
import { type PackedTensor, PLANE_NAMES } from "./packed.js";

const bytesOf = ({ rows, bytesPerRow }: PlaneLayout) => rows * bytesPerRow;

/** Zeroed planes for a tensor of `rows` x `columns`. */
export function allocatePlanes(scheme: Scheme, rows: number, columns: number): Planes {
  const sizes = planeBytes(scheme, rows, columns);
  const planes: { [P in PlaneName]?: Uint8Array } = {};
  for (const name of PLANE_NAMES) {
    const size = sizes[name];
    if (size !== undefined) planes[name] = new Uint8Array(size);
  }
  return planes as Planes;
}

/** Bytes of each plane that the scheme has. */
export function planeBytes(
  scheme: Scheme,
  rows: number,
  columns: number,
): { readonly codes: number } & { readonly [P in PlaneName]?: number } {
  const layouts = planeLayouts(scheme, rows, columns);
  const sizes: { [P in PlaneName]?: number } = {};
  for (const name of PLANE_NAMES) {
    const layout = layouts[name];
    if (layout) sizes[name] = bytesOf(layout);
  }
  return sizes as { codes: number };
}

/** Bytes of all planes together. */
export function packedBytes(packed: PackedTensor): number {
  return PLANE_NAMES.reduce((sum, name) => sum + (packed.planes[name]?.length ?? 0), 0);
}
