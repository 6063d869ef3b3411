/**
 * How the inputs of linear maps are rounded. An activation method is told a scheme and what calibration knows of an input, and
 * answers with steps (models/steps) that the maps reading it go through before their products. It may ask for columns of the
 * weights to be scaled, or kept apart in a second matrix.
 */
import type { Scheme } from "../../formats/scheme.js";
import type { StepRecord } from "../../models/index.js";
import type { OptionRecords, ValuesOf } from "../../options.js";
import type { Named } from "../../registry.js";
import type { InputStatistics, Needs } from "../statistics.js";

/** One input, read by one linear map or several. */
export interface ActivationJob {
  readonly scheme: Scheme;
  readonly columns: number;
  /** Rows of the weights are looked up too (a tied head), so their columns can neither be scaled nor kept apart. */
  readonly isTable?: boolean;
  /** As far as the method asked. */
  readonly statistics?: InputStatistics;
}

export interface ActivationOutcome {
  /** Run in this order. */
  readonly input: readonly StepRecord[];
  /** The steps divide channel j by s_j: column j of the weights is multiplied by it before they are quantized. */
  readonly scales?: Float64Array;
  /** Columns that leave the weights and are multiplied in a matrix of their own, with the input as it is. */
  readonly apart?: readonly number[];
  readonly notes?: Readonly<Record<string, number>>;
}

export interface ActivationRecord<O extends OptionRecords> extends Named {
  readonly summary: string;
  readonly source: string;
  readonly options: O;
  /** Whether its steps change what the weights must be, so that a program without them computes something else. */
  readonly essential?: boolean;
  needs(options: ValuesOf<O>): Needs;
  /** Why a scheme is not for this method; undefined if it is. */
  fault?(scheme: Scheme): string | undefined;
  choose(job: ActivationJob, options: ValuesOf<O>): ActivationOutcome;
}

/** An activation method whose option types have been checked and may be forgotten. */
export type ActivationMethod = ActivationRecord<OptionRecords>;

/** Infers the option types of an activation method from its record. */
export function activation<const O extends OptionRecords>(record: ActivationRecord<O>): ActivationMethod {
  return record as unknown as ActivationMethod;
}
