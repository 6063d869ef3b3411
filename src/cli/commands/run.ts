import { setImmediate } from "node:timers/promises";
import { generate, type Model } from "../../models/index.js";
import { type Context, command } from "../command.js";
import { ACTIVATIONS, CACHE, ENGINE_OPTIONS, EXACTNESS, withBackend, withModel } from "../engine.js";
import { MODEL } from "../model-path.js";
import { significant } from "../numbers.js";
import { decimal, integer, requiredText, type Values } from "../option.js";
import { closed, count, list, nullable, number, string } from "../schema.js";

interface Generated {
  readonly text: string;
  readonly tokenIds: readonly number[];
  readonly promptTokensPerSecond: number;
  /** Null if no token was made from another one, so that there is no speed to tell. */
  readonly tokensPerSecond: number | null;
}

const output = closed({
  text: string("what was generated, without the prompt"),
  tokenIds: list(count(), "ids of the generated tokens, without the end token"),
  promptTokensPerSecond: number(),
  tokensPerSecond: nullable(number("after the prompt; null if fewer than two tokens were made")),
});

const options = {
  prompt: requiredText("-p, --prompt <text>", "what to continue"),
  tokens: integer("-n, --tokens <n>", "make at most this many tokens", { min: 1, default: 128 }),
  temperature: decimal("--temperature <t>", "0 always takes the most likely token", { min: 0, default: 0.7 }),
  topK: integer("--top-k <k>", "choose among the k most likely tokens; 0: all", { min: 0, default: 0 }),
  topP: decimal("--top-p <p>", "choose among the most likely tokens that together reach p", {
    min: Number.EPSILON,
    max: 1,
    default: 1,
  }),
  seed: integer("--seed <n>", "the same seed gives the same text", { min: 0, max: 2 ** 32 - 1, default: 1 }),
  activations: ACTIVATIONS,
  cache: CACHE,
  exactness: EXACTNESS,
  ...ENGINE_OPTIONS,
};

type Chosen = Values<typeof options>;

async function stream(context: Context, model: Model, { prompt, threads, backend, exactness, ...settings }: Chosen) {
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
    const seconds = (performance.now() - promptEnd) / 1000;
    const promptSeconds = (promptEnd - begin) / 1000;
    return {
      text: pieces.join(""),
      tokenIds,
      promptTokensPerSecond: ids.length / promptSeconds,
      tokensPerSecond: tokenIds.length > 1 ? (tokenIds.length - 1) / seconds : null,
    };
  } finally {
    session.dispose();
  }
}

function showPrompt({ progress, note }: Context, prompt: string): void {
  progress.stop();
  note(prompt);
}

export const run = command({
  name: "run",
  summary: "continue a text, printed as it is made",
  description:
    "Ends at the model's end token, after --tokens, or when the context is full. Standard output carries the new text " +
    "alone; on a terminal the prompt is shown before it and the speed after it.",
  arguments: [MODEL],
  options,
  examples: [
    'bitloom run demo --prompt "Call me"',
    'bitloom run model.gguf --prompt "The sea was" --tokens 64 --temperature 0',
    'bitloom run demo -p "The whale" --seed 7 --json',
  ],
  output,
  parts: {
    name: "token",
    description: "a token was made",
    output: closed({
      id: nullable(count("null for text that was held back until the end")),
      text: string("what it adds to the text; empty while a character is not complete"),
    }),
  },
  async run(context, [path], chosen): Promise<Generated> {
    const result = await withBackend(
      chosen,
      (backend) =>
        withModel(backend, path, (model) => stream(context, model, chosen), chosen.activations, chosen.cache),
      path,
    );
    const { promptTokensPerSecond, tokensPerSecond } = result;
    const speed = tokensPerSecond === null ? "" : `, ${significant(tokensPerSecond, 3)} tokens per second`;
    context.note(`\n\n${significant(promptTokensPerSecond, 3)} prompt tokens per second${speed}\n`);
    return result;
  },
  render: () => "\n",
});
