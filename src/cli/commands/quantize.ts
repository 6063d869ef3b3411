import {
  type ExplainedPlan,
  explainPlan,
  type KeptParts,
  planQuantization,
  type QuantizeOptions,
  type QuantizeResult,
  quantizeModel,
} from "../../quantize/index.js";
import { type Context, command } from "../command.js";
import { Unfinished } from "../failure.js";
import { forecast } from "../forecast.js";
import { interruptible } from "../interrupt.js";
import { MODEL } from "../model-path.js";
import { byteSize, dimensions, duration, grouped, significant } from "../numbers.js";
import { flag, text } from "../option.js";
import { PLANNED, type Planned, plannedOf, RECIPE_OPTIONS, type Settings, settingsOf } from "../recipe.js";
import { readRecipeFile } from "../recipe-file.js";
import { EXPLAINED, explanationText } from "../recipe-text.js";
import { quantizePage } from "../report/quantize-page.js";
import { checkWhole, writeWhole } from "../report/write.js";
import { boolean, closed, count, list, number, string, tensorSchema } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import { printable, type Style } from "../terminal.js";

type Quantized = QuantizeResult & { readonly peakRssBytes: number; readonly otherText?: true };
/** What `--dry-run` and `--explain` find. */
interface Plan extends Planned, Partial<ExplainedPlan> {
  readonly dryRun: true;
}

const { bytesRead, scratchBytes, estimatedSeconds, estimatedPeakBytes } = PLANNED;
const output = closed(
  {
    output: string("where the model was written"),
    bytes: count("of the files that hold tensors; with --dry-run of the tensor data alone"),
    bitsPerWeight: number("bits of tensor data for each number of the model"),
    tensors: list(tensorSchema),
  },
  {
    seconds: number("not with --dry-run"),
    otherText: boolean("true: calibrated with another text than the model whose recipe was taken; else not there"),
    takenUp: count("parts (layers, embedding, head) that earlier runs had finished; with calibration only"),
    peakRssBytes: count("most memory that the process held; not with --dry-run"),
    dryRun: boolean("true: nothing was written, and what follows is there"),
    bytesRead,
    scratchBytes,
    estimatedSeconds,
    estimatedPeakBytes,
    ...EXPLAINED,
  },
);

const options = {
  ...RECIPE_OPTIONS,
  report: text("--report <file>", "also write what became of every tensor as a page of HTML"),
  dryRun: flag("--dry-run", "print what would be written, and write nothing"),
  explain: flag("--explain", "say which step would do what to which tensors and why, and write nothing"),
};
async function planOf(settings: Settings, explain: boolean): Promise<Plan> {
  const plan = await planQuantization(settings);
  await plan.checkpoint.close();
  const planned = plannedOf(plan, settings.output, forecast(plan, settings.threads));
  return { dryRun: true, ...planned, ...(explain && explainPlan(plan)) };
}

/** Quantizes with progress; interrupted, it leaves nothing behind but finished parts of a calibrated run, and says so. */
async function quantizeWithProgress(
  context: Context,
  { recordedText, ...settings }: Settings,
): Promise<QuantizeResult & { readonly otherText?: true }> {
  let kept: KeptParts | undefined;
  let otherText: true | undefined;
  const onCalibrationText = (hash: string) => {
    if (recordedText === undefined || recordedText === hash) return;
    otherText = true;
    context.note(`${OTHER_TEXT}\n`);
  };
  const onKept = (parts: KeptParts) => {
    kept = parts;
  };
  try {
    const result = await interruptible((signal) =>
      quantizeModel({ ...settings, ...listeners(context, settings), onCalibrationText, onKept, signal }),
    );
    return { ...result, ...(otherText && { otherText }) };
  } catch (error) {
    throw kept ? new Unfinished(error, keptText(kept)) : error;
  }
}

const OTHER_TEXT = "calibrating with another text than the model whose recipe this is: other bytes will come out";

const keptText = ({ folder, parts }: KeptParts) =>
  `${parts} finished ${parts === 1 ? "part" : "parts"} in ${folder}: the same command goes on from there; delete the folder if you will not run it again`;

/** What is shown while it runs. */
function listeners({ progress, emit, note }: Context, settings: Settings): Partial<QuantizeOptions> {
  let started = false;
  return {
    onTensor: emit,
    onPlan(plan) {
      const { bytes, bitsPerWeight, scratchBytes, tensors } = plannedOf(
        plan,
        settings.output,
        forecast(plan, settings.threads),
      );
      const size = `${tensors.length} tensors, ${byteSize(bytes)}, ${bitsPerWeight.toFixed(3)} bits per weight`;
      const { windows, window } = plan.recipe.calibration;
      const calibration = plan.calibrated
        ? `; ${windows} windows of ${window} tokens, ${byteSize(scratchBytes)} of scratch`
        : "";
      note(`${size}${calibration}\n`);
    },
    onParts(present, total) {
      if (present > 0) note(`${present} of ${total} parts were finished by an earlier run\n`);
    },
    onRehearsal: ({ unit }) => note(`${unit} was written, read again and run\n`),
    onProgress({ name, doneWeights, totalWeights }) {
      if (!started) progress.start(`quantizing to ${settings.scheme ?? "recipe"}`, totalWeights);
      started = true;
      progress.update(doneWeights, name);
    },
  };
}

const estimateText = (value: number | null, text: (value: number) => string) =>
  value === null ? "bitloom plan tells, it tries the first layer" : text(value);

function render(result: Quantized | Plan, style: Style): string {
  if ("steps" in result && result.steps && result.kept) {
    return explanationText({ steps: result.steps, kept: result.kept }, style);
  }
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
        ...(result.otherText ? [["text", "another than that of the model whose recipe this is"] as const] : []),
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
    if (chosen.dryRun || chosen.explain) return planOf(settings, chosen.explain);
    if (chosen.report) await checkWhole(chosen.report);
    const result = await quantizeWithProgress(context, settings);
    const quantized = { ...result, peakRssBytes: 1024 * process.resourceUsage().maxRSS };
    if (chosen.report)
      await writeWhole(
        chosen.report,
        quantizePage({ input: model, ...(await readRecipeFile(settings.output)), ...quantized }),
      );
    return quantized;
  },
  render,
});
