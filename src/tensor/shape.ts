/** Shapes: row-major lists of lengths, the last axis contiguous. */
import { InputError } from "../errors.js";

/** Number of elements; 1 for the empty shape of a scalar. */
export function elementCount(shape: readonly number[]): number {
  return shape.reduce((product, length) => product * length, 1);
}

/** Length of the last axis; 1 for a scalar. */
export function columnsOf(shape: readonly number[]): number {
  return shape.length === 0 ? 1 : shape[shape.length - 1];
}

/** Product of all axes but the last: 1 for a vector or a scalar. */
export function rowsOf(shape: readonly number[]): number {
  return elementCount(shape.slice(0, -1));
}

/** InputError unless `shape` is a list of non-negative integers with `count` elements. */
export function checkShape(shape: readonly number[], count: number): void {
  if (!shape.every((length) => Number.isSafeInteger(length) && length >= 0)) {
    throw new InputError(`[${shape.join(", ")}] is no shape`, { why: "lengths must be integers from 0" });
  }
  if (elementCount(shape) !== count) {
    throw new InputError(`shape [${shape.join(", ")}] does not fit ${count} values`, {
      kind: "shapes-disagree",
      why: `it has ${elementCount(shape)} elements`,
    });
  }
}
