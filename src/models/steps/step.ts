/**
 * What happens to the input of a linear map before the matrix sees it. A kind of step is a record, registered in index.ts;
 * a step of a model is data, `{"kind": "round", "scheme": "mxfp8"}`, kept in the model's file and prepared at load.
 */
import type { Backend, Buffer } from "../../kernels/backend.js";
import type { Named } from "../../registry.js";

/** A step as a file holds it: its kind, and parameters that the kind defines. */
export interface StepRecord {
  readonly kind: string;
  readonly [parameter: string]: StepValue;
}
export type StepValue = string | number | boolean | readonly number[];

/** Whether a parameter is a list of finite numbers. */
export const isNumbers = (value: StepValue | undefined): value is readonly number[] =>
  Array.isArray(value) && value.every((one) => Number.isFinite(one));

/** Where a step runs: the linear map's role, for messages, and the length of its input rows. */
export interface StepPlace {
  readonly role: string;
  readonly columns: number;
}

/** A step in a backend's memory. */
export interface PreparedStep {
  /** out = step(x) for `batch` rows of `columns`; out may be x. Row b of out depends on row b of x alone. */
  run(out: Buffer, x: Buffer, batch: number): void;
  dispose(): void;
}

export interface StepKind extends Named {
  readonly summary: string;
  readonly source: string;
  /**
   * Whether a program that leaves the step out computes something else (a rotation that weights expect), and not only the
   * same with more precision (a rounding).
   */
  readonly essential: boolean;
  /** A FileError names a parameter that is missing or senseless. */
  prepare(backend: Backend, record: StepRecord, place: StepPlace): PreparedStep;
}
