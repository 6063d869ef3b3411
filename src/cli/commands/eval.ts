import { InputError, NumericError } from "../../errors.js";
import { assertSameVocabulary, type Evaluation, evaluate, liveReference } from "../../evaluate/index.js";
import type { Backend } from "../../kernels/index.js";
import { type CacheScheme, cacheText, type Model } from "../../models/index.js";
import { type Context, command } from "../command.js";
import {
  ACTIVATIONS_OR_SCHEME,
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
import { MODEL, readText } from "../model-path.js";
import { byteSize, duration, grouped, percent, signed, significant } from "../numbers.js";
import { decimal, integer, requiredText, text } from "../option.js";
import { closed, count, interval, number, string } from "../schema.js";
import { pairs } from "../table.js";
import { printable } from "../terminal.js";

interface Result extends Partial<NonNullable<Evaluation["comparison"]>> {
  readonly model: string;
  readonly against?: string;
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly activations: string;
  readonly cache?: string;
  readonly context: number;
  readonly tokens: number;
  readonly perplexity: number;
  readonly nll: number;
  readonly nllCi95: readonly [number, number];
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly engine: Engine;
}

const output = closed(
  {
    model: string(),
    bytes: count("of the files that hold tensors"),
    bitsPerWeight: number("bits of tensor data for each number, counted from the file"),
    activations: string("how activations entered the products: f32, int8, or the scheme that they were rounded to"),
    context: count("length of a window in tokens"),
    tokens: count("predicted"),
    perplexity: number("exp(nll)"),
    nll: number("mean negative log-likelihood, nats per token"),
    nllCi95: interval("95 % interval of nll"),
    seconds: number("in the model's own forward passes"),
    tokensPerSecond: number(),
    engine: engineSchema,
  },
  {
    cache: string("how keys and values were held, if --cache said so"),
    against: string("the base; with it come the fields below"),
    deltaNll: number("nll minus the base's, nats per token, paired"),
    deltaNllCi95: interval("95 % interval of deltaNll"),
    kl: number("mean KL divergence of the model's distribution from the base's, nats per token"),
    klCi95: interval("95 % interval of kl"),
    top1Agreement: number("share of tokens where both find the same token most likely"),
  },
);

const options = {
  text: requiredText("--text <file>", "UTF-8 text to predict; - reads standard input"),
  against: text("--against <base>", "compare with this model, token by token"),
  context: integer("--context <n>", "window length in tokens", {
    min: 2,
    defaultText: "512, or the model's own if that is shorter",
  }),
  tokens: integer("--tokens <n>", "predict at most this many tokens", { min: 1, defaultText: "the whole text" }),
  maxKl: decimal("--max-kl <nats>", "exit with 5 if KL is larger; needs --against", { min: 0 }),
  activations: ACTIVATIONS_OR_SCHEME,
  cache: CACHE,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
};

const DEFAULT_CONTEXT = 512;

interface Job {
  readonly against?: string;
  readonly activations: string;
  readonly cache?: CacheScheme;
  readonly content: string;
  readonly context?: number;
  readonly tokens?: number;
}

/** Evaluates `model` on a text in windows of `context`, against `base` if there is one, with progress. */
async function evaluateText(
  { progress, emit }: Context,
  model: Model,
  base: Model | undefined,
  job: Job,
  context: number,
): Promise<Evaluation> {
  if (base) assertSameVocabulary(model, base);
  const against = base && liveReference(base, context);
  const ids = model.tokenizer.encode(job.content);
  progress.start("evaluating", Math.min(job.tokens ?? Number.POSITIVE_INFINITY, ids.length - 1));
  const lines: Promise<void>[] = [];
  const onProgress = (tokens: number, total: number, nll: number) => {
    progress.update(tokens);
    lines.push(emit({ tokens, total, nll, perplexity: Math.exp(nll) }));
  };
  try {
    const result = evaluate(model, { ids, context, tokens: job.tokens, against, onProgress });
    await Promise.all(lines);
    return result;
  } finally {
    against?.dispose();
  }
}

async function run(context: Context, name: string, job: Job, backend: Backend): Promise<Result> {
  const { activations } = job;
  const measure = (base?: Model) => withModel(backend, name, (model) => measured(model, base), activations, job.cache);
  const measured = async (model: Model, base?: Model): Promise<Result> => {
    const window = job.context ?? Math.min(DEFAULT_CONTEXT, model.config.context);
    const { comparison, ...evaluation } = await evaluateText(context, model, base, job, window);
    const { bytes, bitsPerWeight } = model.size;
    const against = job.against === undefined ? {} : { against: job.against, ...comparison };
    const engine = engineOf(backend.info);
    const cache = job.cache && { cache: cacheText(job.cache) };
    return {
      model: name,
      bytes,
      bitsPerWeight,
      activations,
      ...cache,
      context: window,
      ...evaluation,
      ...against,
      engine,
    };
  };
  return job.against === undefined ? measure() : withModel(backend, job.against, measure);
}

const range = ([low, high]: readonly [number, number], decimals: number) =>
  `${low.toFixed(decimals)} to ${high.toFixed(decimals)}`;

function render(result: Result): string {
  const rows: (readonly [string, string])[] = [
    ["model", printable(result.model)],
    [
      "size",
      `${grouped(result.bytes)} bytes (${byteSize(result.bytes)}), ${result.bitsPerWeight.toFixed(3)} bits each`,
    ],
    ["tokens", `${grouped(result.tokens)} in windows of ${grouped(result.context)}`],
    ["perplexity", result.perplexity.toFixed(4)],
    ["nats per token", `${result.nll.toFixed(5)}  (95 %: ${range(result.nllCi95, 4)})`],
  ];
  const { deltaNll, deltaNllCi95, kl, klCi95, top1Agreement } = result;
  if (deltaNll !== undefined && deltaNllCi95 && kl !== undefined && klCi95 && top1Agreement !== undefined) {
    rows.push(
      ["against", printable(result.against ?? "")],
      ["difference", `${signed(deltaNll, 5)}  (95 %: ${range(deltaNllCi95, 5)})`],
      ["KL", `${significant(kl, 4)}  (95 %: ${klCi95.map((bound) => significant(bound, 3)).join(" to ")})`],
      ["same top token", percent(top1Agreement)],
    );
  }
  rows.push(["speed", `${significant(result.tokensPerSecond, 3)} tokens per second, ${duration(result.seconds)}`]);
  rows.push(["engine", engineText(result.engine)], ...result.engine.fallbacks.map((text) => ["", text] as const));
  return pairs(rows);
}

export const evalCommand = command({
  name: "eval",
  summary: "measure perplexity and, against a base, what was lost",
  description:
    "The text is cut into windows of --context tokens; every token but the first is predicted once, from the ones before " +
    "it in its window. With --against, differences are paired token by token; intervals admit that neighbouring " +
    "tokens are related (batch means over blocks of 64).",
  arguments: [MODEL],
  options,
  examples: [
    "bitloom eval demo-q4_0.gguf --text demo/held-out.txt --against demo",
    "bitloom eval model.gguf --text wiki.txt --tokens 4096 --json",
    "bitloom eval small.gguf --text wiki.txt --against big.gguf --max-kl 0.05",
  ],
  output,
  parts: {
    name: "progress",
    description: "a part of a window was predicted",
    output: closed({
      tokens: count("predicted so far"),
      total: count("to be predicted"),
      nll: number("mean negative log-likelihood of those so far, nats per token"),
      perplexity: number("exp(nll)"),
    }),
  },
  async run(context, [model], { text: file, threads, backend, exactness, ...job }): Promise<Result> {
    if (job.maxKl !== undefined && job.against === undefined) {
      throw new InputError("--max-kl needs --against", {
        kind: "options-disagree",
        why: "KL is measured from a base model",
      });
    }
    const content = await readText(file);
    const models = job.against === undefined ? [model] : [model, job.against];
    return withBackend(
      { threads, backend, exactness },
      (made) => run(context, model, { ...job, content }, made),
      ...models,
    );
  },
  render,
  verdict({ kl }, { maxKl }) {
    if (maxKl === undefined || kl === undefined || kl <= maxKl) return undefined;
    return new NumericError("the model misses the quality limit", {
      kind: "quality-limit",
      where: "--max-kl",
      why: `KL is ${significant(kl, 4)}, wanted at most ${maxKl} nats per token`,
      try: "a scheme with more bits",
    });
  },
});
