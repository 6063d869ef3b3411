/** From tokens to bytes, and from bytes to text: the `decoder` of a tokenizer.json. */
import { InputError } from "../../errors.js";
import type { DecodeOptions, TokenStream } from "../tokenizer.js";
import { alphabetToBytes } from "./byte-alphabet.js";
import { arrayAt, type JsonObject, objectAt, shown, textAt, unsupported } from "./faults.js";
import { pattern } from "./patterns.js";
import { INSIDE } from "./word-piece.js";

export interface Decoder {
  /** What a token stands for. */
  bytesOf(token: string): Uint8Array;
  /** One space at the start of a text is not part of it. */
  readonly stripsSpace: boolean;
  /** Added tokens go the same way; otherwise they stand for their own text. */
  readonly takesAdded?: boolean;
}

const utf8 = new TextEncoder();

export function decoderOf(json: unknown, byteLevel: boolean, source: string): Decoder {
  if ((json === null || json === undefined) && byteLevel) return byteLevelDecoder;
  const steps = flatten(json, source, "decoder");
  if (steps.length === 1 && steps[0].config.type === "WordPiece") return wordPieceDecoder(steps[0].config);
  if (steps.some(({ config }) => config.type === "ByteLevel")) return byteLevelDecoder;
  const rewrites: ((token: string) => string)[] = [];
  let byteFallback = false;
  let stripsSpace = false;
  for (const { config, key } of steps) {
    if (config.type === "Replace") {
      const found = pattern(objectAt(config.pattern, source, `${key}.pattern`), source, `${key}.pattern`);
      const content = textAt(config.content, source, `${key}.content`);
      rewrites.push((token) => token.replace(found, () => content));
    } else if (config.type === "Metaspace") {
      const mark = textAt(config.replacement ?? "▁", source, `${key}.replacement`);
      rewrites.push((token) => token.replaceAll(mark, " "));
      stripsSpace = config.prepend_scheme !== "never";
    } else if (config.type === "ByteFallback") byteFallback = true;
    else if (config.type === "Strip" && config.content === " " && config.start === 1 && config.stop === 0)
      stripsSpace = true;
    else if (config.type !== "Fuse") {
      throw unsupported(
        source,
        key,
        `got ${shown(config)}, supported: ByteLevel, Replace, Metaspace, ByteFallback, Fuse, Strip`,
      );
    }
  }
  const rewrite = (token: string) => rewrites.reduce((text, step) => step(text), token);
  const bytesOf = (token: string) => (byteFallback ? fallbackByte(token) : undefined) ?? utf8.encode(rewrite(token));
  return { bytesOf, stripsSpace };
}

/** A token with a character outside the byte alphabet is an added one and stands for its own text. */
const byteLevelDecoder: Decoder = {
  bytesOf: (token) => alphabetToBytes(token) ?? utf8.encode(token),
  stripsSpace: false,
};

/**
 * A space before every token but those for the inside of words; `cleanup` takes it away before punctuation and English
 * contractions. Source: tokenizers, decoders/wordpiece.rs.
 */
function wordPieceDecoder(config: JsonObject): Decoder {
  const bytesOf = (token: string) => {
    const text = token.startsWith(INSIDE) ? token.slice(INSIDE.length) : ` ${token}`;
    return utf8.encode(config.cleanup === false ? text : text.replace(/^ (?=[.?!,]|n't|'m|'s|'ve|'re)/, ""));
  };
  return { bytesOf, stripsSpace: true, takesAdded: true };
}

/** The byte of a token such as "<0x0A>". */
export function fallbackByte(token: string): Uint8Array | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match ? Uint8Array.of(Number.parseInt(match[1], 16)) : undefined;
}

function flatten(json: unknown, source: string, key: string): { config: JsonObject; key: string }[] {
  const config = objectAt(json, source, key);
  if (config.type !== "Sequence") return [{ config, key }];
  const list = arrayAt(config.decoders, source, `${key}.decoders`);
  return list.flatMap((step, i) => flatten(step, source, `${key}.decoders[${i}]`));
}

/** What decoding needs to know of a tokenizer. */
export interface TokenBytes {
  readonly size: number;
  bytesOf(id: number): Uint8Array;
  readonly special: ReadonlySet<number>;
  readonly stripsSpace: boolean;
}

/**
 * Text as ids arrive. Bytes wait until their UTF-8 sequence is whole; what is no UTF-8 becomes U+FFFD, one for each
 * maximal part of a sequence, as the WHATWG Encoding Standard has it.
 */
export function tokenStream(tokens: TokenBytes, options: DecodeOptions = {}): TokenStream {
  const decoder = new TextDecoder("utf-8", { ignoreBOM: true });
  let atStart = tokens.stripsSpace && options.continues !== true;
  const finish = (text: string) => {
    if (!atStart || text === "") return text;
    atStart = false;
    return text.startsWith(" ") ? text.slice(1) : text;
  };
  return {
    push(id) {
      checkId(id, tokens.size);
      if (options.skipSpecial === true && tokens.special.has(id)) return "";
      return finish(decoder.decode(tokens.bytesOf(id), { stream: true }));
    },
    end: () => finish(decoder.decode()),
  };
}

/** All ids at once. */
export function decodeAll(tokens: TokenBytes, ids: Iterable<number>, options: DecodeOptions = {}): string {
  const stream = tokenStream(tokens, options);
  const parts: string[] = [];
  for (const id of ids) parts.push(stream.push(id));
  parts.push(stream.end());
  return parts.join("");
}

function checkId(id: number, size: number): void {
  if (Number.isInteger(id) && id >= 0 && id < size) return;
  throw new InputError(`there is no token ${id}`, {
    kind: "unknown-token",
    why: `ids are whole numbers from 0 to ${size - 1}`,
  });
}
