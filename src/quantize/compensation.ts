/**
 * What is stored beside a quantized matrix to make up for its error: a pair of thin matrices, y = Q(W) x + A (B x)
 * (models/linear.ts). It goes with every method and every scheme.
 */
import type { Products } from "../kernels/products.js";
import type { OptionRecords, ValuesOf } from "../options.js";
import type { Named } from "../registry.js";
import type { PackedTensor } from "../tensor/packed.js";
import type { InputStatistics, Needs } from "./statistics.js";

export interface CompensationJob {
  /** W and Q(W), row-major, [rows, columns]. */
  readonly original: Float32Array;
  readonly quantized: Float32Array;
  readonly shape: readonly [rows: number, columns: number];
  readonly statistics?: InputStatistics;
  readonly seed: number;
  /** Where matrix products run; absent: plain loops. */
  readonly products?: Products;
}

export interface CompensationOutcome {
  /** [rows, rank] and [rank, columns]. */
  readonly a: PackedTensor;
  readonly b: PackedTensor;
  readonly notes?: Readonly<Record<string, number>>;
}

export interface CompensationRecord<O extends OptionRecords> extends Named {
  readonly summary: string;
  readonly source: string;
  readonly options: O;
  needs(options: ValuesOf<O>): Needs;
  compensate(job: CompensationJob, options: ValuesOf<O>): CompensationOutcome;
}

/** A compensation whose option types have been checked and may be forgotten. */
export type Compensation = CompensationRecord<OptionRecords>;

/** Infers the option types of a compensation from its record. */
export function compensation<const O extends OptionRecords>(record: CompensationRecord<O>): Compensation {
  return record as unknown as Compensation;
}
