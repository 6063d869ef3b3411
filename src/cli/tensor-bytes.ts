import type { Scheme } from "../formats/index.js";
import { columnsOf, planeBytes, rowsOf } from "../tensor/index.js";

/** Bytes of a tensor's data in a scheme, scales and offsets included: what a file of it holds, padding not counted. */
export function tensorBytes(scheme: Scheme, shape: readonly number[]): number {
  return Object.values(planeBytes(scheme, rowsOf(shape), columnsOf(shape))).reduce((sum, bytes) => sum + bytes, 0);
}
