/**
 * A quantization method chooses the codes of a tensor under a scheme. It declares what it needs to know about the
 * activations, so that calibration collects it and no method reaches into a model.
 */
import type { Scheme } from "../formats/scheme.js";
import type { Named } from "../registry.js";
import type { PackedTensor } from "../tensor/packed.js";

export type Needs = "nothing";

export interface QuantizationMethod extends Named {
  readonly summary: string;
  readonly source: string;
  readonly needs: Needs;
  /** Packs `values` (row-major, of `shape`) into `scheme`. A NumericError names a value that is not finite. */
  quantize(scheme: Scheme, values: Float32Array, shape: readonly number[]): PackedTensor;
}
