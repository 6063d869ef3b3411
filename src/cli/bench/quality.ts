import { availableParallelism } from "node:os";
import { basename, extname } from "node:path";
import { type AnyQualityRow, benchQuality, type QualityCase, qualityCase } from "../../bench/index.js";
import { schemes } from "../../formats/index.js";
import { type EncoderQualityRow, methods, type QualityRow } from "../../quantize/index.js";
import { interruptible } from "../interrupt.js";
import { DEMO_CALIBRATION, DEMO_TEXT, modelPath, readText } from "../model-path.js";
import { duration, percent, signed, significant } from "../numbers.js";
import { integer, names as namesOption, repeated, text } from "../option.js";
import { readRecipeFile } from "../recipe-file.js";
import { closed, count, interval, list, number, string } from "../schema.js";
import { checkKept, keepRow } from "./kept-rows.js";
import { type Machine, machineOf, machineSchema } from "./machine.js";
import { oneModel, verb } from "./verb.js";

interface Compared {
  readonly rows: readonly AnyQualityRow[];
  readonly machine: Machine;
}

const EXAMPLE = "bitloom bench quality demo --to q4_0,mxfp4 --method rtn --method awq+gptq";

const size = {
  ...{ model: string(), method: string(), scheme: string(), bytes: count("of the files that hold tensors") },
  ...{ bitsPerWeight: number(), seconds: number("of quantizing") },
};
const said = { windows: count("of calibration text, where that was said") };
const decoderRow = closed(
  {
    ...{ ...size, tokens: count("predicted"), perplexity: number(), top1Agreement: number() },
    deltaNll: number("nats per token more than the original, paired"),
    ci95: interval("95 % interval of deltaNll"),
    kl: number("divergence from the original, nats per token"),
    klCi95: interval("95 % interval of kl"),
  },
  said,
);
const encoderRow = closed(
  {
    ...{ ...size, texts: count("sentences compared"), worstCosine: number("of the sentence that turned most") },
    cosineError: number("mean of 1 - cosine with the original's vector of the sentence"),
    cosineErrorCi95: interval("95 % interval of cosineError"),
    top1Agreement: number("share of sentences whose nearest other is the same"),
    top1Ci95: interval("95 % interval of top1Agreement"),
    top10Overlap: number("mean share of the ten nearest that both find"),
    top10Ci95: interval("95 % interval of top10Overlap"),
  },
  said,
);

export const quality = verb({
  name: "quality",
  usage: "quality MODEL",
  description:
    "what every method costs under every scheme, in tokens that a decoder predicts or in vectors of sentences",
  example: EXAMPLE,
  options: {
    to: namesOption("--to <schemes>", "schemes, with commas between", schemes, ["q4_0", "mxfp4", "int3-g64"]),
    method: repeated(
      "--method <names>",
      "transform+method+compensation/activations, such as awq+gptq or rtn/int8-row",
      (given) => given,
    ),
    recipe: repeated("--recipe <file>", "a recipe as one more row, named after its file", (given) => given),
    text: text("--text <file>", "what is predicted, or made vectors of; default: the demo's held-out text"),
    tokens: integer("-n, --tokens <n>", "tokens that a decoder predicts", { min: 1, max: 2 ** 31, default: 8192 }),
    calibrate: text("--calibrate <file>", "text for calibration; default: bundled text"),
    windows: integer("--windows <n>", "windows of calibration text", { min: 1, max: 65536 }),
    keep: text("--keep <file>", "a JSON file whose other rows stay and whose rows measured again are replaced"),
  },
  threads: availableParallelism(),
  fields: {
    rows: list({ anyOf: [decoderRow, encoderRow] }),
    machine: machineSchema,
  },
  async run({ context: { progress, json, write }, backend }, names, chosen): Promise<Compared> {
    const name = oneModel(names, "quality", EXAMPLE);
    const methodNames = chosen.method.length > 0 ? chosen.method : chosen.recipe.length > 0 ? [] : methods.names;
    const cases = chosen.to.flatMap((scheme) => methodNames.map((method) => qualityCase(scheme, method)));
    for (const file of chosen.recipe) cases.push(await recipeCase(file));
    if (chosen.keep) checkKept(chosen.keep);
    const lines: Promise<void>[] = [];
    progress.start("measuring", cases.length);
    const rows = await interruptible(async (signal) =>
      benchQuality({
        ...{ backend, cases, signal, input: modelPath(name), name: basename(modelPath(name)) },
        text: await readText(chosen.text ?? DEMO_TEXT),
        calibrationText: await readText(chosen.calibrate ?? DEMO_CALIBRATION),
        ...{ windows: chosen.windows, tokens: chosen.tokens },
        onProgress: (done, _, what) => progress.update(done, what),
        onRow(row) {
          if (!json) lines.push(write(`${qualityRow(row)}\n`));
          if (chosen.keep) keepRow(chosen.keep, row);
        },
      }),
    );
    await Promise.all(lines);
    return { rows, machine: machineOf() };
  },
  render: () => "",
});

async function recipeCase(file: string): Promise<QualityCase> {
  const { recipe } = await readRecipeFile(file);
  const first = recipe.steps.find((step) => "quantize" in step);
  const cache = recipe.steps.find((step) => "cache" in step);
  const activations = recipe.steps.find((step) => "activations" in step);
  const scheme = first?.scheme ?? cache?.cache ?? activations?.scheme ?? "";
  return { scheme, method: basename(file, extname(file)), how: { recipe } };
}

function qualityRow(row: AnyQualityRow): string {
  const { scheme, method, bitsPerWeight, seconds } = row;
  const size = [scheme.padEnd(10), method.padEnd(16), `${bitsPerWeight.toFixed(3)} bits`];
  return [...size, ...("cosineError" in row ? vectorsText(row) : tokensText(row)), duration(seconds)].join("  ");
}

function tokensText({ perplexity, deltaNll, ci95, kl }: QualityRow): string[] {
  const between = ci95.map((end) => signed(end, 4)).join(" to ");
  return [
    `perplexity ${perplexity.toFixed(3)}`,
    `${signed(deltaNll, 5)} nats (${between})`,
    `KL ${significant(kl, 4)}`,
  ];
}

function vectorsText({ cosineError, cosineErrorCi95, top1Agreement }: EncoderQualityRow): string[] {
  const between = cosineErrorCi95.map((end) => end.toFixed(5)).join(" to ");
  return [`cosine error ${cosineError.toFixed(5)} (${between})`, `same nearest ${percent(top1Agreement)}`];
}
