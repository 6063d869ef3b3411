import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { FileError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import { command } from "../command.js";
import { type Comparison, compareSchemes } from "../comparison.js";
import { ENGINE_OPTIONS, type Engine, engineOf, engineSchema, engineText, withBackend } from "../engine.js";
import { DEMO_FOLDER, DEMO_TEXT, readText } from "../model-path.js";
import { duration, grouped, percent, signed, significant } from "../numbers.js";
import { integer, names, textOr } from "../option.js";
import { reportPage, verdict } from "../report/page.js";
import { writeWhole } from "../report/write.js";
import { closed, count, interval, list, number, schemaName, string, tensorSchema } from "../schema.js";
import { left, right, table } from "../table.js";
import { printable, type Style } from "../terminal.js";

interface DemoResult extends Comparison {
  readonly model: string;
  readonly text: string;
  readonly window: number;
  readonly prompt: string;
  readonly engine: Engine;
  readonly seconds: number;
  readonly report: string;
}

const measured = {
  scheme: string(),
  bytes: count("of the files that hold tensors"),
  bitsPerWeight: number("counted from the file"),
  perplexity: number("on the held-out text"),
  nll: number("nats per token"),
  tokensPerSecond: number("while evaluating"),
  sample: string("what the model writes after the prompt"),
};
const output = closed({
  model: string(),
  text: string("what was predicted"),
  tokens: count("predicted"),
  window: count("length of a window in tokens"),
  prompt: string("what the samples continue"),
  original: closed(measured),
  rows: list(
    closed({
      ...measured,
      kind: string("of the element format"),
      output: string("path of the quantized model"),
      deltaNll: number("nll minus the original's, paired"),
      deltaNllCi95: interval("95 % interval of deltaNll"),
      kl: number("divergence from the original, nats per token"),
      klCi95: interval("95 % interval of kl"),
      top1Agreement: number("share of tokens where both find the same token most likely"),
      quantizeSeconds: number(),
      tensors: list(tensorSchema),
    }),
    "one for each scheme",
  ),
  engine: engineSchema,
  seconds: number("for everything"),
  report: string("path of the report"),
});

const SCHEMES = [
  "q8_0",
  "mxfp8",
  "q5_1",
  "q5_0",
  "q4_1",
  "q4_0",
  "nvfp4",
  "mxfp4",
  "int4-g32-asym",
  "int3-g32",
  "int2-g32-asym",
];
const WINDOW = 512;
const PROMPT = "The whale";

function factsOf(result: DemoResult): (readonly [string, string])[] {
  const { original } = result;
  return [
    ["model", `${result.model}, ${grouped(original.bytes)} bytes as ${original.scheme}`],
    ["text", `${result.text}, ${grouped(result.tokens)} tokens in windows of ${result.window}`],
    ["differences", "paired token by token; 95 % intervals from means over blocks of 64 tokens"],
    ["bits per weight", "tensor data counted from the file, scales and offsets included"],
    ["tokens per second", "while evaluating, in batches"],
    ["engine", [`${engineText(result.engine)}, Node ${process.version}`, ...result.engine.fallbacks].join("; ")],
  ];
}

const TITLES = [
  "scheme",
  "file bytes",
  "bits/weight",
  "perplexity",
  "nats/token",
  "95 % interval",
  "KL",
  "top-1",
  "tokens/s",
];

function comparisonTable({ original, rows }: Comparison, style: Style): string {
  const columns = TITLES.map((title, i) => (i === 0 ? left(title) : right(title)));
  const own = ({ scheme, bytes, bitsPerWeight, perplexity }: Comparison["original"]) => [
    scheme,
    grouped(bytes),
    bitsPerWeight.toFixed(3),
    perplexity.toFixed(3),
  ];
  const lines = rows.map((row) => [
    ...own(row),
    signed(row.deltaNll, 4),
    row.deltaNllCi95.map((bound) => signed(bound, 4)).join(" "),
    significant(row.kl, 3),
    percent(row.top1Agreement, 1),
    grouped(row.tokensPerSecond),
  ]);
  const first = [...own(original), "", "", "", "", grouped(original.tokensPerSecond)];
  return table(columns, [first, ...lines], style.bold);
}

function render(result: DemoResult, style: Style): string {
  const about = `${grouped(result.tokens)} tokens of held-out text; differences in nats per token, paired with ${result.original.scheme}.`;
  return [
    comparisonTable(result, style),
    `${about}\n${engineText(result.engine)}; ${duration(result.seconds)} in all.`,
    verdict(result),
    `${style.bold("report")}  ${printable(result.report)}\n`,
  ]
    .join("\n\n")
    .replace("\n\n\n", "\n\n");
}

export const demo = command({
  name: "demo",
  summary: "quantize the bundled model to many schemes and compare",
  description:
    "Writes the quantized models, report.html and report.json into a folder. The bundled model is a small Llama trained " +
    "for this project on public-domain text; the text it is measured on was kept out of its training.",
  arguments: [],
  options: {
    to: names("--to <schemes>", "schemes to compare, with commas between", schemes, SCHEMES),
    tokens: integer("--tokens <n>", "tokens of the held-out text to predict", { min: 128, default: 4096 }),
    output: textOr("-o, --output <folder>", "folder for models and report", "out"),
    ...ENGINE_OPTIONS,
  },
  examples: ["bitloom demo", "bitloom demo --to q4_0,mxfp4,int4-g64 -o compared", "bitloom demo --json"],
  output,
  async run(context, _none, { to, tokens, output: folder, ...engine }): Promise<DemoResult> {
    if (!existsSync(DEMO_FOLDER)) {
      throw new FileError("the demo model is missing", {
        kind: "missing-file",
        where: DEMO_FOLDER,
        try: "install bitloom again",
      });
    }
    const begin = performance.now();
    await mkdir(folder, { recursive: true });
    const text = await readText(DEMO_TEXT);
    return withBackend(engine, async (backend) => {
      const settings = { input: DEMO_FOLDER, schemes: to, folder, text, window: WINDOW, tokens, prompt: PROMPT };
      const comparison = await compareSchemes(context, backend, settings);
      const result: DemoResult = {
        model: "demo",
        text: "demo/held-out.txt",
        window: WINDOW,
        prompt: PROMPT,
        ...comparison,
        engine: engineOf(backend.info),
        seconds: (performance.now() - begin) / 1000,
        report: join(folder, "report.html"),
      };
      const title = `The demo model in ${to.length} scheme${to.length === 1 ? "" : "s"}`;
      await writeWhole(result.report, reportPage({ title, facts: factsOf(result), ...result }));
      const document = { schema: schemaName("demo"), ...result };
      await writeWhole(join(folder, "report.json"), `${JSON.stringify(document, null, 2)}\n`);
      return result;
    });
  },
  render,
});
