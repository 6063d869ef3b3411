import { availableParallelism, cpus } from "node:os";
import {
  benchDecode,
  benchKernels,
  type DecodeReport,
  type KernelReport,
  type KernelResult,
  type PlanRow,
  planModel,
  planScheme,
  processClock,
} from "../../bench/index.js";
import { openCheckpoint } from "../../checkpoints/index.js";
import { InputError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { Backend } from "../../kernels/index.js";
import { type Context, command } from "../command.js";
import {
  ACTIVATIONS,
  ENGINE_OPTIONS,
  type Engine,
  EXACTNESS,
  engineOf,
  engineSchema,
  engineText,
  withBackend,
  withModel,
} from "../engine.js";
import { modelPath } from "../model-path.js";
import { byteSize, dimensions, percent, significant } from "../numbers.js";
import { choice, flag, integer, optionalName, text, type Values } from "../option.js";
import { boolean, closed, count, list, number, string } from "../schema.js";
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
type Result = Timed | Decoded | Planned;

const options = {
  only: text("--only <regex>", "kernels: the cases whose operation, scheme and shape match"),
  quick: flag("--quick", "kernels: small shapes alone"),
  clock: choice("--clock <which>", "kernels: whose time counts", ["wall", "process"], "wall"),
  scheme: optionalName("--scheme <name>", "plan: of this scheme in place of a model", schemes),
  shape: text("--shape <RxC>", "plan: outputs x inputs of the matrix (default: 2048x2048)"),
  prompt: integer("--prompt <n>", "decode: tokens of the prompt", { min: 1, default: 128 }),
  tokens: integer("-n, --tokens <n>", "decode: tokens to make", { min: 1, default: 64 }),
  runs: integer("--runs <n>", "decode: measured runs, after one to warm up", { min: 1, default: 3 }),
  activations: ACTIVATIONS,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
  threads: integer("--threads <n>", "threads to compute with", {
    ...{ min: 1, max: 256, defaultText: "kernels: 1; decode: all cores" },
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
  const { prompt, tokens, runs, activations } = chosen;
  const report = await withModel(
    backend,
    name,
    async (model) => benchDecode(model, { prompt, tokens, runs }),
    activations,
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
    "weight is held and multiplied, and why.",
  arguments: [{ name: "WHAT", description: "kernels, decode MODEL, or plan MODEL", count: "any" }],
  options,
  examples: [
    'bitloom bench kernels --only "gemv int8"',
    "bitloom bench decode demo --activations int8",
    "bitloom bench plan --scheme nvfp4 --shape 2048x576",
  ],
  output: closed(
    { engine: engineSchema },
    {
      machine: machineSchema,
      features: closed({
        ...{ simd: boolean(), relaxedSimd: boolean(), threads: boolean() },
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
      plans: list(
        closed({
          ...{ role: string(), count: count(), scheme: string(), shape: list(count()) },
          ...{ bytes: count("held for one"), bitsPerWeight: number(), plan: string() },
        }),
      ),
    },
  ),
  async run(context, [what, ...names], chosen): Promise<Result> {
    const verbs = { kernels, decode, plan };
    const { backend } = chosen;
    const withEngine = (initial: number, work: (made: Backend) => Promise<Result>) =>
      withBackend({ backend, threads: chosen.threads ?? initial, exactness: chosen.exactness }, work);
    if (what === "kernels") {
      exactly(0, names, "kernels", 'bitloom bench kernels --only "gemv"');
      return withEngine(1, (made) => verbs.kernels(context, chosen, made));
    }
    if (what === "decode") return withEngine(availableParallelism(), (made) => verbs.decode(names, chosen, made));
    if (what === "plan") return withEngine(1, (made) => verbs.plan(names, chosen, made));
    throw new InputError(what === undefined ? "bench needs to know what" : `bench does not know "${what}"`, {
      kind: what === undefined ? "missing-argument" : "unknown-name",
      why: "wanted kernels, decode or plan",
      try: "bitloom bench decode demo",
    });
  },
  render(result, style) {
    if ("plans" in result) return renderPlanned(result, style);
    return "results" in result ? "" : renderDecoded(result);
  },
});
