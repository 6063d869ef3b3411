import { availableParallelism } from "node:os";
import { benchDecode, type DecodeReport, type OperationShare } from "../../bench/index.js";
import { ACTIVATIONS, CACHE, type Engine, engineOf, engineText, withModel } from "../engine.js";
import { byteSize, percent, significant } from "../numbers.js";
import { flag, integer } from "../option.js";
import { closed, count, list, number, string } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import type { Style } from "../terminal.js";
import { type Machine, machineOf, machineSchema, TIMES } from "./machine.js";
import { oneModel, verb } from "./verb.js";

interface Decoded extends DecodeReport {
  readonly machine: Machine;
  readonly engine: Engine;
  readonly model: string;
  readonly activations: string;
}

const EXAMPLE = "bitloom bench decode demo --activations int8";

export const decode = verb({
  name: "decode",
  usage: "decode MODEL",
  description: "tokens per second of prompt and generation, and the share of the memory's read bandwidth",
  example: EXAMPLE,
  options: {
    prompt: integer("--prompt <n>", "tokens of the prompt", { min: 1, default: 128 }),
    tokens: integer("-n, --tokens <n>", "tokens to make", { min: 1, max: 2 ** 31, default: 64 }),
    runs: integer("--runs <n>", "measured runs, after one to warm up", { min: 1, default: 3 }),
    ops: flag("--ops", "also what each kind of operation takes, in a run of its own"),
    activations: ACTIVATIONS,
    cache: CACHE,
  },
  threads: availableParallelism(),
  loads: (names) => names,
  fields: {
    ...{ model: string(), activations: string(), promptTokens: count(), generatedTokens: count() },
    ...{ promptTokensPerSecond: number(), tokensPerSecond: number(), perToken: closed(TIMES) },
    ...{ bytesPerToken: number(), gbs: number(), readBandwidthGBs: number(), shareOfReadBandwidth: number() },
    machine: machineSchema,
    operations: list(
      closed(
        {
          phase: string("prompt, or token: one that is made"),
          kernel: string('"between": what no operation took'),
          ...{ calls: number(), microseconds: number(), share: number() },
        },
        { weight: string("scheme and shape"), gmacs: number("10^9 multiply-accumulates a second") },
      ),
      "with --ops; empty without",
    ),
  },
  async run({ backend }, names, { prompt, tokens, runs, ops, activations, cache }): Promise<Decoded> {
    const model = oneModel(names, "decode", EXAMPLE);
    const report = await withModel(
      backend,
      model,
      async (opened) => benchDecode(opened, { prompt, tokens, runs, profile: ops ? backend : undefined }),
      activations,
      cache,
    );
    return { model, activations, ...report, machine: machineOf(), engine: engineOf(backend.info) };
  },
  render: (found, style) =>
    `${pairs([
      ["model", `${found.model}, ${found.activations} activations`],
      ["prompt", `${significant(found.promptTokensPerSecond, 4)} tokens per second, ${found.promptTokens} tokens`],
      ["generation", `${significant(found.tokensPerSecond, 4)} tokens per second, ${found.generatedTokens} tokens`],
      ["one token", `${significant(found.perToken.medianMs, 3)} ms, best ${significant(found.perToken.bestMs, 3)}`],
      ["reads", `${byteSize(found.bytesPerToken)} a token, ${significant(found.gbs, 3)} GB/s`],
      [
        "memory",
        `${percent(found.shareOfReadBandwidth, 0)} of the ${significant(found.readBandwidthGBs, 3)} GB/s of one thread`,
      ],
      ["engine", engineText(found.engine)],
      ...found.engine.fallbacks.map((fallback) => ["", fallback] as const),
    ])}${operationsText(found.operations, style)}`,
});

const PHASES = { prompt: "the prompt", token: "one token" } as const;

function operationsText(operations: readonly OperationShare[], { bold }: Style): string {
  if (operations.length === 0) return "";
  const columns = [left("kernel"), left("weight"), right("calls"), right("us"), right("share"), right("GMAC/s")];
  const tables = (["prompt", "token"] as const).map((phase) => {
    const rows = operations
      .filter((one) => one.phase === phase)
      .map(({ kernel, weight = "", calls, microseconds, share, gmacs }) => [
        ...[kernel, weight, significant(calls, 3), significant(microseconds, 4), percent(share, 1)],
        gmacs === undefined ? "" : significant(gmacs, 3),
      ]);
    return `\nwhat ${PHASES[phase]} takes\n${table(columns, rows, bold)}`;
  });
  return tables.join("");
}
