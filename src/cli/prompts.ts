/** A file of prompts: one a line, or JSON Lines for prompts of several lines and seeds of their own. */
import { InputError } from "../errors.js";
import { readText } from "./model-path.js";

export interface PromptLine {
  readonly prompt: string;
  readonly seed?: number;
}

const most = 2 ** 32 - 1;

/** The prompts of a file; blank lines are left out. InputError where there is none, or for a line of JSON that is no prompt. */
export async function readPrompts(file: string): Promise<readonly PromptLine[]> {
  const read = file.endsWith(".jsonl") ? readRecord : (prompt: string): PromptLine => ({ prompt });
  const lines = (await readText(file)).split(/\r?\n/);
  const prompts = lines.flatMap((line, index) =>
    line.trim() === "" ? [] : [read(line, `${file}, line ${index + 1}`)],
  );
  if (prompts.length > 0) return prompts;
  throw new InputError("there is no prompt in the file", { kind: "text-too-short", where: file });
}

function readRecord(line: string, where: string): PromptLine {
  const value = parse(line);
  if (typeof value === "string" && value !== "") return { prompt: value };
  const { prompt, seed } = (value ?? {}) as { readonly prompt?: unknown; readonly seed?: unknown };
  const seeded = Number.isInteger(seed) && (seed as number) >= 0 && (seed as number) <= most;
  if (typeof prompt === "string" && prompt !== "" && (seed === undefined || seeded)) {
    return seeded ? { prompt, seed: seed as number } : { prompt };
  }
  throw new InputError("a line of the file is no prompt", {
    kind: "value-out-of-range",
    where,
    why: 'wanted a text, "...", or {"prompt": "...", "seed": N}',
  });
}

/** The value that a line of JSON holds; undefined for what is no JSON. */
function parse(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}
