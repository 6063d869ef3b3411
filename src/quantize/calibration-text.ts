/** What a calibration file says: plain text, or conversations that the model's own chat template makes text of. */
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { InputError } from "../errors.js";
import { encodeChat, type Message } from "../models/index.js";

/**
 * The ids of a calibration file. A file whose first line is a JSON object with `messages` is read as conversations, one a
 * line: {"messages": [{"role": "user", "content": "..."}, ...]}; anything else is text. With `window` the text is cut into
 * texts of that many ids, each with the special ids that the model wants around a text, as encoders see theirs.
 */
export async function calibrationIds(tokenizer: Tokenizer, content: string, window?: number): Promise<number[]> {
  if (window !== undefined) return closedTexts(tokenizer, content, window);
  if (!isConversation(content.slice(0, content.indexOf("\n") >>> 0))) return tokenizer.encode(content);
  const ids: number[] = [];
  for (const [index, line] of content.split("\n").entries()) {
    if (line.trim() === "") continue;
    for (const id of await encodeChat(tokenizer, messagesOf(line, index + 1))) ids.push(id);
  }
  return ids;
}

function closedTexts(tokenizer: Tokenizer, content: string, window: number): number[] {
  const before = tokenizer.addBos && tokenizer.bos !== undefined ? [tokenizer.bos] : [];
  const after = tokenizer.addEos ? tokenizer.eos.slice(0, 1) : [];
  const ids = tokenizer.encode(content, { addSpecial: false });
  const inside = window - before.length - after.length;
  const texts: number[] = [];
  for (let start = 0; start + inside <= ids.length; start += inside) {
    for (const id of [...before, ...ids.slice(start, start + inside), ...after]) texts.push(id);
  }
  return texts.length > 0 ? texts : ids;
}

function isConversation(line: string): boolean {
  if (!line.trimStart().startsWith("{")) return false;
  try {
    return Array.isArray((JSON.parse(line) as { messages?: unknown }).messages);
  } catch {
    // A text may well begin with a brace.
    return false;
  }
}

function messagesOf(line: string, number: number): readonly Message[] {
  const wrong = (why: string) =>
    new InputError("this line is no conversation", {
      where: `calibration text, line ${number}`,
      why,
      try: '{"messages": [{"role": "user", "content": "..."}]}',
    });
  const parsed = parsedLine(line, wrong);
  const messages = (parsed as { messages?: unknown } | null)?.messages;
  if (!Array.isArray(messages)) throw wrong('it has no list "messages"');
  const isMessage = (one: unknown): one is Message => {
    const { role, content } = (one ?? {}) as Partial<Record<keyof Message, unknown>>;
    return typeof role === "string" && typeof content === "string";
  };
  const bad = messages.findIndex((one) => !isMessage(one));
  if (bad >= 0) throw wrong(`message ${bad + 1} wants the texts role and content`);
  return messages;
}

function parsedLine(line: string, wrong: (why: string) => InputError): unknown {
  try {
    return JSON.parse(line);
  } catch (cause) {
    throw wrong((cause as Error).message);
  }
}
