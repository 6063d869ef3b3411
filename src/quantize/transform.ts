/**
 * A transform changes a model without changing what it computes, so that what is rounded afterwards rounds better. Two
 * kinds, both made of folds (fold.ts): a rescaling looks at one input of linear maps at a time and shifts and divides its
 * channels as statistics decide (rescale.ts); a fold changes the basis of the whole model, needs no data, and is done as tensors are read.
 */
import { InputError } from "../errors.js";
import type { Architecture, LinearRecords, ModelConfig } from "../models/index.js";
import type { OptionRecords, ValuesOf } from "../options.js";
import type { Named } from "../registry.js";
import type { InputStatistics, Needs } from "./statistics.js";

interface Described<O extends OptionRecords> extends Named {
  readonly summary: string;
  readonly source: string;
  readonly options: O;
  needs(options: ValuesOf<O>): Needs;
}

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
  /** Whether the biases around the input can take over a shift of it. */
  readonly canShift: boolean;
  /** E||E x||^2 for errors E [rows, columns]. */
  outputError(errors: Float32Array): number;
  /** The squared error of all outputs after a change, on a sample, inputs and weights rounded as the recipe says. */
  roundingError(change: TransformOutcome): number;
}

export interface TransformOutcome {
  /** s, one positive number for each input channel. */
  readonly scales: Float64Array;
  /** z, subtracted before the division; only where the job can shift. */
  readonly shift?: Float64Array;
  readonly notes?: Readonly<Record<string, number>>;
}

/** One input's channels shifted and divided, folded into what comes before: a norm, the rows of a map. */
export interface RescalingRecord<O extends OptionRecords> extends Described<O> {
  /** Whether inputs are rescaled as they come where nothing before them can take that over. Default: they are left alone. */
  online?(options: ValuesOf<O>): boolean;
  /** The scales of one input; undefined to leave it alone. */
  choose(job: TransformJob, options: ValuesOf<O>): TransformOutcome | undefined;
}

/** A model about to be folded. Values are f32 numbers in canonical row order. */
export interface FoldJob {
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  readonly seed: number;
  /** Whether the recipe's pattern takes the weight of this role. */
  takes(role: string): boolean;
  /** Whether the model has a weight of this role (a bias may be absent). */
  has(role: string): boolean;
  read(role: string): Promise<Float32Array>;
}

/** An InputError for a pattern that leaves weights out of a fold that has no parts. */
export function demandWhole(name: string, { architecture, config, takes }: FoldJob): void {
  const left = architecture.weights(config).find(({ role, shape }) => shape.length === 2 && !takes(role));
  if (!left) return;
  throw new InputError(`${name} changes all of a model or nothing`, {
    kind: "wrong-recipe",
    where: left.role,
    why: "the step's pattern leaves this weight out",
    try: `${name} without "tensors"`,
  });
}

export interface ModelFold {
  /** What changes in the configuration. */
  readonly config?: Readonly<Record<string, unknown>>;
  /** Steps that linear maps need from now on, after those that they have. */
  readonly linears?: LinearRecords;
  /** Weights that change, by role, made when they are asked for. */
  readonly weights: ReadonlyMap<string, () => Promise<Float32Array>>;
  /** What the report says of a weight, by role: blocks smaller than those asked for, say. */
  readonly notes?: ReadonlyMap<string, Readonly<Record<string, number>>>;
}

/** A change of basis of the whole model that needs no data. */
export interface FoldRecord<O extends OptionRecords> extends Described<O> {
  /** UnsupportedError for a model that cannot be folded so. */
  fold(job: FoldJob, options: ValuesOf<O>): ModelFold | Promise<ModelFold>;
}

export type Rescaling = RescalingRecord<OptionRecords>;
export type Fold = FoldRecord<OptionRecords>;
export type Transform = Rescaling | Fold;

export const isFold = (one: Transform): one is Fold => "fold" in one;

export function transform<const O extends OptionRecords>(record: RescalingRecord<O>): Rescaling {
  return record as unknown as Rescaling;
}

/** Infers the option types of a fold from its record. */
export function fold<const O extends OptionRecords>(record: Omit<FoldRecord<O>, "needs">): Fold {
  return { ...record, needs: () => "nothing" } as unknown as Fold;
}
