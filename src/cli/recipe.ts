/** What quantize and plan share: the flags that stand for a recipe, and what is known of the result before the work. */
import { InputError } from "../errors.js";
import { schemes } from "../formats/index.js";
import {
  activationMethods,
  compensations,
  type ExplainedPlan,
  methods,
  parseOverride,
  type QuantizedTensor,
  type QuantizePlan,
  type quantizeModel,
  type Recipe,
  readRecipe,
  transforms,
} from "../quantize/index.js";
import { ENGINE_OPTIONS } from "./engine.js";
import type { Forecast } from "./forecast.js";
import { DEMO_CALIBRATION, modelPath, readText } from "./model-path.js";
import { named, optionalName, readSetting, repeated, requiredText, text, type Values } from "./option.js";
import { anything, closed, count, list, nullable, number, string, tensorSchema } from "./schema.js";
import { tensorBytes } from "./tensor-bytes.js";
import { printable, type Style } from "./terminal.js";

/** What says how a model is to be quantized. */
export const RECIPE_OPTIONS = {
  to: optionalName("--to <scheme>", "scheme of the weights (bitloom schemes lists them)", schemes),
  output: requiredText("-o, --output <path>", "a name ending in .gguf, or a folder for safetensors"),
  tensorType: repeated("--tensor-type <pattern=scheme>", "another scheme for tensors whose name fits", parseOverride),
  method: named("--method <name>", `how codes are chosen: ${methods.names.join(", ")}`, methods, "rtn"),
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
  recipe: text("--recipe <file>", "all of this as JSON, in place of the options above"),
  calibrate: text(
    "--calibrate <file>",
    "text or conversations (JSON lines) for methods that look at activations; default: bundled text",
  ),
  imatrix: text("--imatrix <file>", "importance matrix in place of a text, for --method imatrix"),
  ...ENGINE_OPTIONS,
};

type Chosen = Values<typeof RECIPE_OPTIONS>;
export type Settings = Omit<Parameters<typeof quantizeModel>[0], "onProgress" | "signal">;

/** What the flags ask for; an InputError if they contradict each other. */
export async function settingsOf(model: string, chosen: Chosen): Promise<Settings> {
  const { to: scheme, output: path, method, set, transform, tensorType: overrides, recipe: file } = chosen;
  if ((scheme === undefined) === (file === undefined)) {
    const kind = scheme === undefined ? "missing-argument" : "options-disagree";
    const why = scheme === undefined ? "neither is given" : "a recipe names its schemes itself";
    throw new InputError("either --to or --recipe must be given", { kind, why, try: "--to q4_0" });
  }
  const { calibrate = DEMO_CALIBRATION, threads, backend } = chosen;
  const calibrationText = () => readText(calibrate);
  const common = { input: modelPath(model), output: path, calibrationText, threads, backend, imatrix: chosen.imatrix };
  if (file !== undefined) return { ...common, recipe: await readRecipeFile(file) };
  const { activations, compensate: compensation } = chosen;
  const rest = { methodOptions: Object.fromEntries(set), transforms: transform, overrides, activations, compensation };
  return { ...common, scheme, method, ...rest };
}

/** The recipe in a file; an InputError names what is wrong with it. */
export async function readRecipeFile(file: string): Promise<Recipe> {
  const content = await readText(file);
  try {
    return readRecipe(JSON.parse(content), file).json;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new InputError("the recipe is not JSON", { kind: "wrong-recipe", where: file, why: cause.message, cause });
  }
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

/** The fields of ExplainedPlan in JSON. */
export const EXPLAINED = {
  steps: list(
    closed({
      step: count("place in the recipe, from 1"),
      summary: string(),
      source: string("paper or code"),
      json: anything("the step with all its defaults"),
      needs: string("what must be known of the activations"),
      tensors: list(string(), "names in the output"),
      why: string("why those"),
    }),
  ),
  kept: list(string(), "tensors that stay as they are"),
};

const FEW = 3;
const namesText = (names: readonly string[]) =>
  names.length === 0
    ? "no tensor"
    : `${names.length} tensor${names.length > 1 ? "s" : ""}: ${names.slice(0, FEW).map(printable).join(", ")}${names.length > FEW ? ", ..." : ""}`;

/** Steps in words. */
export function explanationText({ steps, kept }: ExplainedPlan, style: Style): string {
  const blocks = steps.map(({ step, summary, source, json, needs, tensors, why }) => {
    const head = Object.entries(json).filter(([key]) => key !== "tensors" && key !== "options");
    const title = head.map(([key, value]) => `${key} ${value}`);
    const settings = Object.entries(("options" in json && json.options) || {}).map(([key, value]) => `${key}=${value}`);
    return [
      `${style.bold(`step ${step}: ${title.join(", ")}`)}  ${summary}`,
      ...(settings.length > 0 ? [`  with ${settings.join(" ")}`] : []),
      `  on ${namesText(tensors)}`,
      `  because ${why}`,
      `  needs ${needs === "nothing" ? needs : `${needs} of the activations`}; after ${source}`,
    ].join("\n");
  });
  const rest = kept.length > 0 ? [`${style.bold("kept as they are")}  ${namesText(kept)}`] : [];
  return `${[...blocks, ...rest].join("\n\n")}\n`;
}
