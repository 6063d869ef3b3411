/** Text from a prompt, token by token. */
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { InputError } from "../errors.js";
import { type SamplingOptions, sample } from "./sampling.js";
import type { Session } from "./session.js";

export interface GenerateOptions extends SamplingOptions {
  /** The most tokens to make. */
  readonly tokens: number;
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
  if (prompt.length === 0) {
    throw new InputError("the prompt is empty", { kind: "text-too-short", try: "give at least one token of text" });
  }
  let logits = session.prefill(prompt, (done) => options.onPrompt?.(done, prompt.length));
  const text = tokenizer.stream({ continues: true });
  for (let count = 0; count < options.tokens; count++) {
    const id = sample(logits, options, count);
    if (tokenizer.eos.includes(id)) break;
    yield { id, text: text.push(id) };
    if (count + 1 === options.tokens || session.position === session.context) break;
    logits = session.forward([id], "last");
  }
  const rest = text.end();
  if (rest !== "") yield { text: rest };
}
