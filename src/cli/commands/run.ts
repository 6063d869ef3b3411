import { setImmediate } from "node:timers/promises";
import { InputError } from "../../errors.js";
import { generate, generateBatch, type Model } from "../../models/index.js";
import { type Context, command } from "../command.js";
import { ACTIVATIONS, CACHE, ENGINE_OPTIONS, EXACTNESS, withBackend, withModel } from "../engine.js";
import { MODEL } from "../model-path.js";
import { significant } from "../numbers.js";
import { decimal, integer, text, type Values } from "../option.js";
import { type PromptLine, readPrompts } from "../prompts.js";
import { closed, count, list, nullable, number, string } from "../schema.js";

interface Speeds {
  readonly promptTokensPerSecond: number;
  /** Null if no token was made from another one, so that there is no speed to tell. */
  readonly tokensPerSecond: number | null;
}

interface Continued {
  readonly text: string;
  readonly tokenIds: readonly number[];
}

interface ContinuedLine extends Continued {
  readonly prompt: string;
  readonly seed: number;
}

type Generated = Speeds & (Continued | { readonly results: readonly ContinuedLine[] });

const continued = {
  text: string("what was generated, without the prompt"),
  tokenIds: list(count(), "ids of the generated tokens, without the end token"),
};

const output = closed(
  {
    promptTokensPerSecond: number(),
    tokensPerSecond: nullable(number("after the prompts, all together; null if no token was made from another one")),
  },
  {
    ...continued,
    results: list(
      closed({ prompt: string(), seed: count("the text with --prompt and this --seed is the same"), ...continued }),
      "with --prompts, in place of text and tokenIds: one for each prompt, in their order",
    ),
  },
);

const options = {
  prompt: text("-p, --prompt <text>", "what to continue"),
  prompts: text(
    "--prompts <file>",
    'continue many: one prompt a line, blank lines left out, or a .jsonl file of "..." and {"prompt": "...", "seed": N}; ' +
      "- reads standard input",
  ),
  batch: integer("--batch <n>", "with --prompts: work on so many at a time", { min: 1, max: 256, default: 8 }),
  tokens: integer("-n, --tokens <n>", "make at most this many tokens", { min: 1, default: 128 }),
  temperature: decimal("--temperature <t>", "0 always takes the most likely token", { min: 0, default: 0.7 }),
  topK: integer("--top-k <k>", "choose among the k most likely tokens; 0: all", { min: 0, default: 0 }),
  topP: decimal("--top-p <p>", "choose among the most likely tokens that together reach p", {
    min: Number.EPSILON,
    max: 1,
    default: 1,
  }),
  seed: integer("--seed <n>", "the same seed gives the same text; prompt number i of --prompts, from 0, has seed + i", {
    min: 0,
    max: 2 ** 32 - 1,
    default: 1,
  }),
  activations: ACTIVATIONS,
  cache: CACHE,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
};

type Chosen = Values<typeof options>;

async function stream(context: Context, model: Model, prompt: string, settings: Chosen): Promise<Speeds & Continued> {
  const ids = model.tokenizer.encode(prompt);
  const session = model.session();
  const tokenIds: number[] = [];
  const pieces: string[] = [];
  const begin = performance.now();
  let promptEnd = begin;
  const onPrompt = (done: number) => {
    promptEnd = performance.now();
    context.progress.update(done);
  };
  try {
    context.progress.start("reading the prompt", ids.length);
    for (const { id, text } of generate(session, model.tokenizer, ids, { ...settings, onPrompt })) {
      if (tokenIds.length === 0) showPrompt(context, prompt);
      if (id !== undefined) tokenIds.push(id);
      pieces.push(text);
      if (!context.json && text !== "") await context.write(text);
      await context.emit({ id: id ?? null, text });
      // Lets a reader that went away be noticed.
      await setImmediate();
    }
    if (!context.json) await context.write("\n");
    const promptMs = promptEnd - begin;
    const speeds = speedsOf(ids.length, promptMs, tokenIds.length - 1, performance.now() - promptEnd);
    return { text: pieces.join(""), tokenIds, ...speeds };
  } finally {
    session.dispose();
  }
}

/** Continues all prompts, as many at a time as `batch` says; texts are written in the order of the prompts. */
async function streamAll(context: Context, model: Model, lines: readonly PromptLine[], settings: Chosen) {
  const prompts = lines.map(({ prompt, seed }, index) => {
    return { ids: model.tokenizer.encode(prompt), seed: seed ?? (settings.seed + index) % 2 ** 32 };
  });
  const made = lines.map(({ prompt }, index) => {
    return { prompt, seed: prompts[index].seed, pieces: [] as string[], tokenIds: [] as number[], ended: false };
  });
  const batch = model.batch({ sequences: Math.min(settings.batch, lines.length) });
  const clock = { promptMs: 0, began: 0 };
  const onPrompt = (_: number, done: number, total: number) => {
    if (done === 0) clock.began = performance.now();
    if (done === total) clock.promptMs += performance.now() - clock.began;
  };
  let [ended, written] = [0, 0];
  const begin = performance.now();
  try {
    context.progress.start("continuing", lines.length);
    for (const piece of generateBatch(batch, model.tokenizer, prompts, { ...settings, onPrompt })) {
      const one = made[piece.prompt];
      if ("ended" in piece) {
        one.ended = true;
        context.progress.update(++ended);
        for (; made[written]?.ended; written++) await writeText(context, made[written], written === lines.length - 1);
      } else {
        if (piece.id !== undefined) one.tokenIds.push(piece.id);
        one.pieces.push(piece.text);
        await context.emit({ prompt: piece.prompt, id: piece.id ?? null, text: piece.text });
      }
      await setImmediate();
    }
    const total = (count: (index: number) => number) => lines.reduce((sum, _, index) => sum + count(index), 0);
    const read = total((index) => prompts[index].ids.length);
    const fromTokens = total((index) => Math.max(0, made[index].tokenIds.length - 1));
    const results = made.map(({ prompt, seed, pieces, tokenIds }) => ({
      ...{ prompt, seed, text: pieces.join(""), tokenIds },
    }));
    return { results, ...speedsOf(read, clock.promptMs, fromTokens, performance.now() - begin - clock.promptMs) };
  } finally {
    batch.dispose();
  }
}

async function writeText(
  context: Context,
  { prompt, pieces }: { readonly prompt: string; readonly pieces: readonly string[] },
  last: boolean,
): Promise<void> {
  if (context.json) return;
  context.progress.stop();
  await context.write(`${prompt}${pieces.join("")}\n${last ? "" : "---\n"}`);
}

const speedsOf = (promptTokens: number, promptMs: number, tokens: number, ms: number): Speeds => ({
  promptTokensPerSecond: (1000 * promptTokens) / promptMs,
  tokensPerSecond: tokens > 0 ? (1000 * tokens) / ms : null,
});

function showPrompt({ progress, note }: Context, prompt: string): void {
  progress.stop();
  note(prompt);
}

export const run = command({
  name: "run",
  summary: "continue a text, printed as it is made",
  description:
    "Ends at the model's end token, after --tokens, or when the context is full. Standard output carries the new text " +
    "alone; on a terminal the prompt is shown before it and the speed after it. With --prompts many texts are continued, " +
    "--batch of them in one pass over the weights, each as it would be alone; they are printed with their prompts, in " +
    "their order, with lines of --- between.",
  arguments: [MODEL],
  options,
  examples: [
    'bitloom run demo --prompt "Call me"',
    'bitloom run model.gguf --prompt "The sea was" --tokens 64 --temperature 0',
    'bitloom run demo -p "The whale" --seed 7 --json',
    "bitloom run demo --prompts prompts.txt --batch 16 --temperature 0 --json",
  ],
  output,
  parts: {
    name: "token",
    description: "a token was made",
    output: closed(
      {
        id: nullable(count("null for text that was held back until the end")),
        text: string("what it adds to the text; empty while a character is not complete"),
      },
      { prompt: count("with --prompts: of which prompt, from 0") },
    ),
  },
  async run(context, [path], chosen): Promise<Generated> {
    const { prompt, prompts, activations, cache } = chosen;
    if ((prompt === undefined) === (prompts === undefined)) {
      const kind = prompt === undefined ? "missing-argument" : "options-disagree";
      const why = "one of them says what to continue";
      throw new InputError("either --prompt or --prompts must be given", { kind, why, where: "bitloom run" });
    }
    const lines = prompts === undefined ? undefined : await readPrompts(prompts);
    const work = (model: Model): Promise<Generated> =>
      lines ? streamAll(context, model, lines, chosen) : stream(context, model, prompt ?? "", chosen);
    const result = await withBackend(chosen, (backend) => withModel(backend, path, work, activations, cache), path);
    const { promptTokensPerSecond, tokensPerSecond } = result;
    const speed = tokensPerSecond === null ? "" : `, ${significant(tokensPerSecond, 3)} tokens per second`;
    context.note(`\n${significant(promptTokensPerSecond, 3)} prompt tokens per second${speed}\n`);
    return result;
  },
  render: () => "",
});
