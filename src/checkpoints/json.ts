/** JSON side files, read with limits: size before anything is loaded, depth before anything is parsed. */
import { FileError } from "../errors.js";
import type { ByteSource, Metadata } from "./checkpoint.js";
import { place } from "./source.js";

const MAX_DEPTH = 64;

/** The object in a JSON file of at most `maxBytes`; a FileError for anything else. */
export async function readJsonObject(source: ByteSource, maxBytes: number): Promise<Metadata> {
  const value = await readJson(source, maxBytes);
  if (isObject(value)) return value;
  throw new FileError("a JSON file holds the wrong thing", {
    kind: "bad-json",
    where: place(source.name, { offset: 0 }),
    why: "wanted an object at the top",
  });
}

/** The value in a JSON file of at most `maxBytes`; a FileError if it is none. */
export async function readJson(source: ByteSource, maxBytes: number): Promise<unknown> {
  const fault = (offset: number, message: string, why: string) =>
    new FileError(message, { kind: "bad-json", where: place(source.name, { offset }), why });
  if (source.size > maxBytes) {
    throw fault(0, "a JSON file is too large", `${source.size} bytes, at most ${maxBytes} are read`);
  }
  const bytes = await source.read(0, source.size);
  const bomb = tooDeep(bytes);
  if (bomb !== undefined) throw fault(bomb, "JSON is nested too deeply", `more than ${MAX_DEPTH} levels`);
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw fault(0, "a JSON file is not UTF-8", "a byte sequence that UTF-8 does not have");
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new FileError("a JSON file cannot be parsed", {
      kind: "bad-json",
      where: source.name,
      why: error instanceof Error ? error.message : undefined,
      cause: error,
    });
  }
}

export function isObject(value: unknown): value is Metadata {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The offset at which brackets (outside of texts) nest too deeply, if there is one. */
function tooDeep(bytes: Uint8Array): number | undefined {
  let depth = 0;
  let inText = false;
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at];
    if (inText) {
      if (byte === 0x5c) at++;
      else if (byte === 0x22) inText = false;
    } else if (byte === 0x22) inText = true;
    else if (byte === 0x7b || byte === 0x5b) {
      if (++depth > MAX_DEPTH) return at;
    } else if (byte === 0x7d || byte === 0x5d) depth--;
  }
  return undefined;
}
