/** Text from prompts, token by token: one prompt, or several at once. */
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { InputError } from "../errors.js";
import type { Batch } from "./batch.js";
import { type SamplingOptions, sample } from "./sampling.js";
import type { Session } from "./session.js";

interface Settings extends SamplingOptions {
  /** The most tokens to make. */
  readonly tokens: number;
}

export interface GenerateOptions extends Settings {
  /** Called as the prompt is read. */
  readonly onPrompt?: (done: number, total: number) => void;
}

export interface GeneratedToken {
  /** Absent for a last piece of text that belongs to no further token (the rest of a cut-off character). */
  readonly id?: number;
  /** The text that this token completed; may be empty inside a multi-byte character. */
  readonly text: string;
}

/**
 * Yields tokens until one of the tokenizer's end tokens (which is not yielded), `tokens` of them, or a full context.
 * Draw number n of the seed chooses token n, so the same seed gives the same text.
 */
export function* generate(
  session: Session,
  tokenizer: Tokenizer,
  prompt: readonly number[],
  options: GenerateOptions,
): Generator<GeneratedToken, void> {
  demandTokens(prompt);
  let logits = session.prefill(prompt, (done) => options.onPrompt?.(done, prompt.length));
  const next = chooser(session, tokenizer, options);
  for (;;) {
    const { pieces, id } = next(logits);
    yield* pieces;
    if (id === undefined) return;
    logits = session.forward([id], "last");
  }
}

export interface Prompt {
  readonly ids: readonly number[];
  /** Default: that of the options. */
  readonly seed?: number;
}

export interface BatchGenerateOptions extends Settings {
  /** Called as a prompt is read, first with `done` 0. */
  readonly onPrompt?: (prompt: number, done: number, total: number) => void;
}

/** A piece of the text of prompt number `prompt`, or the word that this text has ended. */
export type BatchPiece = { readonly prompt: number } & (GeneratedToken | { readonly ended: true });

/**
 * The tokens that `generate` would make of each prompt alone, those of several prompts by turns: as many are in work as the
 * batch has room for, and when one ends the next one enters. All memory of sequences is given back, however it ends.
 */
export function* generateBatch(
  batch: Batch,
  tokenizer: Tokenizer,
  prompts: readonly Prompt[],
  options: BatchGenerateOptions,
): Generator<BatchPiece, void> {
  for (const [index, { ids }] of prompts.entries()) {
    demandTokens(ids);
    if (ids.length <= batch.context) continue;
    const why = `it has ${ids.length} tokens, and ${batch.context} fit`;
    throw new InputError("a prompt is longer than the context", {
      kind: "context-full",
      where: `prompt ${index}`,
      why,
    });
  }
  const waiting = prompts.entries();
  let active: Working[] = [];

  function enter(prompt: number, { ids, seed = options.seed }: Prompt): { working: Working; logits: Float32Array } {
    const session = batch.open(ids.length + options.tokens);
    const working = { prompt, session, next: chooser(session, tokenizer, { ...options, seed }), last: 0 };
    active.push(working);
    options.onPrompt?.(prompt, 0, ids.length);
    const logits = session.prefill(ids, (done) => options.onPrompt?.(prompt, done, ids.length));
    return { working, logits };
  }

  function* take(working: Working, logits: Float32Array): Generator<BatchPiece, void> {
    const { pieces, id } = working.next(logits);
    for (const piece of pieces) yield { prompt: working.prompt, ...piece };
    if (id !== undefined) working.last = id;
    else {
      active = active.filter((one) => one !== working);
      working.session.dispose();
      yield { prompt: working.prompt, ended: true };
    }
  }

  try {
    for (;;) {
      while (active.length < batch.sequences) {
        const { done, value } = waiting.next();
        if (done) break;
        const { working, logits } = enter(...value);
        yield* take(working, logits);
      }
      if (active.length === 0) return;
      const rows = active;
      const logits = batch.forward(
        rows.map(({ session }) => session),
        rows.map(({ last }) => last),
      );
      const size = logits.length / rows.length;
      const chosen = rows.map((_, row) => logits.slice(row * size, (row + 1) * size));
      for (const [row, working] of rows.entries()) yield* take(working, chosen[row]);
    }
  } finally {
    for (const { session } of active) session.dispose();
  }
}

interface Working {
  readonly prompt: number;
  readonly session: Session;
  readonly next: ReturnType<typeof chooser>;
  last: number;
}

function demandTokens(prompt: readonly number[]): void {
  if (prompt.length > 0) return;
  throw new InputError("the prompt is empty", { kind: "text-too-short", try: "give at least one token of text" });
}

/** What logits become: pieces of text, and the id to go on with; none when the text has ended. */
function chooser(session: Session, tokenizer: Tokenizer, options: Settings) {
  const text = tokenizer.stream({ continues: true });
  let count = 0;
  const ended = (pieces: GeneratedToken[]) => {
    const rest = text.end();
    return { pieces: rest === "" ? pieces : [...pieces, { text: rest }], id: undefined };
  };
  return (logits: Float32Array): { readonly pieces: readonly GeneratedToken[]; readonly id?: number } => {
    const id = sample(logits, options, count++);
    if (tokenizer.eos.includes(id)) return ended([]);
    const pieces = [{ id, text: text.push(id) }];
    return count === options.tokens || session.position === session.context ? ended(pieces) : { pieces, id };
  };
}
