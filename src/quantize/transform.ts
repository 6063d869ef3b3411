/**
 * A transform changes a model without changing what it computes, so that what is rounded afterwards rounds better. The one
 * kind there is: channel j of a linear map's input is divided by s_j and column j of its weights multiplied by s_j; the
 * division is folded into what comes before, the gain of a norm or the rows of a linear map.
 */
import type { OptionRecords, ValuesOf } from "../options.js";
import type { Named } from "../registry.js";
import type { InputStatistics, Needs } from "./statistics.js";

/** A linear map that reads the input in question. */
export interface Consumer {
  readonly role: string;
  /** [rows, columns]. */
  readonly values: Float32Array;
  readonly shape: readonly number[];
  /** What the scheme's rule makes of other values of the same shape. */
  rounded(values: Float32Array): Float32Array;
}

export interface TransformJob {
  readonly consumers: readonly Consumer[];
  readonly statistics: InputStatistics;
  /** E||E x||^2 for errors E [rows, columns]. */
  outputError(errors: Float32Array): number;
}

export interface TransformOutcome {
  /** s, one positive number for each input channel. */
  readonly scales: Float64Array;
  readonly notes?: Readonly<Record<string, number>>;
}

export interface TransformRecord<O extends OptionRecords> extends Named {
  readonly summary: string;
  readonly source: string;
  readonly options: O;
  needs(options: ValuesOf<O>): Needs;
  /** The scales of one input; undefined to leave it alone. */
  choose(job: TransformJob, options: ValuesOf<O>): TransformOutcome | undefined;
}

export type Transform = TransformRecord<OptionRecords>;

export function transform<const O extends OptionRecords>(record: TransformRecord<O>): Transform {
  return record as unknown as Transform;
}

/** Column j of every row times s_j. */
export function scaleColumns(values: Float32Array, s: Float64Array): Float32Array {
  return values.map((x, i) => x * s[i % s.length]);
}

/** Row r divided by s_r; a vector is a matrix of one column. */
export function divideRows(values: Float32Array, s: Float64Array): Float32Array {
  const columns = values.length / s.length;
  return values.map((x, i) => x / s[Math.floor(i / columns)]);
}
