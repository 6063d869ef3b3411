/**
 * Byte pair encoding of pieces; both families (GPT-2's on bytes, SentencePiece's on characters with bytes for the unknown
 * ones) are this with other settings.
 */
import { BYTE_CHARACTERS, bytesToAlphabet } from "./byte-alphabet.js";
import type { TokenizerDefinition } from "./definition.js";
import { mergeWord } from "./merge.js";
import { bpeModel, mergeTable, type Vocabulary } from "./vocabulary.js";

/** Words seen before are looked up. Long ones are rare, so they are not kept. */
const LONGEST_KEPT = 64;
const MOST_KEPT = 1 << 16;

/** A function that appends the ids of one piece. */
export function bytePairEncoder(definition: TokenizerDefinition, vocabulary: Vocabulary, byteLevel: boolean) {
  const { json, source } = definition;
  const model = bpeModel(json, source);
  const table = mergeTable(json, vocabulary, source);
  const { ids: idOf, tokens, added } = vocabulary;
  const unk = typeof model.unk_token === "string" ? idOf.get(model.unk_token) : undefined;
  const byteToken = (byte: number) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
  const byteIds = Array.from({ length: 256 }, (_, byte) =>
    idOf.get(byteLevel ? BYTE_CHARACTERS[byte] : byteToken(byte)),
  );
  const utf8 = new TextEncoder();
  const special = new Set(added.filter((token) => token.special).map((token) => token.content));
  const longest = tokens.reduce((most, token) => Math.max(most, token?.length ?? 0), 0);
  const cache = new Map<string, Int32Array>();

  const symbolsOfBytes = (bytes: Uint8Array, symbols: Symbols) => {
    for (const byte of bytes) symbols.add(byteIds[byte]);
  };
  const symbolsOfCharacters = (piece: string, symbols: Symbols) => {
    for (const character of piece) {
      const id = idOf.get(character);
      const bytes = id === undefined && model.byte_fallback === true ? utf8.encode(character) : undefined;
      if (bytes?.every((byte) => byteIds[byte] !== undefined)) symbolsOfBytes(bytes, symbols);
      else symbols.add(id);
    }
  };
  const whole = (piece: string, bytes: Uint8Array | undefined) => {
    if (model.ignore_merges !== true || piece.length > longest) return undefined;
    const token = bytes ? bytesToAlphabet(bytes) : piece;
    return special.has(token) ? undefined : idOf.get(token);
  };
  const merged = (piece: string) => {
    const bytes = byteLevel ? utf8.encode(piece) : undefined;
    const id = whole(piece, bytes);
    if (id !== undefined) return Int32Array.of(id);
    const symbols = symbolList(bytes?.length ?? 3 * piece.length, unk, model.fuse_unk === true);
    if (bytes) symbolsOfBytes(bytes, symbols);
    else symbolsOfCharacters(piece, symbols);
    const list = symbols.list();
    return list.subarray(0, mergeWord(list, list.length, table));
  };
  return (piece: string, out: number[]) => {
    let found = cache.get(piece);
    if (found === undefined) {
      found = merged(piece);
      if (piece.length <= LONGEST_KEPT) {
        if (cache.size >= MOST_KEPT) cache.clear();
        cache.set(piece, found.slice());
      }
    }
    for (const id of found) out.push(id);
  };
}

/** The ids that a word starts from. A missing one becomes the unknown token, one for a run of them if they fuse. */
interface Symbols {
  add(id: number | undefined): void;
  list(): Int32Array;
}

function symbolList(capacity: number, unk: number | undefined, fuse: boolean): Symbols {
  const ids = new Int32Array(capacity);
  let count = 0;
  let lastUnknown = false;
  return {
    add(id) {
      const unknown = id === undefined;
      const value = id ?? unk;
      if (value !== undefined && !(unknown && fuse && lastUnknown)) ids[count++] = value;
      lastUnknown = unknown;
    },
    list: () => ids.subarray(0, count),
  };
}
