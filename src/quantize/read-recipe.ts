/** A recipe made ready for work: its names, patterns and options looked up, its defaults written out. */
import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import type { Scheme } from "../formats/scheme.js";
import { type CacheScheme, cacheText, parseCacheScheme } from "../models/index.js";
import { readOptions } from "../options.js";
import type { ActivationMethod } from "./activations/activation.js";
import { activationMethods } from "./activations/index.js";
import type { Compensation } from "./compensation.js";
import { compensations } from "./compensations.js";
import type { QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import {
  type ActivationStep,
  type CalibrationSettings,
  type CompensateStep,
  DEFAULT_CALIBRATION,
  type QuantizeStep,
  type Recipe,
  SEQUENTIAL,
  type TransformStep,
} from "./recipe.js";
import { checkedForm } from "./recipe-form.js";
import { type Needs, needsAtLeast } from "./statistics.js";
import { type Fold, isFold, type Rescaling, type Transform } from "./transform.js";
import { transforms } from "./transforms.js";

/** A recipe whose names, patterns and options have been looked up. */
export interface ReadRecipe {
  readonly seed: number;
  readonly calibration: CalibrationSettings;
  readonly quantizers: readonly Quantizer[];
  /** Changes of basis of the whole model, done as it is read. */
  readonly folds: readonly ChosenFold[];
  readonly transforms: readonly ChosenTransform[];
  readonly activations: readonly ChosenActivation[];
  readonly compensations: readonly ChosenCompensation[];
  readonly cache?: CacheScheme;
  /** The most that any step needs. */
  readonly needs: Needs;
  /** The recipe with every default written out. */
  readonly json: Recipe;
}

export interface Quantizer {
  readonly pattern: RegExp;
  readonly scheme: Scheme;
  readonly method: QuantizationMethod;
  readonly options: Readonly<Record<string, never>>;
  readonly json: QuantizeStep;
}

interface Chosen<T> {
  readonly pattern: RegExp;
  readonly transform: T;
  readonly options: Readonly<Record<string, never>>;
  readonly json: TransformStep;
}

export type ChosenTransform = Chosen<Rescaling>;
export type ChosenFold = Chosen<Fold>;

export interface ChosenActivation {
  readonly pattern: RegExp;
  readonly method: ActivationMethod;
  readonly scheme: Scheme;
  readonly options: Readonly<Record<string, never>>;
  readonly json: ActivationStep;
}

export interface ChosenCompensation {
  readonly pattern: RegExp;
  readonly compensation: Compensation;
  readonly options: Readonly<Record<string, never>>;
  readonly json: CompensateStep;
}

/** The pattern of a step without one. */
export const EVERYTHING = ".*";

/** Looks up everything that a recipe names; one InputError for the first thing that is wrong. */
export function readRecipe(value: unknown, where = "recipe"): ReadRecipe {
  const recipe = checkedForm(value, where);
  const seed = recipe.seed ?? 0;
  if (!Number.isSafeInteger(seed) || seed < 0) {
    throw new InputError("the seed must be an integer from 0", { kind: "value-out-of-range", where });
  }
  const calibration = readCalibration(recipe.calibration ?? {}, where);
  const quantizers: Quantizer[] = [];
  const folds: ChosenFold[] = [];
  const chosen: ChosenTransform[] = [];
  const activations: ChosenActivation[] = [];
  const compensating: ChosenCompensation[] = [];
  let cache: CacheScheme | undefined;
  const steps = recipe.steps.map((step, index) => {
    const place = `${where}, step ${index + 1}`;
    if ("quantize" in step) {
      const quantizer = readQuantizer(step, place);
      quantizers.push(quantizer);
      return quantizer.json;
    }
    if ("activations" in step) {
      const activation = readActivation(step, place);
      activations.push(activation);
      return activation.json;
    }
    if ("compensate" in step) {
      const compensation = readCompensation(step, place);
      compensating.push(compensation);
      return compensation.json;
    }
    if ("cache" in step) {
      if (cache) throw new InputError("keys and values are held in one way", { kind: "wrong-recipe", where: place });
      cache = parseCacheScheme(step.cache);
      return { cache: cacheText(cache) };
    }
    const { transform, ...rest } = readTransform(step, place);
    if (!isFold(transform)) chosen.push({ ...rest, transform });
    else if (chosen.length === 0) folds.push({ ...rest, transform });
    else throw foldTooLate(transform.name, chosen[0].transform.name, place);
    return rest.json;
  });
  if (quantizers.length + folds.length + chosen.length + activations.length === 0 && !cache) {
    throw new InputError("the recipe changes nothing", { kind: "wrong-recipe", where, try: "a quantize step" });
  }
  const needs = [
    ...quantizers.map(({ method, options }) => method.needs(options)),
    ...chosen.map(({ transform, options }) => transform.needs(options)),
    ...activations.map(({ method, options }) => method.needs(options)),
    ...compensating.map(({ compensation, options }) => compensation.needs(options)),
  ].reduce<Needs>((most, one) => (needsAtLeast(one, most) ? one : most), "nothing");
  if (needsAtLeast(needs, "drift") && chosen.length + activations.length > 0) {
    throw new InputError("errors cannot be propagated where inputs are changed on purpose", {
      kind: "wrong-recipe",
      where,
      why: "what a map gets is compared with what the original model has there, and a transform moves that too",
      try: "propagation 0, or no transforms and no activations",
    });
  }
  return {
    seed,
    calibration,
    quantizers,
    folds,
    transforms: chosen,
    activations,
    compensations: compensating,
    cache,
    needs,
    json: { recipe: 1, seed, calibration, steps },
  };
}

const foldTooLate = (fold: string, before: string, where: string) =>
  new InputError(`${fold} changes the whole model and must come before ${before}`, { kind: "wrong-recipe", where });

function readCalibration(given: Partial<CalibrationSettings>, where: string): CalibrationSettings {
  const records = {
    windows: { kind: "integer", summary: "windows of text", default: DEFAULT_CALIBRATION.windows, min: 1 },
    window: { kind: "integer", summary: "tokens in each", default: DEFAULT_CALIBRATION.window, min: 2 },
    sequential: { kind: "choice", summary: "what a layer sees", choices: SEQUENTIAL, default: "layers" },
  } as const;
  return readOptions(records, { ...given }, `${where}, calibration`);
}

function readQuantizer(step: QuantizeStep, where: string): Quantizer {
  const method = methods.get(step.quantize);
  const scheme = schemes.get(step.scheme);
  const options = readOptions(method.options, step.options ?? {}, `method ${method.name}`);
  const { tensors = EVERYTHING } = step;
  const json = { quantize: method.name, scheme: scheme.name, tensors, options };
  return { pattern: readPattern(tensors, where), scheme, method, options, json };
}

function readTransform(step: TransformStep, where: string): Chosen<Transform> {
  const found = transforms.get(step.transform);
  const options = readOptions(found.options, step.options ?? {}, `transform ${found.name}`);
  const { tensors = EVERYTHING } = step;
  const json = { transform: found.name, tensors, options };
  return { pattern: readPattern(tensors, where), transform: found, options, json };
}

function readActivation(step: ActivationStep, where: string): ChosenActivation {
  const method = activationMethods.get(step.activations);
  const scheme = schemes.get(step.scheme);
  const why = method.fault?.(scheme);
  if (why !== undefined) {
    const message = `activations cannot be rounded to ${scheme.name} by ${method.name}`;
    throw new InputError(message, { kind: "wrong-recipe", where, why });
  }
  const options = readOptions(method.options, step.options ?? {}, `activation method ${method.name}`);
  const { tensors = EVERYTHING } = step;
  const json = { activations: method.name, scheme: scheme.name, tensors, options };
  return { pattern: readPattern(tensors, where), method, scheme, options, json };
}

function readCompensation(step: CompensateStep, where: string): ChosenCompensation {
  const compensation = compensations.get(step.compensate);
  const options = readOptions(compensation.options, step.options ?? {}, `compensation ${compensation.name}`);
  const { tensors = EVERYTHING } = step;
  const json = { compensate: compensation.name, tensors, options };
  return { pattern: readPattern(tensors, where), compensation, options, json };
}

function readPattern(source: string, where: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new InputError(`"${source}" is not a regular expression`, {
      kind: "wrong-recipe",
      where,
      why: (cause as Error).message,
      cause,
    });
  }
}
