/**
 * The tokenizer itself: added tokens are cut out of the text, the rest is normalized, cut into pieces, and each piece
 * merged; both families of byte pair encoding (GPT-2's on bytes, SentencePiece's on characters with bytes for the
 * unknown ones) are this with other settings.
 */
import { FileError, InputError } from "../../errors.js";
import type { EncodeOptions, Tokenizer } from "../tokenizer.js";
import { addedTokenSplitter, type Splitter } from "./added.js";
import { BYTE_CHARACTERS, bytesToAlphabet } from "./byte-alphabet.js";
import { decodeAll, decoderOf, type TokenBytes, tokenStream } from "./decoder.js";
import type { TokenizerDefinition } from "./definition.js";
import { mergeWord } from "./merge.js";
import { normalizerOf } from "./normalizer.js";
import { preTokenizerOf } from "./pre-tokenizer.js";
import { type AddedToken, bpeModel, mergeTable, type Vocabulary, vocabularyOf } from "./vocabulary.js";

/** A tokenizer from its definition; a FileError for damage, an UnsupportedError for kinds that are not byte pair. */
export function tokenizerFromJson(definition: TokenizerDefinition): Tokenizer {
  const { json, source, bos, eos } = definition;
  const vocabulary = vocabularyOf(json, source);
  const size = Math.max(definition.rows ?? 0, vocabulary.tokens.length);
  checkSpecials(definition, size);
  const preTokenizer = preTokenizerOf(json.pre_tokenizer, source);
  const encodePiece = pieceEncoder(definition, vocabulary, preTokenizer.bytes);
  const normalize = normalizerOf(json.normalizer, source);
  const splitters = {
    all: splittersOf(vocabulary.added, normalize),
    plain: splittersOf(
      vocabulary.added.filter((token) => !token.special),
      normalize,
    ),
  };
  const tokenBytes = bytesOfTokens(definition, vocabulary, preTokenizer.bytes, size);

  const encode = (text: string, options: EncodeOptions = {}) => {
    checkText(text);
    const ids: number[] = [];
    const { before, after } = options.parseSpecial === true ? splitters.all : splitters.plain;
    if (options.addSpecial !== false && definition.addBos && bos !== undefined) ids.push(bos);
    for (const outer of before(text)) {
      if ("id" in outer) ids.push(outer.id);
      else {
        for (const section of after(normalize(outer.text))) {
          if ("id" in section) ids.push(section.id);
          else {
            const atStart = outer.start === 0 && section.start === 0;
            for (const piece of preTokenizer.split(section.text, atStart)) encodePiece(piece, ids);
          }
        }
      }
    }
    if (options.addSpecial !== false && definition.addEos && eos.length > 0) ids.push(eos[0]);
    return ids;
  };
  return {
    size,
    bos,
    eos,
    addBos: definition.addBos,
    addEos: definition.addEos,
    chatTemplate: definition.chatTemplate,
    encode,
    decode: (ids, options) => decodeAll(tokenBytes, ids, options),
    stream: (options) => tokenStream(tokenBytes, options),
  };
}

function checkSpecials(definition: TokenizerDefinition, size: number): void {
  const { bos, eos, unk, pad } = definition;
  for (const id of [bos, unk, pad, ...eos]) {
    if (id === undefined || (Number.isInteger(id) && id >= 0 && id < size)) continue;
    const why = `the special id ${id} is not an id: there are ${size}`;
    throw new FileError("the tokenizer is damaged", { kind: "damaged-tokenizer", where: definition.source, why });
  }
}

function checkText(text: string): void {
  const at = text.search(/\p{Surrogate}/u);
  if (at < 0) return;
  const unit = text.charCodeAt(at).toString(16).toUpperCase();
  throw new InputError("the text is not Unicode", {
    kind: "text-not-utf8",
    why: `an unpaired surrogate, U+${unit}, at position ${at}`,
  });
}

/** Added tokens that are looked for in the text as it is (`before`), and after normalization. */
function splittersOf(added: readonly AddedToken[], normalize: (text: string) => string) {
  const raw = added.filter((token) => !token.normalized);
  const normalized = added.filter((token) => token.normalized);
  return {
    before: addedTokenSplitter(raw.map((token) => [token.content, token])),
    after: addedTokenSplitter(normalized.map((token) => [normalize(token.content), token])),
  } satisfies Record<string, Splitter>;
}

function bytesOfTokens(
  definition: TokenizerDefinition,
  vocabulary: Vocabulary,
  byteLevel: boolean,
  size: number,
): TokenBytes {
  const decoder = decoderOf(definition.json.decoder, byteLevel, definition.source);
  const utf8 = new TextEncoder();
  const nothing = new Uint8Array();
  const own = new Map(vocabulary.added.map((token) => [token.id, utf8.encode(token.content)]));
  const known: Uint8Array[] = [];
  return {
    size,
    special: new Set(vocabulary.added.filter((token) => token.special).map((token) => token.id)),
    stripsSpace: decoder.stripsSpace,
    bytesOf(id) {
      const token = vocabulary.tokens[id];
      known[id] ??= own.get(id) ?? (token === undefined ? nothing : decoder.bytesOf(token));
      return known[id];
    },
  };
}

/** Words seen before are looked up. Long ones are rare, so they are not kept. */
const LONGEST_KEPT = 64;
const MOST_KEPT = 1 << 16;

/** A function that appends the ids of one piece. */
function pieceEncoder(definition: TokenizerDefinition, vocabulary: Vocabulary, byteLevel: boolean) {
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
