/** The short form of a recipe: one method and one scheme for all matrices, and exceptions, as command line flags say it. */
import { InputError } from "../errors.js";
import type { Override } from "./plan.js";
import { type ReadRecipe, readRecipe } from "./read-recipe.js";
import type { ActivationStep, CalibrationSettings, Recipe } from "./recipe.js";

export interface ShortForm {
  /** Scheme of all matrices that no override names; absent: they stay as they are. */
  readonly scheme?: string;
  readonly method?: string;
  readonly methodOptions?: Readonly<Record<string, unknown>>;
  readonly transforms?: readonly string[];
  readonly overrides?: readonly Override[];
  /** How inputs of linear maps are rounded: SCHEME for every token by itself, or METHOD:SCHEME. */
  readonly activations?: string;
  /** A compensation of all matrices, with its defaults. */
  readonly compensation?: string;
  /** How keys and values are held when the output is run; see parseCacheScheme. */
  readonly cache?: string;
  /** In place of all of the above. */
  readonly recipe?: Recipe;
  readonly calibration?: Partial<CalibrationSettings>;
  readonly seed?: number;
}

/** The recipe that the short options mean. */
export function recipeOf(options: ShortForm): ReadRecipe {
  const { scheme, method, methodOptions, transforms = [], overrides = [], calibration, seed } = options;
  if (options.recipe) {
    const merged = { ...options.recipe, calibration: { ...options.recipe.calibration, ...calibration } };
    return readRecipe(merged);
  }
  const { activations, compensation, cache } = options;
  const others = transforms.length > 0 || activations !== undefined || cache !== undefined;
  if (
    scheme === undefined &&
    overrides.length === 0 &&
    (!others || method !== undefined || compensation !== undefined)
  ) {
    throw new InputError("neither a scheme nor a recipe is given", { kind: "missing-argument", try: "--to q4_0" });
  }
  const quantizeStep = { quantize: method ?? "rtn", options: methodOptions };
  return readRecipe({
    recipe: 1,
    seed,
    calibration,
    steps: [
      ...transforms.map((transform) => ({ transform })),
      ...overrides.map(({ pattern, scheme: other }) => ({
        ...quantizeStep,
        scheme: other.name,
        tensors: pattern.source,
      })),
      ...(scheme === undefined ? [] : [{ ...quantizeStep, scheme }]),
      ...(activations === undefined ? [] : [activationStep(activations)]),
      ...(compensation === undefined ? [] : [{ compensate: compensation }]),
      ...(cache === undefined ? [] : [{ cache }]),
    ],
  });
}

function activationStep(text: string): ActivationStep {
  const cut = text.indexOf(":");
  return { activations: cut < 0 ? "dynamic" : text.slice(0, cut), scheme: text.slice(cut + 1) };
}
