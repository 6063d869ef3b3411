/** The vocabulary of a tokenizer.json: tokens by id, ids by token, added tokens, and the merges as a table. */
import { arrayAt, damaged, idAt, isId, type JsonObject, objectAt, shown, textAt, unsupported } from "./faults.js";
import type { MergeTable } from "./merge.js";
import { wordPieceModel } from "./word-piece.js";

/** A token that is found in the text before anything else is done to it. */
export interface AddedToken {
  readonly id: number;
  readonly content: string;
  /** A control token: not part of any text, recognised only on request. */
  readonly special: boolean;
  /** Looked for after normalization, not before. */
  readonly normalized: boolean;
  /** Swallows the white space on its left. */
  readonly leftStrip: boolean;
  /** Swallows the white space on its right. */
  readonly rightStrip: boolean;
  /** Matches only between characters that are no word characters. */
  readonly singleWord: boolean;
}

export interface Vocabulary {
  /** Tokens by id, as the file spells them; undefined where an id is not used. */
  readonly tokens: readonly (string | undefined)[];
  /** Ids of the model's own tokens, added tokens left out unless the model has them too. */
  readonly ids: ReadonlyMap<string, number>;
  readonly added: readonly AddedToken[];
}

/** How many unused ids are believed: rows of embeddings are padded, but not a thousandfold. */
const MOST_GAPS = 1 << 16;

/** What `model.type` says. Old files of BPE leave it out. */
export function modelType(json: JsonObject, source: string): "BPE" | "WordPiece" {
  const model = objectAt(json.model, source, "model");
  const { type } = model;
  if (type === "BPE" || type === "WordPiece") return type;
  if (type === undefined && model.vocab !== undefined && model.merges !== undefined) return "BPE";
  throw unsupported(source, "model.type", `got ${shown(type)}, supported: "BPE", "WordPiece"`);
}

/** The `model` of a tokenizer.json, checked to be the kind of BPE that this version runs. */
export function bpeModel(json: JsonObject, source: string): JsonObject {
  const model = objectAt(json.model, source, "model");
  if (modelType(json, source) !== "BPE") throw unsupported(source, "model.type", `got ${shown(model.type)}`);
  for (const key of ["continuing_subword_prefix", "end_of_word_suffix", "dropout"]) {
    const value = model[key];
    if (value !== undefined && value !== null && value !== "" && value !== 0) {
      throw unsupported(source, `model.${key}`, `got ${shown(value)}, supported: none`);
    }
  }
  return model;
}

/** A large vocabulary takes a quarter of a second to go through, and defining, running and writing each need it. */
const known = new WeakMap<JsonObject, Vocabulary>();

export function vocabularyOf(json: JsonObject, source: string): Vocabulary {
  const vocabulary = known.get(json) ?? readVocabulary(json, source);
  known.set(json, vocabulary);
  return vocabulary;
}

function readVocabulary(json: JsonObject, source: string): Vocabulary {
  const model = modelType(json, source) === "BPE" ? bpeModel(json, source) : wordPieceModel(json, source);
  const entries = Object.entries(objectAt(model.vocab, source, "model.vocab"));
  if (entries.length === 0) throw damaged(source, "model.vocab", "it is empty");
  const added = addedTokens(json.added_tokens ?? [], source, entries.length);
  const idLimit = entries.length + added.length + MOST_GAPS;
  const tokens = new Array<string | undefined>(entries.length + added.length).fill(undefined);
  const ids = new Map<string, number>();
  let size = 0;
  const place = (id: number, token: string, key: string) => {
    const taken = tokens[id];
    if (taken !== undefined) throw damaged(source, key, `${shown(taken)} and ${shown(token)} share the id ${id}`);
    tokens[id] = token;
    size = Math.max(size, id + 1);
  };
  for (const [token, value] of entries) {
    if (!isId(value, idLimit)) idAt(value, idLimit, source, `model.vocab[${shown(token)}]`);
    ids.set(token, value as number);
    place(value as number, token, "model.vocab");
  }
  for (const { id, content } of added) {
    const same = ids.get(content);
    if (same === undefined) place(id, content, "added_tokens");
    else if (same !== id) {
      throw damaged(source, "added_tokens", `${shown(content)} has the id ${id} here and ${same} in model.vocab`);
    }
  }
  return { tokens: Array.from({ length: size }, (_, id) => tokens[id]), ids, added };
}

function addedTokens(value: unknown, source: string, known: number): AddedToken[] {
  const list = arrayAt(value, source, "added_tokens");
  return list.map((item, index) => {
    const key = `added_tokens[${index}]`;
    const token = objectAt(item, source, key);
    const content = textAt(token.content, source, `${key}.content`);
    if (content === "") throw damaged(source, `${key}.content`, "it is empty");
    const special = token.special === true;
    return {
      id: idAt(token.id, known + list.length + MOST_GAPS, source, `${key}.id`),
      content,
      special,
      normalized: typeof token.normalized === "boolean" ? token.normalized : !special,
      leftStrip: token.lstrip === true,
      rightStrip: token.rstrip === true,
      singleWord: token.single_word === true,
    };
  });
}

/** One merge as its two halves, from either of the two spellings: "a b" and ["a", "b"]. */
export function mergeHalves(
  merge: unknown,
  rank: number,
  source: string,
  key = "model.merges",
): readonly [string, string] {
  if (typeof merge === "string") {
    const space = merge.indexOf(" ");
    if (space >= 0 && space === merge.lastIndexOf(" ")) return [merge.slice(0, space), merge.slice(space + 1)];
  } else if (Array.isArray(merge) && merge.length === 2) {
    const [left, right] = merge as unknown[];
    if (typeof left === "string" && typeof right === "string") return [left, right];
  }
  throw damaged(source, `${key}[${rank}]`, `wanted two tokens, got ${shown(merge)}`);
}

/**
 * The merges by pair of ids. Merges that would make a special token are left out: only a text in which special tokens
 * are looked for may hold one.
 */
export function mergeTable(json: JsonObject, vocabulary: Vocabulary, source: string): MergeTable {
  const list = arrayAt(bpeModel(json, source).merges, source, "model.merges");
  const { ids, tokens, added } = vocabulary;
  const special = new Set(added.filter((token) => token.special).map((token) => token.id));
  const idLimit = tokens.length;
  const rankOf = new Map<number, number>();
  const mergedId = new Int32Array(list.length);
  const idOf = (token: string, rank: number) => {
    const id = ids.get(token);
    if (id !== undefined) return id;
    throw damaged(source, `model.merges[${rank}]`, `${shown(token)} is not in the vocabulary`);
  };
  list.forEach((merge, rank) => {
    const [left, right] = mergeHalves(merge, rank, source);
    const pair = idOf(left, rank) * idLimit + idOf(right, rank);
    mergedId[rank] = idOf(left + right, rank);
    if (!special.has(mergedId[rank])) rankOf.set(pair, rank);
  });
  return { idLimit, rankOf, mergedId };
}
