/** Tensors held in a scheme: codes, scales, offsets, packed to the bit. */
import type { PlaneName, Planes, Scheme } from "../formats/scheme.js";

/**
 * A tensor of codes. `shape` is row-major (the last axis is contiguous); all axes but the last count as rows. A vector
 * is one row. Plain f32, f16 and bf16 tensors are packed tensors of a scheme without scales.
 */
export interface PackedTensor {
  readonly scheme: Scheme;
  readonly shape: readonly number[];
  readonly planes: Planes;
}

export const PLANE_NAMES: readonly PlaneName[] = ["codes", "scales", "superScales", "offsets", "superOffsets", "tags"];
