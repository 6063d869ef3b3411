import type { Checkpoint, Container, Metadata, SideFile } from "../checkpoints/checkpoint.js";
import { containerFor, openCheckpoint } from "../checkpoints/index.js";
import { InputError, UnsupportedError } from "../errors.js";
import {
  type Architecture,
  architectureOf,
  describeModel,
  essentialRole,
  type LinearRecords,
  type ModelConfig,
  modelSize,
  readLinears,
} from "../models/index.js";
import { type PackedTensor, packedBytes } from "../tensor/index.js";
import type { TensorReport } from "./artifacts.js";
import { calibratedParts } from "./calibrated-run.js";
import { foldedModel } from "./folded.js";
import { type Importance, readImatrix } from "./imatrix-file.js";
import { roundedInputs } from "./input-rounding.js";
import { outputFiles } from "./output.js";
import { type Override, type PlannedTensor, planTensors } from "./plan.js";
import { type Parts, produceTensor } from "./produce.js";
import { type ActivationStep, type CalibrationSettings, type ReadRecipe, type Recipe, readRecipe } from "./recipe.js";
import type { Rehearsal } from "./rehearsal.js";
import { BLOCK_WEIGHTS, openRunner } from "./row-blocks.js";
import { settledPlan } from "./settled.js";
import { needsAtLeast } from "./statistics.js";

export interface QuantizeOptions {
  /** What to read; see openCheckpoint. */
  readonly input: string;
  /** A path ending in .gguf, or a folder. */
  readonly output: string;
  /** Scheme of all matrices that no override names; this and the six that follow are the short form of a recipe. */
  readonly scheme?: string;
  readonly method?: string;
  readonly methodOptions?: Readonly<Record<string, unknown>>;
  readonly transforms?: readonly string[];
  readonly overrides?: readonly Override[];
  /** How inputs of linear maps are rounded: SCHEME for every token by itself, or METHOD:SCHEME. */
  readonly activations?: string;
  /** A compensation of all matrices, with its defaults. */
  readonly compensation?: string;
  /** In place of scheme, method and overrides. */
  readonly recipe?: Recipe;
  readonly calibration?: Partial<CalibrationSettings>;
  /** Text to calibrate with; asked for only by methods that need it. */
  readonly calibrationText?: () => Promise<string>;
  /** An importance matrix (imatrix-file.ts) in place of calibration, for methods that need mean squares only. */
  readonly imatrix?: string;
  /** What runs the model for calibration. Default: the first one registered. */
  readonly backend?: string;
  /** Of that backend, and threads that quantize. Default 1. The output's bytes do not depend on it. */
  readonly threads?: number;
  /** Everything is decided and no work has begun. */
  readonly onPlan?: (plan: QuantizePlan) => void;
  readonly onProgress?: (progress: QuantizeProgress) => void;
  /** With calibration: the first layer is finished and has been tried out. */
  readonly onRehearsal?: (rehearsal: Rehearsal) => void;
  /** A tensor is finished; waits for what it returns before the next. */
  readonly onTensor?: (tensor: QuantizedTensor) => void | Promise<void>;
  /** Stops between two tensors; nothing is left behind but, with calibration, the finished parts for the next run. */
  readonly signal?: AbortSignal;
}

export interface QuantizeProgress {
  /** The tensor in work. */
  readonly name: string;
  readonly doneTensors: number;
  readonly totalTensors: number;
  readonly doneWeights: number;
  readonly totalWeights: number;
}

/** relativeMse is against the input's values (after transforms, if there are any). */
export interface QuantizedTensor extends TensorReport {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scheme: string;
  readonly bytes: number;
}

export interface QuantizeResult {
  readonly output: string;
  /** Bytes of the files that hold tensors. */
  readonly bytes: number;
  /** Bits of tensor data in the output for each number in it. */
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly tensors: readonly QuantizedTensor[];
}

/** What would be written, found without reading any tensor. */
export interface QuantizePlan {
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

/** The recipe that the short options mean. */
export function recipeOf(options: QuantizeOptions): ReadRecipe {
  const { scheme, method = "rtn", methodOptions, transforms = [], overrides = [], calibration } = options;
  if (options.recipe) {
    const merged = { ...options.recipe, calibration: { ...options.recipe.calibration, ...calibration } };
    return readRecipe(merged);
  }
  if (scheme === undefined) {
    throw new InputError("neither a scheme nor a recipe is given", { kind: "missing-argument", try: "--to q4_0" });
  }
  const { activations, compensation } = options;
  const quantizeStep = { quantize: method, options: methodOptions };
  return readRecipe({
    recipe: 1,
    calibration,
    steps: [
      ...transforms.map((transform) => ({ transform })),
      ...overrides.map(({ pattern, scheme: other }) => ({
        ...quantizeStep,
        scheme: other.name,
        tensors: pattern.source,
      })),
      { ...quantizeStep, scheme },
      ...(activations === undefined ? [] : [activationStep(activations)]),
      ...(compensation === undefined ? [] : [{ compensate: compensation }]),
    ],
  });
}

function activationStep(text: string): ActivationStep {
  const cut = text.indexOf(":");
  return { activations: cut < 0 ? "dynamic" : text.slice(0, cut), scheme: text.slice(cut + 1) };
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

export async function quantizeModel(options: QuantizeOptions): Promise<QuantizeResult> {
  const begin = performance.now();
  const plan = await planQuantization(options);
  const { checkpoint } = plan;
  options.onPlan?.(plan);
  try {
    const parts = plan.calibrated ? await calibratedParts(plan, options) : undefined;
    const settled = parts ? await settledPlan(plan, parts) : plan;
    const { tensors } = settled;
    const { metadata, sideFiles } = await outputFiles(settled, parts?.text);
    const reports = await writeTensors(settled, options, metadata, sideFiles, parts);
    await parts?.store.remove();
    const output = await openCheckpoint(options.output);
    const { bytes, bitsPerWeight } = modelSize(output);
    const sizes = new Map(output.tensors.map((tensor) => [tensor.name, tensor.bytes]));
    await output.close();
    const seconds = (performance.now() - begin) / 1000;
    const rows = tensors.map(({ name, shape, scheme }, index) => {
      return { name, shape, scheme: scheme.name, bytes: sizes.get(name) ?? 0, ...reports[index] };
    });
    return { output: options.output, bytes, bitsPerWeight, seconds, tensors: rows };
  } finally {
    await checkpoint.close();
  }
}

const weightsOf = (tensor: PlannedTensor) => tensor.shape.reduce((a, b) => a * b, 1);

/** Produces and writes every planned tensor; their errors in order. */
async function writeTensors(
  plan: QuantizePlan,
  { input, output, onProgress, onTensor, signal, threads = 1 }: QuantizeOptions,
  metadata: Metadata,
  sideFiles: readonly SideFile[],
  parts: Parts | undefined,
): Promise<TensorReport[]> {
  const { container, tensors } = plan;
  const reports: TensorReport[] = [];
  const totalWeights = tensors.reduce((sum, tensor) => sum + weightsOf(tensor), 0);
  let doneWeights = parts ? totalWeights : 0;
  const report = (name: string, doneTensors: number) =>
    onProgress?.({ name, doneTensors, totalTensors: tensors.length, doneWeights, totalWeights });
  const runner = await openRunner(parts ? 1 : threads);
  const take = startedAhead(
    tensors.length,
    (index) => produceTensor(plan, tensors[index], parts, runner),
    (index) => weightsOf(tensors[index]),
    threads === 1 ? 0 : threads * BLOCK_WEIGHTS,
  );
  const content = {
    metadata,
    tensors,
    async produce(_: unknown, index: number): Promise<PackedTensor> {
      signal?.throwIfAborted();
      report(tensors[index].name, index);
      const { packed, report: found } = await take(index);
      reports[index] = found;
      const { name, shape, scheme } = tensors[index];
      await onTensor?.({ name, shape, scheme: scheme.name, bytes: packedBytes(packed), ...found });
      if (!parts) doneWeights += weightsOf(tensors[index]);
      // Lets signals and timers in between two tensors.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      return packed;
    },
  };
  try {
    await container.write(output, content, { inputs: [input], sideFiles });
  } finally {
    await runner.close();
  }
  report("", tensors.length);
  return reports;
}

/**
 * Makes things in order, of which some are begun before they are taken: as long as those begun weigh less than `limit`. An
 * error comes when its thing is taken, so that the first in order is the one that is seen.
 */
function startedAhead<T>(
  count: number,
  make: (index: number) => Promise<T>,
  weight: (index: number) => number,
  limit: number,
): (index: number) => Promise<T> {
  const begun = new Map<number, Promise<T>>();
  let [next, pending] = [0, 0];
  return async (index) => {
    while (next < count && (next <= index || pending < limit)) {
      const one = make(next);
      one.catch(() => {});
      begun.set(next, one);
      pending += weight(next++);
    }
    const taken = begun.get(index);
    if (!taken) throw new Error(`${index} was taken before`);
    begun.delete(index);
    const made = await taken;
    pending -= weight(index);
    return made;
  };
}
