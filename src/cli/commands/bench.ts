import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus } from "node:os";
import { basename, extname } from "node:path";
import {
  benchDecode,
  benchKernels,
  benchQuality,
  type DecodeReport,
  type KernelReport,
  type KernelResult,
  type PlanRow,
  planModel,
  planScheme,
  processClock,
  type QualityCase,
  qualityCase,
} from "../../bench/index.js";
import { openCheckpoint } from "../../checkpoints/index.js";
import { InputError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { Backend } from "../../kernels/index.js";
import { methods, type QualityRow } from "../../quantize/index.js";
import { type Context, command } from "../command.js";
import {
  ACTIVATIONS,
  CACHE,
  ENGINE_OPTIONS,
  type Engine,
  EXACTNESS,
  engineOf,
  engineSchema,
  engineText,
  withBackend,
  withModel,
} from "../engine.js";
import { interruptible } from "../interrupt.js";
import { DEMO_CALIBRATION, DEMO_TEXT, modelPath, readText } from "../model-path.js";
import { byteSize, dimensions, duration, percent, signed, significant } from "../numbers.js";
import { choice, flag, integer, names, optionalName, repeated, text, type Values } from "../option.js";
import { readRecipeFile } from "../recipe.js";
import { boolean, closed, count, interval, list, number, string } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import type { Style } from "../terminal.js";

interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly platform: string;
  readonly arch: string;
  readonly engine: string;
}

const machineOf = (): Machine => ({
  ...{ cpu: cpus()[0]?.model ?? "unknown", cores: availableParallelism(), platform: process.platform },
  ...{ arch: process.arch, engine: `node ${process.version}` },
});

interface Timed extends KernelReport {
  readonly machine: Machine;
  readonly engine: Engine;
  readonly clock: string;
}
interface Decoded extends DecodeReport {
  readonly machine: Machine;
  readonly engine: Engine;
  readonly model: string;
  readonly activations: string;
}
interface Planned {
  readonly plans: readonly PlanRow[];
  readonly engine: Engine;
}
interface Compared {
  readonly rows: readonly QualityRow[];
  readonly machine: Machine;
  readonly engine: Engine;
}
type Result = Timed | Decoded | Planned | Compared;

const options = {
  only: text("--only <regex>", "kernels: the cases whose operation, scheme and shape match"),
  quick: flag("--quick", "kernels: small shapes alone"),
  clock: choice("--clock <which>", "kernels: whose time counts", ["wall", "process"], "wall"),
  scheme: optionalName("--scheme <name>", "plan: of this scheme in place of a model", schemes),
  shape: text("--shape <RxC>", "plan: outputs x inputs of the matrix (default: 2048x2048)"),
  prompt: integer("--prompt <n>", "decode: tokens of the prompt", { min: 1, default: 128 }),
  tokens: integer("-n, --tokens <n>", "decode: tokens to make; quality: tokens to predict", {
    ...{ min: 1, max: 2 ** 31, defaultText: "decode: 64; quality: 8192" },
  }),
  runs: integer("--runs <n>", "decode: measured runs, after one to warm up", { min: 1, default: 3 }),
  to: names("--to <schemes>", "quality: schemes, with commas between", schemes, ["q4_0", "mxfp4", "int3-g64"]),
  method: repeated(
    "--method <names>",
    "quality: transform+method+compensation/activations, such as awq+gptq or rtn/int8-row",
    (given) => given,
  ),
  recipe: repeated("--recipe <file>", "quality: a recipe as one more row, named after its file", (given) => given),
  text: text("--text <file>", "quality: what is predicted; default: the demo's held-out text"),
  calibrate: text("--calibrate <file>", "quality: text for calibration; default: bundled text"),
  windows: integer("--windows <n>", "quality: windows of calibration text", {
    min: 1,
    max: 65536,
    defaultText: "the recipe's",
  }),
  keep: text("--keep <file>", "quality: a JSON file whose other rows stay and whose rows measured again are replaced"),
  activations: ACTIVATIONS,
  cache: CACHE,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
  threads: integer("--threads <n>", "threads to compute with", {
    ...{ min: 1, max: 256, defaultText: "kernels, plan: 1; others: all cores" },
  }),
};
type Chosen = Values<typeof options>;

/** The text of a row as soon as it is measured: benchmarks take minutes. */
function kernelRow({ op, scheme, shape, medianMs, spread, gmacs, gbs, ratioToLimit, limit }: KernelResult): string {
  const cells = [op.padEnd(21), scheme.padEnd(10), shape.padEnd(18), `${significant(medianMs, 4).padStart(8)} ms`];
  const rates = [`+- ${percent(spread / 2, 0)}`.padEnd(9), `${significant(gmacs, 3)} GMAC/s`.padStart(13)];
  return [
    ...cells,
    ...rates,
    `${significant(gbs, 3)} GB/s`.padStart(11),
    `${percent(ratioToLimit, 0)} of ${limit}`,
  ].join("  ");
}

async function kernels({ json, write }: Context, chosen: Chosen, backend: Backend): Promise<Timed> {
  const lines: Promise<void>[] = [];
  const print = (line: string) => {
    if (!json) lines.push(write(`${line}\n`));
  };
  const machine = machineOf();
  const { only, quick, clock } = chosen;
  const report = benchKernels({
    ...{ backend, quick, clock: clock === "process" ? processClock : undefined },
    only: only === undefined ? undefined : regularExpression(only),
    onPeaks: ({ maddGflops, dotGmacs, readBandwidthGBs }) =>
      print(
        `${machine.cpu}, ${machine.engine}: ${significant(maddGflops, 3)} GFLOP/s of multiply-adds, ` +
          `${significant(dotGmacs, 3)} GMAC/s of byte products, ${significant(readBandwidthGBs, 3)} GB/s read`,
      ),
    onResult: (result) => print(kernelRow(result)),
  });
  await Promise.all(lines);
  return { ...report, machine, engine: engineOf(backend.info), clock };
}

async function quality(
  context: Context,
  files: readonly string[],
  chosen: Chosen,
  backend: Backend,
): Promise<Compared> {
  const [name] = exactly(1, files, "quality", "bitloom bench quality demo --method rtn --method gptq");
  const { progress, json, write } = context;
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
      ...{ windows: chosen.windows, tokens: chosen.tokens ?? 8192 },
      onProgress: (done, _, what) => progress.update(done, what),
      onRow(row) {
        if (!json) lines.push(write(`${qualityRow(row)}\n`));
        if (chosen.keep) keepRows(chosen.keep, [row]);
      },
    }),
  );
  await Promise.all(lines);
  return { rows, machine: machineOf(), engine: engineOf(backend.info) };
}

async function recipeCase(file: string): Promise<QualityCase> {
  const recipe = await readRecipeFile(file);
  const first = recipe.steps.find((step) => "quantize" in step);
  const cache = recipe.steps.find((step) => "cache" in step);
  return { scheme: first?.scheme ?? cache?.cache ?? "", method: basename(file, extname(file)), how: { recipe } };
}

function qualityRow({ scheme, method, bitsPerWeight, perplexity, deltaNll, ci95, kl, seconds }: QualityRow): string {
  const interval = ci95.map((end) => signed(end, 4)).join(" to ");
  return [
    ...[
      scheme.padEnd(10),
      method.padEnd(16),
      `${bitsPerWeight.toFixed(3)} bits`,
      `perplexity ${perplexity.toFixed(3)}`,
    ],
    ...[`${signed(deltaNll, 5)} nats (${interval})`, `KL ${significant(kl, 4)}`, duration(seconds)],
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

function regularExpression(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`--only does not take "${pattern}"`, { kind: "value-out-of-range", why, cause });
  }
}

async function decode(names: readonly string[], chosen: Chosen, backend: Backend): Promise<Decoded> {
  const [name] = exactly(1, names, "decode", "bitloom bench decode demo");
  const { prompt, tokens = 64, runs, activations } = chosen;
  const report = await withModel(
    backend,
    name,
    async (model) => benchDecode(model, { prompt, tokens, runs }),
    activations,
    chosen.cache,
  );
  return { model: name, activations, ...report, machine: machineOf(), engine: engineOf(backend.info) };
}

async function plan(names: readonly string[], chosen: Chosen, backend: Backend): Promise<Planned> {
  const { scheme, activations } = chosen;
  const engine = engineOf(backend.info);
  if (scheme !== undefined) {
    exactly(0, names, "plan --scheme", "bitloom bench plan --scheme q4_0");
    const [rows, columns] = shapeOf(chosen.shape ?? "2048x2048");
    return { plans: [planScheme(backend, scheme, rows, columns, activations)], engine };
  }
  const [name] = exactly(1, names, "plan", "bitloom bench plan demo");
  const checkpoint = await openCheckpoint(modelPath(name));
  try {
    return { plans: await planModel(backend, checkpoint, activations), engine };
  } finally {
    await checkpoint.close();
  }
}

function exactly(wanted: number, names: readonly string[], verb: string, example: string): readonly string[] {
  if (names.length === wanted) return names;
  throw new InputError(`bench ${verb} takes ${wanted === 0 ? "no model" : "one model"}, got ${names.length}`, {
    kind: names.length < wanted ? "missing-argument" : undefined,
    try: example,
  });
}

function shapeOf(given: string): readonly [number, number] {
  const found = /^(\d+)x(\d+)$/.exec(given);
  if (found && Number(found[1]) > 0 && Number(found[2]) > 0) return [Number(found[1]), Number(found[2])];
  throw new InputError(`--shape does not take "${given}"`, {
    kind: "value-out-of-range",
    why: "wanted outputs x inputs, such as 2048x2048",
  });
}

function renderDecoded(found: Decoded): string {
  const { perToken, engine } = found;
  return pairs([
    ["model", `${found.model}, ${found.activations} activations`],
    ["prompt", `${significant(found.promptTokensPerSecond, 4)} tokens per second, ${found.promptTokens} tokens`],
    ["generation", `${significant(found.tokensPerSecond, 4)} tokens per second, ${found.generatedTokens} tokens`],
    ["one token", `${significant(perToken.medianMs, 3)} ms, best ${significant(perToken.bestMs, 3)}`],
    ["reads", `${byteSize(found.bytesPerToken)} a token, ${significant(found.gbs, 3)} GB/s`],
    [
      "memory",
      `${percent(found.shareOfReadBandwidth, 0)} of the ${significant(found.readBandwidthGBs, 3)} GB/s of one thread`,
    ],
    ["engine", engineText(engine)],
    ...engine.fallbacks.map((fallback) => ["", fallback] as const),
  ]);
}

const renderPlanned = ({ plans }: Planned, style: Style): string =>
  table(
    [left("weight"), right("count"), left("scheme"), right("shape"), right("bits held"), left("plan")],
    plans.map((row) => [
      ...[row.role, String(row.count), row.scheme, dimensions(row.shape), row.bitsPerWeight.toFixed(2), row.plan],
    ]),
    style.bold,
  );

const times = { medianMs: number(), bestMs: number(), spread: number("distance of the quartiles / median") };
const machineSchema = closed({
  ...{ cpu: string(), cores: count(), platform: string(), arch: string(), engine: string() },
});

export const bench = command({
  name: "bench",
  summary: "measure kernels and decoding; explain plans",
  description:
    "kernels: every operation beside limits of this machine measured in the same process. decode MODEL: tokens per second " +
    "of prompt and generation, and the share of the memory's read bandwidth. plan MODEL, or plan --scheme NAME: how each " +
    "weight is held and multiplied, and why. quality MODEL: what every method costs under every scheme.",
  arguments: [{ name: "WHAT", description: "kernels, decode MODEL, plan MODEL, or quality MODEL", count: "any" }],
  options,
  examples: [
    'bitloom bench kernels --only "gemv int8"',
    "bitloom bench decode demo --activations int8",
    "bitloom bench plan --scheme nvfp4 --shape 2048x576",
    "bitloom bench quality demo --to q4_0,mxfp4 --method rtn --method awq+gptq",
  ],
  output: closed(
    { engine: engineSchema },
    {
      machine: machineSchema,
      features: closed({
        ...{ simd: boolean(), relaxedSimd: boolean(), threads: boolean(), multiMemory: boolean(), memory64: boolean() },
        relaxedDot: string("what it makes of a second operand beyond 7 bits"),
      }),
      peaks: closed({ readBandwidthGBs: number("of one thread"), maddGflops: number(), dotGmacs: number() }),
      clock: string("wall or process"),
      results: list(
        closed({
          ...{ op: string(), scheme: string(), shape: string(), threads: count(), ...times },
          gmacs: number("10^9 multiply-accumulates a second, of the best call"),
          gbs: number("10^9 bytes read a second, of the best call"),
          limit: string("what binds the case: madd, dot or read"),
          ...{ ratioToLimit: number(), engine: string() },
        }),
      ),
      ...{ model: string(), activations: string(), promptTokens: count(), generatedTokens: count() },
      ...{ promptTokensPerSecond: number(), tokensPerSecond: number(), perToken: closed(times) },
      ...{ bytesPerToken: number(), gbs: number(), readBandwidthGBs: number(), shareOfReadBandwidth: number() },
      rows: list(
        closed({
          ...{ model: string(), method: string(), scheme: string(), bytes: count("of the files that hold tensors") },
          ...{ bitsPerWeight: number(), tokens: count("predicted"), perplexity: number() },
          deltaNll: number("nats per token more than the original, paired"),
          ci95: interval("95 % interval of deltaNll"),
          kl: number("divergence from the original, nats per token"),
          klCi95: interval("95 % interval of kl"),
          ...{ top1Agreement: number(), seconds: number("of quantizing") },
        }),
      ),
      plans: list(
        closed({
          ...{ role: string(), count: count(), scheme: string(), shape: list(count()) },
          ...{ bytes: count("held for one"), bitsPerWeight: number(), plan: string() },
        }),
      ),
    },
  ),
  async run(context, [what, ...names], chosen): Promise<Result> {
    const verbs = { kernels, decode, plan, quality };
    const { backend } = chosen;
    const withEngine = (initial: number, work: (made: Backend) => Promise<Result>) =>
      withBackend(
        { backend, threads: chosen.threads ?? initial, exactness: chosen.exactness },
        work,
        ...(what === "decode" ? names : []),
      );
    if (what === "kernels") {
      exactly(0, names, "kernels", 'bitloom bench kernels --only "gemv"');
      return withEngine(1, (made) => verbs.kernels(context, chosen, made));
    }
    if (what === "decode") return withEngine(availableParallelism(), (made) => verbs.decode(names, chosen, made));
    if (what === "quality") {
      return withEngine(availableParallelism(), (made) => verbs.quality(context, names, chosen, made));
    }
    if (what === "plan") return withEngine(1, (made) => verbs.plan(names, chosen, made));
    throw new InputError(what === undefined ? "bench needs to know what" : `bench does not know "${what}"`, {
      kind: what === undefined ? "missing-argument" : "unknown-name",
      why: "wanted kernels, decode, plan or quality",
      try: "bitloom bench decode demo",
    });
  },
  render(result, style) {
    if ("plans" in result) return renderPlanned(result, style);
    if ("rows" in result) return "";
    return "results" in result ? "" : renderDecoded(result);
  },
});
