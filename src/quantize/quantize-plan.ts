/** Everything that can be decided before any work is done: the recipe, the tensors of the output, and what would not fit. */
import type { Checkpoint, Container } from "../checkpoints/checkpoint.js";
import { containerFor, openCheckpoint } from "../checkpoints/index.js";
import { InputError, UnsupportedError } from "../errors.js";
import {
  type Architecture,
  architectureOf,
  describeModel,
  essentialRole,
  type LinearRecords,
  type ModelConfig,
  readLinears,
} from "../models/index.js";
import { foldedModel } from "./folded.js";
import { type Importance, readImatrix } from "./imatrix-file.js";
import { roundedInputs } from "./input-rounding.js";
import { type PlannedTensor, planTensors } from "./plan.js";
import type { QuantizeOptions } from "./quantize.js";
import type { ReadRecipe } from "./read-recipe.js";
import { recipeOf } from "./short-form.js";
import { needsAtLeast } from "./statistics.js";

/** What would be written, found without reading any tensor. */
export interface QuantizePlan {
  /** What is read, as it lies on disk. */
  readonly input: Checkpoint;
  /** The same after the recipe's folds. */
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly config: ModelConfig;
  readonly container: Container;
  readonly recipe: ReadRecipe;
  /** Whether the model must be run on text. */
  readonly calibrated: boolean;
  /** What a file says of the activations, by GGUF name, in place of calibration. */
  readonly importance?: Importance;
  readonly tensors: readonly PlannedTensor[];
  /** What linear maps of the model, after the recipe's folds, do besides multiplying. */
  readonly linears: LinearRecords;
  /** What the folds noted of weights, by role. */
  readonly notes: ReadonlyMap<string, Readonly<Record<string, number>>>;
}

/** Opens the input and decides everything that can be decided before work starts. The caller closes the checkpoint. */
export async function planQuantization(options: QuantizeOptions): Promise<QuantizePlan> {
  const asked = recipeOf(options);
  const container = containerFor(options.output);
  const input = await openCheckpoint(options.input);
  try {
    const original = await modelOf(input);
    const recipe = withinContext(asked, original.config);
    const folded = await foldedModel(original, recipe.folds, recipe.seed, container.name);
    const { checkpoint, architecture, config, notes } = folded;
    const stored = readLinears(checkpoint.metadata, checkpoint.path);
    refuseSteps(container.name, stored, recipe, options.output);
    const tensors = planTensors({ checkpoint, architecture, config, container, recipe });
    const importance = options.imatrix === undefined ? undefined : await importanceFor(recipe, options.imatrix);
    const layered = recipe.needs !== "nothing" || recipe.transforms.length > 0 || recipe.compensations.length > 0;
    const calibrated = !importance && layered;
    const plan = {
      input,
      checkpoint,
      architecture,
      config,
      container,
      recipe,
      calibrated,
      importance,
      tensors,
      linears: stored,
      notes,
    };
    return calibrated ? plan : { ...plan, linears: roundedInputs(plan) };
  } catch (error) {
    await input.close();
    throw error;
  }
}

async function modelOf(checkpoint: Checkpoint) {
  const architecture = architectureOf(checkpoint);
  const { config } = await describeModel(checkpoint, architecture);
  return { checkpoint, architecture, config };
}

/**
 * GGUF files are for other engines too, which know nothing of what a linear map does besides multiplying. Weights with
 * something beside them belong to the numbers that they were made from, and are not quantized again.
 */
function refuseSteps(container: string, linears: LinearRecords, recipe: ReadRecipe, where: string): void {
  const beside = Object.entries(linears).find(([, { rank, apart }]) => rank !== undefined || apart !== undefined)?.[0];
  if (beside !== undefined) {
    throw new UnsupportedError("a model with tensors beside its weights cannot be quantized again", {
      kind: "unsupported-feature",
      where: beside,
      why: "a low-rank pair, or columns kept apart, go with the weights as they are",
      try: "start from the original model",
    });
  }
  const step =
    recipe.compensations[0]?.compensation.name ??
    recipe.transforms.find(({ transform, options }) => transform.online?.(options))?.transform.name ??
    recipe.activations.find(({ method }) => method.essential)?.method.name;
  const role = essentialRole(linears) ?? (step && `the linear maps that ${step} takes`);
  if (container !== "gguf" || role === undefined) return;
  throw new UnsupportedError("a GGUF file cannot say what the recipe does to activations", {
    kind: "unsupported-feature",
    where,
    why: `the input of ${role} must be rotated or compensated at run time, and other engines would leave that out`,
    try: "a folder as output",
  });
}

/** The importance matrix of a file, if it says all that the recipe needs. */
async function importanceFor(recipe: ReadRecipe, path: string): Promise<Importance> {
  if (recipe.transforms.length > 0 || needsAtLeast(recipe.needs, "moments")) {
    throw new InputError("an importance matrix does not say enough for this recipe", {
      where: path,
      why: `it holds mean squares, the recipe needs ${recipe.needs} of the activations`,
      try: "a text to calibrate with, or the method imatrix",
    });
  }
  const choosing = recipe.quantizers.find(({ method }) => method.choosesScheme)?.method.name;
  if (choosing !== undefined) {
    throw new InputError(`${choosing} cannot work from an importance matrix`, {
      where: path,
      why: "it chooses schemes, and tensors are written one by one without calibration",
      try: "a text to calibrate with",
    });
  }
  return readImatrix(path);
}

/** Windows are no longer than what the model was trained for. */
function withinContext(recipe: ReadRecipe, { context }: ModelConfig): ReadRecipe {
  if (recipe.calibration.window <= context) return recipe;
  const calibration = { ...recipe.calibration, window: context };
  return { ...recipe, calibration, json: { ...recipe.json, calibration } };
}
