/**
 * Conversations as the model was trained to read them: its own chat template (Jinja) makes one text of the messages, in
 * which the special tokens are meant as such.
 */
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { FileError, InputError, UnsupportedError } from "../errors.js";

export interface Message {
  /** "system", "user", "assistant" or whatever else the template knows. */
  readonly role: string;
  readonly content: string;
}

export interface ChatOptions {
  /** End with what opens the assistant's answer. Default false. */
  readonly addGenerationPrompt?: boolean;
}

/**
 * The ids of a conversation. UnsupportedError for a model without a template; FileError for one that is no Jinja;
 * InputError for messages that the template refuses.
 */
export async function encodeChat(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: ChatOptions = {},
): Promise<number[]> {
  return tokenizer.encode(await renderChat(tokenizer, messages, options), { addSpecial: false, parseSpecial: true });
}

/** The text that the model's template makes of the messages. */
export async function renderChat(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  { addGenerationPrompt = false }: ChatOptions = {},
): Promise<string> {
  if (tokenizer.chatTemplate === undefined) {
    throw new UnsupportedError("the model has no chat template", {
      why: "messages can only be joined in the way that the model was trained with",
      try: "plain text",
    });
  }
  const template = await parsedTemplate(tokenizer.chatTemplate);
  const special = (id: number | undefined) => (id === undefined ? "" : tokenizer.decode([id]));
  const names = { bos_token: special(tokenizer.bos), eos_token: special(tokenizer.eos[0]) };
  try {
    return template.render({ messages, add_generation_prompt: addGenerationPrompt, ...names });
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InputError("the model's chat template refuses these messages", { why, cause });
  }
}

/** Loaded on first use: most runs have no conversation in them. */
async function parsedTemplate(text: string) {
  const { Template } = await import("@huggingface/jinja");
  try {
    return new Template(text);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new FileError("the model's chat template cannot be read", { why, cause });
  }
}
