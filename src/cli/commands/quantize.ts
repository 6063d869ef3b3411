import { InputError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import {
  methods,
  parseOverride,
  planQuantization,
  type QuantizeResult,
  quantizeModel,
  type Recipe,
  readRecipe,
  transforms,
} from "../../quantize/index.js";
import { type Context, command } from "../command.js";
import { ENGINE_OPTIONS } from "../engine.js";
import { type Forecast, forecast } from "../forecast.js";
import { interruptible } from "../interrupt.js";
import { DEMO_CALIBRATION, MODEL, modelPath, readText } from "../model-path.js";
import { byteSize, dimensions, duration, grouped, significant } from "../numbers.js";
import { flag, named, optionalName, readSetting, repeated, requiredText, text, type Values } from "../option.js";
import { boolean, closed, count, list, nullable, number, string, tensorSchema } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import { tensorBytes } from "../tensor-bytes.js";
import { printable, type Style } from "../terminal.js";

type Quantized = QuantizeResult & { readonly peakRssBytes: number };
/** What `--dry-run` finds: sizes are exact, time and memory are estimates, errors are not known without the work. */
interface Plan extends Forecast {
  readonly dryRun: true;
  readonly output: string;
  readonly bytesRead: number;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly tensors: readonly Omit<Quantized["tensors"][number], "relativeMse">[];
}

const output = closed(
  {
    output: string("where the model was written"),
    bytes: count("of the files that hold tensors; with --dry-run of the tensor data alone"),
    bitsPerWeight: number("bits of tensor data for each number of the model"),
    tensors: list(tensorSchema),
  },
  {
    seconds: number("not with --dry-run"),
    peakRssBytes: count("most memory that the process held; not with --dry-run"),
    dryRun: boolean("true: nothing was written"),
    bytesRead: count("tensor data of the input; only with --dry-run"),
    scratchBytes: count("kept beside the output until it is complete, besides the output itself; only with --dry-run"),
    estimatedSeconds: nullable(
      number("arithmetic of the method alone, from its speed on random numbers here; null with calibration"),
    ),
    estimatedPeakBytes: nullable(
      count("at least: this process and the largest tensor's arrays, garbage not counted; null with calibration"),
    ),
  },
);

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
  recipe: text("--recipe <file>", "all of this as JSON, in place of --to, --method, --set, --transform, --tensor-type"),
  calibrate: text("--calibrate <file>", "text for methods that look at activations (demo brings its own)"),
  imatrix: text("--imatrix <file>", "importance matrix in place of a text, for --method imatrix"),
  ...ENGINE_OPTIONS,
};

const options = {
  ...RECIPE_OPTIONS,
  dryRun: flag("--dry-run", "print what would be written, and write nothing"),
};
type Chosen = Values<typeof RECIPE_OPTIONS>;
type Settings = Omit<Parameters<typeof quantizeModel>[0], "onProgress" | "signal">;

/** What the flags ask for; an InputError if they contradict each other. */
export async function settingsOf(model: string, chosen: Chosen): Promise<Settings> {
  const { to: scheme, output: path, method, set, transform, tensorType: overrides, recipe: file } = chosen;
  if ((scheme === undefined) === (file === undefined)) {
    const kind = scheme === undefined ? "missing-argument" : "options-disagree";
    const why = scheme === undefined ? "neither is given" : "a recipe names its schemes itself";
    throw new InputError("either --to or --recipe must be given", { kind, why, try: "--to q4_0" });
  }
  const { calibrate = model === "demo" ? DEMO_CALIBRATION : undefined, threads, backend } = chosen;
  const calibrationText = calibrate === undefined ? undefined : () => readText(calibrate);
  const common = { input: modelPath(model), output: path, calibrationText, threads, backend, imatrix: chosen.imatrix };
  if (file !== undefined) return { ...common, recipe: await readRecipeFile(file) };
  return { ...common, scheme, method, methodOptions: Object.fromEntries(set), transforms: transform, overrides };
}

async function readRecipeFile(file: string): Promise<Recipe> {
  const content = await readText(file);
  try {
    return readRecipe(JSON.parse(content), file).json;
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new InputError("the recipe is not JSON", { kind: "wrong-recipe", where: file, why: cause.message, cause });
  }
}

async function planOf(settings: Settings): Promise<Plan> {
  const planned = await planQuantization(settings);
  await planned.checkpoint.close();
  const tensors = planned.tensors.map(({ name, shape, scheme }) => {
    return { name, shape, scheme: scheme.name, bytes: tensorBytes(scheme, shape) };
  });
  const bytes = tensors.reduce((sum, one) => sum + one.bytes, 0);
  const weights = tensors.reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
  const bytesRead = planned.checkpoint.tensors.reduce((sum, one) => sum + one.bytes, 0);
  const sizes = { bytesRead, bytes, bitsPerWeight: (8 * bytes) / weights };
  return { dryRun: true, output: settings.output, ...sizes, ...forecast(planned), tensors };
}

/** Quantizes with progress; interrupted, it leaves nothing behind. */
function quantizeWithProgress({ progress, emit }: Context, settings: Settings): Promise<QuantizeResult> {
  let started = false;
  return interruptible((signal) =>
    quantizeModel({
      ...settings,
      signal,
      onTensor: emit,
      onProgress({ name, doneWeights, totalWeights }) {
        if (!started) progress.start(`quantizing to ${settings.scheme ?? "recipe"}`, totalWeights);
        started = true;
        progress.update(doneWeights, name);
      },
    }),
  );
}

const estimateText = (value: number | null, text: (value: number) => string) =>
  value === null ? "not estimated for methods that look at activations" : text(value);

function render(result: Quantized | Plan, style: Style): string {
  const dry = "dryRun" in result;
  const rows = result.tensors.map((one) => [
    printable(one.name),
    dimensions(one.shape),
    one.scheme,
    grouped(one.bytes),
    ...("relativeMse" in one ? [one.relativeMse === 0 ? "exact" : significant(one.relativeMse as number, 3)] : []),
  ]);
  const columns = [left("tensor"), left("shape"), left("scheme"), right("bytes")];
  const list = table(dry ? columns : [...columns, right("relative MSE")], rows, style.bold);
  const size = `${grouped(result.bytes)} bytes (${byteSize(result.bytes)})`;
  const bits = `${result.bitsPerWeight.toFixed(3)} bits per weight`;
  const tail = dry
    ? pairs([
        ["would write", printable(result.output)],
        ["tensor data", `${size}, ${bits}, from ${grouped(result.bytesRead)} bytes`],
        ["scratch", `${grouped(result.scratchBytes)} bytes on disk until it is written`],
        ["time", estimateText(result.estimatedSeconds, (seconds) => `about ${duration(seconds)} of arithmetic`)],
        ["peak memory", estimateText(result.estimatedPeakBytes, (peak) => `at least ${byteSize(peak)}`)],
      ])
    : pairs([
        ["written", printable(result.output)],
        ["size", `${size}, ${bits}`],
        ["time", duration(result.seconds)],
        ["peak memory", byteSize(result.peakRssBytes)],
      ]);
  return `${list}\n${tail}`;
}

export const quantize = command({
  name: "quantize",
  summary: "write a model's weights in a low-precision scheme",
  description:
    "Matrices, embedding and head included, get the scheme; norms and biases stay as they are. The output appears " +
    "under its name only when it is complete, replacing a model that was there; the input is never touched.",
  arguments: [MODEL],
  options,
  examples: [
    "bitloom quantize demo --to q4_0 -o demo-q4_0.gguf",
    "bitloom quantize ./SmolLM2-135M --to mxfp4 -o smol-mxfp4.gguf --tensor-type 'embd=q8_0'",
    "bitloom quantize demo --to q4_0 --method gptq --set damping=0.02 -o demo-gptq.gguf",
    "bitloom quantize demo --to int3-g32 -o out/int3 --dry-run",
  ],
  output,
  parts: { name: "tensor", description: "a tensor is finished", output: tensorSchema },
  async run(context, [model], chosen): Promise<Quantized | Plan> {
    const settings = await settingsOf(model, chosen);
    if (chosen.dryRun) return planOf(settings);
    const result = await quantizeWithProgress(context, settings);
    return { ...result, peakRssBytes: 1024 * process.resourceUsage().maxRSS };
  },
  render,
});
