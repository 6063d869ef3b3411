/**
 * Rows of numbers held in a scheme, defined: what every backend's `pack` and `unpack` must equal bit for bit. Each row is a
 * tensor of its own, so that it can be written and read without the others. A cache of keys and values consists of such rows.
 */
import { NumericError } from "../errors.js";
import type { PlaneName, Planes, Scheme } from "../formats/scheme.js";
import { dequantize } from "../tensor/dequantize.js";
import { planeBytes } from "../tensor/planes.js";
import { quantize } from "../tensor/quantize.js";

/** Where the planes of the rows lie: plane by plane, row after row. */
export interface RowPlanes {
  readonly scheme: Scheme;
  readonly columns: number;
  /** Bytes of one row in each plane. */
  readonly sizes: readonly (readonly [PlaneName, number])[];
  /** Bytes of one row in all. */
  readonly rowBytes: number;
}

export function rowPlanes(scheme: Scheme, columns: number): RowPlanes {
  const sizes = Object.entries(planeBytes(scheme, 1, columns)) as [PlaneName, number][];
  return { scheme, columns, sizes, rowBytes: sizes.reduce((sum, [, bytes]) => sum + bytes, 0) };
}

/** The bytes of a plane for all rows. */
export type PlaneBytes = (name: PlaneName) => Uint8Array;

/** Rows `at` and after become what the scheme makes of x, [count, columns]. NumericError for a number that is not finite. */
export function packRows(layout: RowPlanes, planes: PlaneBytes, at: number, x: Float32Array, count: number): void {
  const { scheme, columns, sizes } = layout;
  for (let row = 0; row < count; row++) {
    const values = x.slice(row * columns, (row + 1) * columns);
    demandFinite(values, at + row);
    const packed = quantize(values, [columns], scheme);
    for (const [name, bytes] of sizes) planes(name).set(packed.planes[name] as Uint8Array, (at + row) * bytes);
  }
}

/** The numbers of rows `at` and after, [count, columns]. */
export function unpackRows(layout: RowPlanes, planes: PlaneBytes, at: number, out: Float32Array, count: number): void {
  const { scheme, columns, sizes } = layout;
  for (let row = 0; row < count; row++) {
    const own = sizes.map(([name, bytes]) => {
      return [name, planes(name).slice((at + row) * bytes, (at + row + 1) * bytes)] as const;
    });
    const packed = { scheme, shape: [columns], planes: Object.fromEntries(own) as unknown as Planes };
    out.set(dequantize(packed), row * columns);
  }
}

function demandFinite(values: Float32Array, row: number): void {
  const bad = values.findIndex((value) => !Number.isFinite(value));
  if (bad < 0) return;
  throw new NumericError(`a number to be stored is ${values[bad]}`, {
    where: `row ${row}, column ${bad}`,
    why: "only finite numbers can be held in a scheme",
    try: "a cache in f32, to see whether the model itself overflows",
  });
}
