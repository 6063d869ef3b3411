/** The backends by name, and the one function that starts one. */
import { type Registry, registry } from "../registry.js";
import type { Backend, BackendOptions, BackendRecord } from "./backend.js";
import { reference } from "./reference/index.js";
import { wasm } from "./wasm/index.js";

export {
  ACTIVATIONS,
  type Activations,
  type AttentionShape,
  type Backend,
  type BackendInfo,
  type BackendOptions,
  type BackendRecord,
  type Buffer,
  type Exactness,
  type Matrix,
  type OperationTime,
  type Product,
  type Recording,
  type RowStore,
} from "./backend.js";
export { type Feedback, openFeedback } from "./feedback.js";
export { MOMENT_ROWS, type MomentSums, type Moments, plainMoments } from "./moments.js";
export { type LoadedFactor, type Products, plainProducts, productsOn, transposed } from "./products.js";
export { type EvenLevels, type LevelSums, type ScaleErrors, scaleErrors } from "./scale-errors.js";
export { openShrinkage, type PowerLines, type Shrinkage, type ShrinkageSums } from "./shrinkage.js";
export { openTriangular, TRIANGULAR_BLOCK, type TriangularKernel } from "./triangular.js";

export const backends: Registry<BackendRecord> = registry("backend", [wasm, reference]);

/** Starts the backend of that name. InputError for an unknown name, UnsupportedError where it cannot run. */
export function createBackend(name: string, options?: BackendOptions): Promise<Backend> {
  return backends.get(name).create(options);
}
