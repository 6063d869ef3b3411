/**
 * Reading the tokenizer in GGUF metadata, `tokenizer.ggml.*`. Of the kinds here, "gpt2" is byte-level BPE with merges and a
 * named pre-tokenizer, "llama" is SentencePiece's BPE with scores, "bert" is WordPiece.
 * Sources: ggml, docs/gguf.md; gguf-py, constants.py; llama.cpp, src/llama-vocab.cpp (what engines assume).
 */
import { UnsupportedError } from "../../errors.js";
import type { Metadata, MetadataValue } from "../checkpoint.js";
import type { Tokenizer } from "../tokenizer.js";
import type { TokenizerDefinition } from "./definition.js";
import { arrayAt, damaged, idAt, type JsonObject, keyPlace, shown, textAt } from "./faults.js";
import { tokenizerFromJson } from "./from-json.js";
import { BYTE, CONTROL, MARK, NORMAL, PREFIX, UNKNOWN, UNUSED, USER_DEFINED } from "./gguf-keys.js";
import { type GgufPreTokenizer, ggufPreTokenizers } from "./gguf-pre-tokenizers.js";
import { mergesFromScores } from "./sentencepiece.js";
import { mergeHalves } from "./vocabulary.js";
import { bertJson, INSIDE } from "./word-piece.js";

/** The ids that engines assume for SentencePiece vocabularies when the file does not name them. */
const SENTENCEPIECE_IDS = { bos: 1, eos: 2, unk: 0 };

export function tokenizerFromGguf(metadata: Metadata, source = "GGUF metadata"): Tokenizer {
  return tokenizerFromJson(definitionFromGguf(metadata, source));
}

/** The same tokenizer in the form of Hugging Face's files; a FileError names the key that is missing or damaged. */
export function definitionFromGguf(metadata: Metadata, source = "GGUF metadata"): TokenizerDefinition {
  const model = textAt(required(metadata, "model", source), source, `${PREFIX}model`);
  if (model === "bert") return bertDefinition(metadata, source);
  if (model !== "gpt2" && model !== "llama") {
    throw new UnsupportedError("the tokenizer is of a kind that is not supported", {
      kind: "unsupported-tokenizer",
      where: keyPlace(source, `${PREFIX}model`),
      why: `got ${shown(model)}, supported: "gpt2", "llama", "bert"`,
    });
  }
  const tokens = textsAt(metadata, "tokens", source);
  const types = tokenTypes(metadata, tokens.length, source);
  const pre = model === "gpt2" ? namedPreTokenizer(metadata, source) : undefined;
  const specials = specialIds(metadata, tokens.length, pre ? {} : SENTENCEPIECE_IDS, source);
  const flag = (key: string, otherwise: boolean) => flagAt(metadata, key, otherwise, source);
  const addBos = flag("add_bos_token", pre ? pre.addBos : true);
  const addEos = flag("add_eos_token", false);
  if (addBos && specials.bos === undefined) throw damaged(source, `${PREFIX}bos_token_id`, "add_bos_token needs it");
  if (addEos && specials.eos.length === 0) throw damaged(source, `${PREFIX}eos_token_id`, "add_eos_token needs it");
  const ids = vocabularyIds(tokens, types, source);
  const scores = pre ? undefined : scoresAt(metadata, tokens.length, source);
  const around = {
    before: addBos && specials.bos !== undefined ? tokens[specials.bos] : undefined,
    after: addEos ? tokens[specials.eos[0]] : undefined,
    id: (token: string) => tokens.indexOf(token),
  };
  const parts = pre
    ? byteLevelJson(pre, mergesAt(metadata, ids, source), around)
    : sentencePieceJson(ids, types, scores ?? [], tokens[specials.unk ?? -1], flag("add_space_prefix", true), around);
  const added = addedTokens(tokens, types);
  // The model's vocabulary has the added tokens too: Hugging Face's tokenizers would give them other ids otherwise.
  const vocab = Object.fromEntries([...ids, ...added.map(({ content, id }) => [content, id] as const)]);
  const template = metadata["tokenizer.chat_template"];
  return {
    json: { version: "1.0", added_tokens: added, ...parts, model: { ...parts.model, vocab } },
    ...specials,
    addBos,
    addEos,
    chatTemplate: template === undefined ? undefined : textAt(template, source, "tokenizer.chat_template"),
    rows: tokens.length,
    scores,
    source,
  };
}

/** What engines assume of WordPiece vocabularies: those of the first BERT. */
const BERT_IDS = { bos: 101, eos: 102, unk: 100 };

/**
 * WordPiece as GGUF spells it: "##ing" stands there as "ing" and "whale" as "▁whale" (a phantom space), only control tokens
 * are as they were.
 */
function bertDefinition(metadata: Metadata, source: string): TokenizerDefinition {
  const spelled = textsAt(metadata, "tokens", source);
  const types = tokenTypes(metadata, spelled.length, source);
  const specials = specialIds(metadata, spelled.length, BERT_IDS, source);
  const own = new Set([specials.bos, specials.unk, specials.pad, ...specials.eos]);
  const tokens = spelled.map((token, id) => {
    if (types[id] === CONTROL || own.has(id)) return token;
    return token.startsWith(MARK) ? token.slice(MARK.length) : INSIDE + token;
  });
  const json = bertJson(tokens, {
    do_lower_case: flagAt(metadata, "normalizer.lowercase", true, source),
    strip_accents: flagAt(metadata, "normalizer.strip_accents", true, source),
  });
  return { json, ...specials, addBos: true, addEos: true, rows: tokens.length, source };
}

function flagAt(metadata: Metadata, key: string, otherwise: boolean, source: string): boolean {
  const value = metadata[PREFIX + key];
  if (value === undefined || typeof value === "boolean") return value ?? otherwise;
  throw damaged(source, PREFIX + key, `wanted true or false, got ${shown(value)}`);
}

function required(metadata: Metadata, key: string, source: string): MetadataValue {
  const value = metadata[PREFIX + key];
  if (value === undefined) throw damaged(source, PREFIX + key, "it is missing");
  return value;
}

function textsAt(metadata: Metadata, key: string, source: string): readonly string[] {
  const list = arrayAt(required(metadata, key, source), source, PREFIX + key);
  const wrong = list.findIndex((item) => typeof item !== "string");
  if (wrong >= 0) throw damaged(source, `${PREFIX}${key}[${wrong}]`, `wanted a text, got ${shown(list[wrong])}`);
  return list as readonly string[];
}

/** An array of numbers, one per token; undefined where the key is absent. */
function numbersAt(metadata: Metadata, key: string, count: number, source: string): readonly number[] | undefined {
  const value = metadata[PREFIX + key];
  if (value === undefined) return undefined;
  const list = arrayAt(value, source, PREFIX + key);
  if (list.length !== count) {
    throw damaged(source, PREFIX + key, `it has ${list.length} items, ${PREFIX}tokens has ${count}`);
  }
  const wrong = list.findIndex((item) => typeof item !== "number" || Number.isNaN(item));
  if (wrong >= 0) throw damaged(source, `${PREFIX}${key}[${wrong}]`, `wanted a number, got ${shown(list[wrong])}`);
  return list as readonly number[];
}

function tokenTypes(metadata: Metadata, count: number, source: string): readonly number[] {
  const types = numbersAt(metadata, "token_type", count, source) ?? new Array<number>(count).fill(NORMAL);
  const wrong = types.findIndex((type) => !(Number.isInteger(type) && type >= 0 && type <= BYTE));
  if (wrong < 0) return types;
  throw damaged(source, `${PREFIX}token_type[${wrong}]`, `wanted 0 to ${BYTE}, got ${types[wrong]}`);
}

function scoresAt(metadata: Metadata, count: number, source: string): readonly number[] {
  const scores = numbersAt(metadata, "scores", count, source);
  if (scores === undefined) throw damaged(source, `${PREFIX}scores`, "it is missing");
  return scores;
}

function namedPreTokenizer(metadata: Metadata, source: string): GgufPreTokenizer {
  const name = textAt(required(metadata, "pre", source), source, `${PREFIX}pre`);
  const known = ggufPreTokenizers.find(name);
  if (known) return known;
  throw new UnsupportedError(`the pre-tokenizer ${shown(name)} is not supported`, {
    kind: "unsupported-tokenizer",
    where: keyPlace(source, `${PREFIX}pre`),
    why: `known: ${ggufPreTokenizers.names.join(", ")}`,
  });
}

function specialIds(
  metadata: Metadata,
  count: number,
  assumed: { readonly bos?: number; readonly eos?: number; readonly unk?: number },
  source: string,
) {
  const id = (name: string, otherwise?: number) => {
    const value = metadata[`${PREFIX}${name}_token_id`];
    if (value !== undefined) return idAt(value, count, source, `${PREFIX}${name}_token_id`);
    return otherwise !== undefined && otherwise < count ? otherwise : undefined;
  };
  const ends = [id("eos", assumed.eos), id("eot"), id("eom")].filter((end) => end !== undefined);
  return {
    bos: id("bos", assumed.bos),
    eos: [...new Set(ends)],
    unk: id("unknown", assumed.unk),
    pad: id("padding"),
  };
}

/** The tokens that merging can use. Unused rows that converters fill up with are none. */
function vocabularyIds(tokens: readonly string[], types: readonly number[], source: string): Map<string, number> {
  const seen = new Set<string>();
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (token === "") return;
    if (seen.has(token)) throw damaged(source, `${PREFIX}tokens[${id}]`, `${shown(token)} stands there twice`);
    seen.add(token);
    const type = types[id];
    if (type === CONTROL || type === USER_DEFINED || type === UNKNOWN) return;
    if (type === UNUSED && token === `[PAD${id}]`) return;
    ids.set(token, id);
  });
  return ids;
}

function mergesAt(metadata: Metadata, ids: ReadonlyMap<string, number>, source: string): readonly string[] {
  const merges = textsAt(metadata, "merges", source);
  merges.forEach((merge, rank) => {
    const [left, right] = mergeHalves(merge, rank, source, `${PREFIX}merges`);
    const unknown = [left, right, left + right].find((token) => !ids.has(token));
    if (unknown === undefined) return;
    throw damaged(source, `${PREFIX}merges[${rank}]`, `${shown(unknown)} is not in ${PREFIX}tokens`);
  });
  return merges;
}

function addedTokens(tokens: readonly string[], types: readonly number[]) {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return tokens.flatMap((content, id) => {
    const special = types[id] === CONTROL || types[id] === UNKNOWN;
    if (content === "" || !(special || types[id] === USER_DEFINED)) return [];
    return [{ id, content, ...flags, special }];
  });
}

interface Around {
  readonly before?: string;
  readonly after?: string;
  id(token: string): number;
}

/** A template that puts special tokens around a text, or what tokenizer.json has without one. */
function postProcessor({ before, after, id }: Around, otherwise: JsonObject | null): JsonObject | null {
  const names = [before, after].filter((name) => name !== undefined);
  if (names.length === 0) return otherwise;
  const part = (name: string | undefined, type_id: number) =>
    name === undefined ? [] : [{ SpecialToken: { id: name, type_id } }];
  const text = (name: string, type_id: number) => ({ Sequence: { id: name, type_id } });
  const single = [...part(before, 0), text("A", 0), ...part(after, 0)];
  return {
    type: "TemplateProcessing",
    single,
    pair: [...single, ...part(before, 1), text("B", 1), ...part(after, 1)],
    special_tokens: Object.fromEntries(names.map((name) => [name, { id: name, ids: [id(name)], tokens: [name] }])),
  };
}

const BPE = { type: "BPE", dropout: null, continuing_subword_prefix: null, end_of_word_suffix: null };

function byteLevelJson(pre: GgufPreTokenizer, merges: readonly string[], around: Around) {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    normalizer: pre.normalizer,
    pre_tokenizer: pre.json,
    post_processor: postProcessor(around, { ...byteLevel, trim_offsets: false }),
    decoder: byteLevel,
    model: {
      ...BPE,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: pre.ignoreMerges,
      merges,
    },
  };
}

function sentencePieceJson(
  ids: ReadonlyMap<string, number>,
  types: readonly number[],
  scores: readonly number[],
  unk: string | undefined,
  spacePrefix: boolean,
  around: Around,
) {
  const replace = { type: "Replace", pattern: { String: " " }, content: MARK };
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  const back = [{ ...replace, pattern: { String: MARK }, content: " " }, { type: "ByteFallback" }, { type: "Fuse" }];
  const mergeable = new Map([...ids].filter(([, id]) => types[id] !== BYTE && types[id] !== UNUSED));
  return {
    normalizer: {
      type: "Sequence",
      normalizers: spacePrefix ? [{ type: "Prepend", prepend: MARK }, replace] : [replace],
    },
    pre_tokenizer: null,
    post_processor: postProcessor(around, null),
    decoder: { type: "Sequence", decoders: spacePrefix ? [...back, strip] : back },
    model: {
      ...BPE,
      unk_token: unk ?? null,
      fuse_unk: true,
      byte_fallback: types.includes(BYTE),
      ignore_merges: false,
      merges: mergesFromScores(mergeable, scores),
    },
  };
}
