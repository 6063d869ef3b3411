/**
 * The tokenizer itself: added tokens are cut out of the text, the rest is normalized and cut into pieces, and each piece
 * becomes tokens as the model says: by merging (byte-pair.ts) or by the longest match (word-piece.ts).
 */
import { FileError, InputError } from "../../errors.js";
import type { EncodeOptions, Tokenizer } from "../tokenizer.js";
import { addedTokenSplitter, type Splitter } from "./added.js";
import { bytePairEncoder } from "./byte-pair.js";
import { decodeAll, decoderOf, type TokenBytes, tokenStream } from "./decoder.js";
import type { TokenizerDefinition } from "./definition.js";
import { normalizerOf } from "./normalizer.js";
import { preTokenizerOf } from "./pre-tokenizer.js";
import { type AddedToken, modelType, type Vocabulary, vocabularyOf } from "./vocabulary.js";
import { wordPieceEncoder } from "./word-piece.js";

/** A tokenizer from its definition; a FileError for damage, an UnsupportedError for kinds of model other than these two. */
export function tokenizerFromJson(definition: TokenizerDefinition): Tokenizer {
  const { json, source, bos, eos } = definition;
  const vocabulary = vocabularyOf(json, source);
  const size = Math.max(definition.rows ?? 0, vocabulary.tokens.length);
  checkSpecials(definition, size);
  const preTokenizer = preTokenizerOf(json.pre_tokenizer, source);
  const encodePiece =
    modelType(json, source) === "WordPiece"
      ? wordPieceEncoder(definition, vocabulary)
      : bytePairEncoder(definition, vocabulary, preTokenizer.bytes);
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
  const plain = decoder.takesAdded ? [] : vocabulary.added;
  const own = new Map(plain.map((token) => [token.id, utf8.encode(token.content)]));
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
