/**
 * A quantization method chooses the codes of a tensor under a scheme. It declares what it needs to know about the
 * activations and which options it takes: calibration collects the one, command line flags, recipe schema and docs are
 * derived from the other, and no method reaches into a model.
 */
import type { Scheme } from "../formats/scheme.js";
import type { Products } from "../kernels/index.js";
import type { LayerNumbers, LayerTrace } from "../models/index.js";
import type { OptionRecords, ValuesOf } from "../options.js";
import type { Named } from "../registry.js";
import type { PackedTensor } from "../tensor/packed.js";
import type { InputStatistics, Needs } from "./statistics.js";

/** One matrix to be quantized. */
export interface QuantizationJob {
  readonly scheme: Scheme;
  /** Row-major, of `shape`. */
  readonly values: Float32Array;
  readonly shape: readonly number[];
  /** Of the matrix's inputs, as far as the method asked. Absent for a table that nothing is multiplied with. */
  readonly statistics?: InputStatistics;
  readonly seed: number;
  /** Where matrix products run; absent: plain loops (`plainProducts`), which give the same bits slowly. */
  readonly products?: Products;
}

export interface QuantizationOutcome {
  readonly packed: PackedTensor;
  /** What the user should know: damping retries, dead columns. */
  readonly notes?: Readonly<Record<string, number>>;
}

/** A matrix before any of its rows are looked at. */
export type PreparationJob = Omit<QuantizationJob, "values">;

/** What all rows of a matrix have in common, as plain data: typed arrays, numbers, and notes on the matrix. */
export interface Prepared {
  readonly notes?: Readonly<Record<string, number>>;
}

/** Linear maps of one layer, to be quantized for the sake of the layer's output. */
export interface LayerJob {
  readonly layer: number;
  /** By role inside the layer: "query". */
  readonly members: ReadonlyMap<string, QuantizationJob>;
  /** Hidden states before the layer, [tokens, width] of every calibration window. */
  readonly hidden: readonly Float32Array[];
  readonly width: number;
  /** The layer with some of its matrices replaced, on texts of `tokens` hidden states one after another. */
  trace(products: Products, replaced: LayerNumbers, hidden: Float32Array, tokens: number): LayerTrace;
  readonly seed: number;
}

/** What a method makes smaller: a cost of replacing `job.values` by `other`. */
export type Objective = (job: QuantizationJob, other: Float32Array) => number;

export interface MethodRecord<O extends OptionRecords, P extends Prepared = Prepared> extends Named {
  readonly summary: string;
  readonly source: string;
  readonly options: O;
  /** Scales are held to a pattern, so that what a scheme can represent is not always kept as it is. */
  readonly constrainsScales?: boolean;
  /** Rows are quantized one by one, and notes add up: blocks of rows give what all rows together give. */
  readonly rowwise?: boolean;
  /** What comes out may lie in another scheme than the job's, so nothing can be written before all is done. */
  readonly choosesScheme?: boolean;
  needs(options: ValuesOf<O>): Needs;
  objective(options: ValuesOf<O>): Objective;
  /** What costs much and is the same for all rows, so that it is done once; its notes stand for those of the rows. */
  prepare?(job: PreparationJob, options: ValuesOf<O>): P | undefined;
  /**
   * A NumericError names a value that is not finite. A job without statistics is done without them. `prepared`: what `prepare`
   * says; absent: it is asked.
   */
  quantize(job: QuantizationJob, options: ValuesOf<O>, prepared?: P): QuantizationOutcome;
  /**
   * Quantizes the members together, where the architecture can differentiate its layers (ForwardParts.trace); `quantize`
   * is for what stands alone. By role.
   */
  quantizeLayer?(job: LayerJob, options: ValuesOf<O>): ReadonlyMap<string, QuantizationOutcome>;
}

/** A method whose option types have been checked and may be forgotten. */
export type QuantizationMethod = MethodRecord<OptionRecords>;

/** Infers the option types of a method from its record. */
export function method<const O extends OptionRecords, P extends Prepared = Prepared>(
  record: MethodRecord<O, P>,
): QuantizationMethod {
  return record as unknown as QuantizationMethod;
}

/** sum |w - w'|^p. */
export const powerError =
  (p: number): Objective =>
  ({ values }, other) => {
    let sum = 0;
    for (let i = 0; i < values.length; i++) sum += Math.abs(values[i] - other[i]) ** p;
    return sum;
  };
