/**
 * A recipe is data: which transforms and which method with which options on which tensors, and how calibration is done. The
 * command line's flags are a short form of it; the output file's metadata carries it.
 */

/** A recipe as JSON holds it. Everything but `steps` may be left out. */
export interface Recipe {
  readonly recipe: 1;
  readonly seed?: number;
  readonly calibration?: Partial<CalibrationSettings>;
  readonly steps: readonly RecipeStep[];
}

export const SEQUENTIAL = ["layers", "stages", "none"] as const;

export interface CalibrationSettings {
  /** Windows of text taken evenly from it, and tokens in each. */
  readonly windows: number;
  readonly window: number;
  /**
   * What a layer sees: the outputs of the quantized layers before it ("layers"), also within itself ("stages"), or those
   * of the original model ("none"). "stages" takes one forward pass of each layer where "layers" takes two; GPTQ
   * comes as close to the original model with the one as with the other (KL of the demo model, within its intervals).
   */
  readonly sequential: (typeof SEQUENTIAL)[number];
}

export type RecipeStep = QuantizeStep | TransformStep | ActivationStep | CompensateStep | CacheStep;

export interface QuantizeStep {
  /** A method's name. */
  readonly quantize: string;
  readonly scheme: string;
  /** Regular expression over a tensor's name in the output and its role; absent: every matrix. */
  readonly tensors?: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

export interface TransformStep {
  /** A transform's name. */
  readonly transform: string;
  readonly tensors?: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** How inputs of linear maps are rounded; the first step that fits all maps that read an input takes it. */
export interface ActivationStep {
  /** An activation method's name. */
  readonly activations: string;
  readonly scheme: string;
  readonly tensors?: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** What is added to a quantized matrix to make up for its error; the first step that fits takes a matrix. */
export interface CompensateStep {
  /** A compensation's name. */
  readonly compensate: string;
  readonly tensors?: string;
  readonly options?: Readonly<Record<string, unknown>>;
}

/** How keys and values are held when the output is run; see parseCacheScheme. */
export interface CacheStep {
  readonly cache: string;
}

export const DEFAULT_CALIBRATION: CalibrationSettings = { windows: 32, window: 512, sequential: "layers" };
