import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { cacheText } from "../models/index.js";
import {
  activationMethods,
  compensations,
  DEFAULT_CALIBRATION,
  methods,
  parseOverride,
  type QuantizedTensor,
  type QuantizePlan,
  type quantizeModel,
  type Recipe,
  transforms,
} from "../quantize/index.js";
import { CACHE, ENGINE_OPTIONS } from "./engine.js";
import type { Forecast } from "./forecast.js";
import { DEMO_CALIBRATION, modelPath, readText } from "./model-path.js";
import { integer, optionalName, readSetting, repeated, requiredText, text, type Values } from "./option.js";
import { readRecipeFile } from "./recipe-file.js";
import { count, list, nullable, number, string, tensorSchema } from "./schema.js";
import { tensorBytes } from "./tensor-bytes.js";

/** What says how a model is to be quantized. */
export const RECIPE_OPTIONS = {
  to: optionalName(
    "--to <scheme>",
    "scheme of the weights (bitloom schemes lists them); default: they stay as they are",
    schemes,
  ),
  output: requiredText("-o, --output <path>", "a name ending in .gguf, or a folder for safetensors"),
  tensorType: repeated("--tensor-type <pattern=scheme>", "another scheme for tensors whose name fits", parseOverride),
  method: optionalName("--method <name>", `how codes are chosen: ${methods.names.join(", ")} (default: rtn)`, methods),
  set: repeated("--set <name=value>", "an option of the method (bitloom methods lists them)", readSetting),
  transform: repeated(
    "--transform <name>",
    `what is done to the model before: ${transforms.names.join(", ")}`,
    (name) => transforms.get(name).name,
  ),
  activations: text(
    "--activations <scheme>",
    `round inputs of linear maps, every token with scales of its own; METHOD:SCHEME for another way (${activationMethods.names.join(", ")})`,
  ),
  compensate: optionalName("--compensate <name>", "make up for the error in a pair of thin matrices", compensations),
  cache: {
    ...CACHE,
    description: "how keys and values are to be held when the output is run, as run --cache takes it",
  },
  windows: integer("--windows <n>", `windows of calibration text (default: ${DEFAULT_CALIBRATION.windows})`, {
    min: 1,
  }),
  window: integer("--window <n>", `tokens in each (default: ${DEFAULT_CALIBRATION.window})`, { min: 2 }),
  seed: integer("--seed <n>", "of random choices (default: 0)", { min: 0 }),
  recipe: text(
    "--recipe <file>",
    "all of this as JSON, in place of the options above, or a model that carries its recipe",
  ),
  calibrate: text(
    "--calibrate <file>",
    "text or conversations (JSON lines) for methods that look at activations; default: bundled text",
  ),
  imatrix: text("--imatrix <file>", "importance matrix in place of a text, for --method imatrix"),
  parts: text(
    "--parts <folder>",
    "keep finished layers there, and take up those that fit: they are shared by runs whose recipes differ in other layers; default: kept beside the output until it is written",
  ),
  ...ENGINE_OPTIONS,
};

type Chosen = Values<typeof RECIPE_OPTIONS>;

/** What a recipe says itself. */
const SHORT_FORM = [
  "to",
  "tensorType",
  "method",
  "set",
  "transform",
  "activations",
  "compensate",
  "cache",
  "windows",
  "window",
  "seed",
] as const;
export type Settings = Omit<Parameters<typeof quantizeModel>[0], "onProgress" | "signal" | "threads"> & {
  readonly threads: number;
  /** Hash of the text that the recipe was recorded with, where a model says it. */
  readonly recordedText?: string;
};

/** What the flags ask for; an InputError if they contradict each other. */
export async function settingsOf(model: string, chosen: Chosen): Promise<Settings> {
  const { output, recipe: file, calibrate = DEMO_CALIBRATION, threads, backend, imatrix, parts } = chosen;
  const calibrationText = () => readText(calibrate);
  const common = { input: modelPath(model), output, calibrationText, threads, backend, imatrix, parts };
  return { ...common, ...(file === undefined ? shortForm(chosen) : await longForm(file, chosen)) };
}

function shortForm({ to: scheme, method, set, transform, tensorType, activations, compensate, ...rest }: Chosen) {
  const changes = [scheme, activations, rest.cache, ...tensorType, ...transform].some((given) => given !== undefined);
  if (!changes) {
    throw new InputError("either --to or --recipe must be given", { kind: "missing-argument", try: "--to q4_0" });
  }
  const { windows, window, seed } = rest;
  const cache = rest.cache && cacheText(rest.cache);
  const calibration = { ...(windows !== undefined && { windows }), ...(window !== undefined && { window }) };
  const methodOptions = Object.fromEntries(set);
  const [overrides, compensation] = [tensorType, compensate];
  return {
    scheme,
    method,
    methodOptions,
    transforms: transform,
    overrides,
    activations,
    compensation,
    cache,
    calibration,
    seed,
  };
}

async function longForm(file: string, chosen: Chosen): Promise<{ readonly recipe: Recipe; recordedText?: string }> {
  const given = SHORT_FORM.find((key) => {
    const value = chosen[key];
    return value !== undefined && !(Array.isArray(value) && value.length === 0);
  });
  if (given !== undefined) {
    const [name] = RECIPE_OPTIONS[given].flags.split(" ");
    throw new InputError(`${name} and --recipe cannot be given together`, {
      kind: "options-disagree",
      why: "a recipe says all that itself",
      try: `write it into ${file}`,
    });
  }
  const { recipe, calibrationText } = await readRecipeFile(file);
  return { recipe, ...(calibrationText !== undefined && { recordedText: calibrationText }) };
}

/** Sizes are exact, time and memory are estimates. */
export interface Planned extends Forecast {
  readonly output: string;
  readonly bytesRead: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly tensors: readonly Omit<QuantizedTensor, "relativeMse">[];
}

/** The fields of Planned in JSON. */
export const PLANNED = {
  output: string("where the model would be written"),
  bytes: count("of tensor data"),
  bitsPerWeight: number("bits of tensor data for each number of the model"),
  bytesRead: count("tensor data of the input"),
  scratchBytes: count("kept beside the output until it is complete, besides the output itself"),
  estimatedSeconds: nullable(number("of arithmetic; null where only plan can tell, which tries the first layer")),
  estimatedPeakBytes: nullable(count("at least: this process and the arrays alive at once, garbage not counted")),
  tensors: list(tensorSchema),
};

export function plannedOf(plan: QuantizePlan, output: string, estimates: Forecast): Planned {
  const tensors = plan.tensors.map(({ name, shape, scheme }) => {
    return { name, shape, scheme: scheme.name, bytes: tensorBytes(scheme, shape) };
  });
  const bytes = tensors.reduce((sum, one) => sum + one.bytes, 0);
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const bytesRead = plan.checkpoint.tensors.reduce((sum, one) => sum + one.bytes, 0);
  return { output, bytesRead, bytes, bitsPerWeight: (8 * bytes) / weights, ...estimates, tensors };
}
