/** How the tokenizer files complain: always the file and the key in it. */
import { FileError, UnsupportedError } from "../../errors.js";

/** The file and a key in it, for the `where` of an error. */
export const keyPlace = (source: string, key: string) => `${source}, key ${key}`;

/** The file does not hold what it must. */
export function damaged(source: string, key: string, why: string): FileError {
  return new FileError("the tokenizer is damaged", {
    kind: "damaged-tokenizer",
    where: keyPlace(source, key),
    why,
    try: "download or convert the model again",
  });
}

/** The file is well-formed but asks for something that is not here. */
export function unsupported(source: string, key: string, why: string, advice?: string): UnsupportedError {
  return new UnsupportedError("the tokenizer needs something that is not supported", {
    kind: "unsupported-tokenizer",
    where: keyPlace(source, key),
    why,
    try: advice,
  });
}

/** A value from a file as a short text for messages. */
export const shown = (value: unknown): string => String(JSON.stringify(value) ?? value).slice(0, 100);

export type JsonObject = { readonly [key: string]: unknown };

export function objectAt(value: unknown, source: string, key: string): JsonObject {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as JsonObject;
  throw damaged(source, key, `wanted an object, got ${shown(value)}`);
}

export function arrayAt(value: unknown, source: string, key: string): readonly unknown[] {
  if (Array.isArray(value)) return value;
  throw damaged(source, key, `wanted an array, got ${shown(value)}`);
}

export function textAt(value: unknown, source: string, key: string): string {
  if (typeof value === "string") return value;
  throw damaged(source, key, `wanted a text, got ${shown(value)}`);
}

export const isId = (value: unknown, limit: number): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value < limit;

/** A whole number from 0 to below `limit`. */
export function idAt(value: unknown, limit: number, source: string, key: string): number {
  if (isId(value, limit)) return value;
  throw damaged(source, key, `wanted a whole number from 0 to ${limit - 1}, got ${shown(value)}`);
}
