import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, extname } from "node:path";
import { benchQuality, type QualityCase, qualityCase } from "../../bench/index.js";
import { schemes } from "../../formats/index.js";
import { methods, type QualityRow } from "../../quantize/index.js";
import { interruptible } from "../interrupt.js";
import { DEMO_CALIBRATION, DEMO_TEXT, modelPath, readText } from "../model-path.js";
import { duration, signed, significant } from "../numbers.js";
import { integer, names as namesOption, repeated, text } from "../option.js";
import { readRecipeFile } from "../recipe.js";
import { closed, count, interval, list, number, string } from "../schema.js";
import { type Machine, machineOf, machineSchema } from "./machine.js";
import { oneModel, verb } from "./verb.js";

interface Compared {
  readonly rows: readonly QualityRow[];
  readonly machine: Machine;
}

const EXAMPLE = "bitloom bench quality demo --to q4_0,mxfp4 --method rtn --method awq+gptq";

export const quality = verb({
  name: "quality",
  usage: "quality MODEL",
  description: "what every method costs under every scheme",
  example: EXAMPLE,
  options: {
    to: namesOption("--to <schemes>", "schemes, with commas between", schemes, ["q4_0", "mxfp4", "int3-g64"]),
    method: repeated(
      "--method <names>",
      "transform+method+compensation/activations, such as awq+gptq or rtn/int8-row",
      (given) => given,
    ),
    recipe: repeated("--recipe <file>", "a recipe as one more row, named after its file", (given) => given),
    text: text("--text <file>", "what is predicted; default: the demo's held-out text"),
    tokens: integer("-n, --tokens <n>", "tokens to predict", { min: 1, max: 2 ** 31, default: 8192 }),
    calibrate: text("--calibrate <file>", "text for calibration; default: bundled text"),
    windows: integer("--windows <n>", "windows of calibration text", { min: 1, max: 65536 }),
    keep: text("--keep <file>", "a JSON file whose other rows stay and whose rows measured again are replaced"),
  },
  threads: availableParallelism(),
  fields: {
    rows: list(
      closed(
        {
          ...{ model: string(), method: string(), scheme: string(), bytes: count("of the files that hold tensors") },
          ...{ bitsPerWeight: number(), tokens: count("predicted"), perplexity: number() },
          deltaNll: number("nats per token more than the original, paired"),
          ci95: interval("95 % interval of deltaNll"),
          kl: number("divergence from the original, nats per token"),
          klCi95: interval("95 % interval of kl"),
          ...{ top1Agreement: number(), seconds: number("of quantizing") },
        },
        { windows: count("of calibration text, where that was said") },
      ),
    ),
    machine: machineSchema,
  },
  async run({ context: { progress, json, write }, backend }, names, chosen): Promise<Compared> {
    const name = oneModel(names, "quality", EXAMPLE);
    const methodNames = chosen.method.length > 0 ? chosen.method : chosen.recipe.length > 0 ? [] : methods.names;
    const cases = chosen.to.flatMap((scheme) => methodNames.map((method) => qualityCase(scheme, method)));
    for (const file of chosen.recipe) cases.push(await recipeCase(file));
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
          if (chosen.keep) keepRows(chosen.keep, [row]);
        },
      }),
    );
    await Promise.all(lines);
    return { rows, machine: machineOf() };
  },
  render: () => "",
});

async function recipeCase(file: string): Promise<QualityCase> {
  const recipe = await readRecipeFile(file);
  const first = recipe.steps.find((step) => "quantize" in step);
  const cache = recipe.steps.find((step) => "cache" in step);
  return { scheme: first?.scheme ?? cache?.cache ?? "", method: basename(file, extname(file)), how: { recipe } };
}

function qualityRow({ scheme, method, bitsPerWeight, perplexity, deltaNll, ci95, kl, seconds }: QualityRow): string {
  const between = ci95.map((end) => signed(end, 4)).join(" to ");
  return [
    ...[
      scheme.padEnd(10),
      method.padEnd(16),
      `${bitsPerWeight.toFixed(3)} bits`,
      `perplexity ${perplexity.toFixed(3)}`,
    ],
    ...[`${signed(deltaNll, 5)} nats (${between})`, `KL ${significant(kl, 4)}`, duration(seconds)],
  ].join("  ");
}

/** Rows of other models, schemes and methods that stand in the file stay. */
function keepRows(file: string, rows: readonly QualityRow[]): void {
  const before = existsSync(file) ? (JSON.parse(readFileSync(file, "utf8")) as { rows: QualityRow[] }).rows : [];
  const keyOf = ({ model, scheme, method }: QualityRow) => `${model} ${scheme} ${method}`;
  const now = new Set(rows.map(keyOf));
  const all = [...before.filter((row) => !now.has(keyOf(row))), ...rows];
  writeFileSync(file, `${JSON.stringify({ rows: all }, null, 2)}\n`);
}
