/**
 * A recipe is data: which transforms and which method with which options on which tensors, and how calibration is done. The
 * command line's flags are a short form of it; the output file's metadata carries it.
 */
import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import type { Scheme } from "../formats/scheme.js";
import { type CacheScheme, cacheText, parseCacheScheme } from "../models/index.js";
import { optionsSchema, readOptions } from "../options.js";
import type { ActivationMethod } from "./activations/activation.js";
import { activationMethods } from "./activations/index.js";
import type { Compensation } from "./compensation.js";
import { compensations } from "./compensations.js";
import type { QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import { type Needs, needsAtLeast } from "./statistics.js";
import { type Fold, isFold, type Rescaling, type Transform } from "./transform.js";
import { transforms } from "./transforms.js";

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
   * of the original model ("none").
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

const EVERYTHING = ".*";

/** Looks up everything that a recipe names; one InputError for the first thing that is wrong. */
export function readRecipe(value: unknown, where = "recipe"): ReadRecipe {
  const recipe = checkedShape(value, where);
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
  if (quantizers.length === 0 && !cache) {
    throw new InputError("the recipe quantizes nothing", { kind: "wrong-recipe", where, try: "a quantize step" });
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

/** Keys that a step must have, its kind first. */
const FORMS = [["quantize", "scheme"], ["activations", "scheme"], ["compensate"], ["cache"], ["transform"]] as const;
/** Keys that any step may have which is about tensors. */
const COMMON = ["tensors", "options"] as const;

function checkedShape(value: unknown, where: string): Recipe {
  const wrong = (why: string) =>
    new InputError("this is no recipe", { kind: "wrong-recipe", where, why, try: "docs/schemas/recipe.json" });
  if (!isRecord(value)) throw wrong("wanted a JSON object");
  const extra = Object.keys(value).find((key) => !["$schema", "recipe", "seed", "calibration", "steps"].includes(key));
  if (extra !== undefined) throw wrong(`it has a key "${extra}"`);
  if (value.recipe !== 1) throw wrong(`"recipe" is ${JSON.stringify(value.recipe)}, wanted 1, the version of the form`);
  if (!Array.isArray(value.steps)) throw wrong('wanted a list "steps"');
  value.steps.forEach((step: unknown, index) => {
    const name = `step ${index + 1}`;
    if (!isRecord(step)) throw wrong(`${name} is no object`);
    const allowed = FORMS.find(([kind]) => kind in step) ?? ["transform"];
    if (!allowed.every((key) => typeof step[key] === "string")) throw wrong(`${name} wants texts: ${allowed}`);
    const known: readonly string[] = "cache" in step ? allowed : [...allowed, ...COMMON];
    const other = Object.keys(step).find((key) => !known.includes(key));
    if (other !== undefined) throw wrong(`${name} has a key "${other}"`);
    if (step.tensors !== undefined && typeof step.tensors !== "string") throw wrong(`${name}: tensors is no text`);
    if (step.options !== undefined && !isRecord(step.options)) throw wrong(`${name}: options is no object`);
  });
  return value as unknown as Recipe;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

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

/** JSON Schema (draft 2020-12) of a recipe, derived from the registries. */
export function recipeSchema(): Record<string, unknown> {
  const tensors = {
    type: "string",
    format: "regex",
    description: "over a tensor's name or role; absent: every matrix",
  };
  const step = (kind: string, one: { name: string; options: QuantizationMethod["options"] }, more: object) => ({
    type: "object",
    properties: { [kind]: { const: one.name }, tensors, ...more, options: optionsSchema(one.options) },
    required: [kind, ...Object.keys(more)],
    additionalProperties: false,
  });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Bitloom recipe",
    type: "object",
    properties: {
      $schema: { type: "string" },
      recipe: { const: 1, description: "version of this form" },
      seed: { type: "integer", minimum: 0, default: 0 },
      calibration: {
        type: "object",
        properties: {
          windows: { type: "integer", minimum: 1, default: DEFAULT_CALIBRATION.windows },
          window: { type: "integer", minimum: 2, default: DEFAULT_CALIBRATION.window },
          sequential: { enum: SEQUENTIAL, default: DEFAULT_CALIBRATION.sequential },
        },
        additionalProperties: false,
      },
      steps: {
        type: "array",
        items: {
          oneOf: [
            ...methods.entries.map((one) => step("quantize", one, { scheme: { type: "string" } })),
            ...transforms.entries.map((one) => step("transform", one, {})),
            ...activationMethods.entries.map((one) => step("activations", one, { scheme: { type: "string" } })),
            ...compensations.entries.map((one) => step("compensate", one, {})),
            {
              type: "object",
              properties: {
                cache: { type: "string", description: "a scheme, or keys=SCHEME:AXIS,values=...,window=N" },
              },
              required: ["cache"],
              additionalProperties: false,
            },
          ],
        },
      },
    },
    required: ["recipe", "steps"],
    additionalProperties: false,
  };
}
