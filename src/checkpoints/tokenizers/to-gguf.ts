/** Writing a tokenizer as GGUF metadata, `tokenizer.ggml.*`: the way back from from-gguf.ts. */
import { FileError, UnsupportedError } from "../../errors.js";
import type { Metadata } from "../checkpoint.js";
import { fallbackByte } from "./decoder.js";
import type { TokenizerDefinition } from "./definition.js";
import { arrayAt, type JsonObject, keyPlace, shown } from "./faults.js";
import { BYTE, CONTROL, MARK, NORMAL, PREFIX, UNKNOWN, UNUSED, USER_DEFINED } from "./gguf-keys.js";
import { detectPreTokenizer } from "./gguf-pre-tokenizers.js";
import { flatten, preTokenizerOf } from "./pre-tokenizer.js";
import { scoresFromMerges } from "./sentencepiece.js";
import { bpeModel, mergeHalves, modelType, type Vocabulary, vocabularyOf } from "./vocabulary.js";
import { INSIDE } from "./word-piece.js";

/**
 * The keys of a GGUF file for this tokenizer, complete for engines. `rows` is the number of rows of the embedding;
 * tokens are filled up to it with unused ones called "[PADn]". An UnsupportedError if GGUF cannot say what the
 * tokenizer does, a FileError if there are more tokens than rows.
 */
export function ggufTokenizerMetadata(definition: TokenizerDefinition, rows = definition.rows ?? 0): Metadata {
  const { json, source, bos, eos, unk, pad } = definition;
  const vocabulary = vocabularyOf(json, source);
  const count = vocabulary.tokens.length;
  if (rows > 0 && count > rows) {
    const why = `the tokenizer has ${count} tokens, the embedding ${rows} rows`;
    throw new FileError("tokenizer and model do not belong together", {
      kind: "vocabulary-mismatch",
      where: source,
      why,
    });
  }
  const size = Math.max(rows, count);
  if (modelType(json, source) === "WordPiece") return bertKeys(definition, vocabulary, size);
  const merges = arrayAt(bpeModel(json, source).merges, source, "model.merges").map((merge, rank) =>
    mergeHalves(merge, rank, source),
  );
  const byteLevel = preTokenizerOf(json.pre_tokenizer, source).bytes;
  const id = (name: string, value: number | undefined) =>
    value === undefined ? {} : { [`${PREFIX}${name}_token_id`]: value };
  return {
    ...(byteLevel ? byteLevelKeys(definition, merges) : sentencePieceKeys(definition, vocabulary, merges, size)),
    [`${PREFIX}tokens`]: paddedTokens(vocabulary, size),
    [`${PREFIX}token_type`]: typesOf(vocabulary, byteLevel, unk, size),
    ...id("bos", bos),
    ...id("eos", eos[0]),
    ...id("eot", eos[1]),
    ...id("eom", eos[2]),
    ...id("unknown", unk),
    ...id("padding", pad),
    [`${PREFIX}add_bos_token`]: definition.addBos,
    [`${PREFIX}add_eos_token`]: definition.addEos,
    ...(definition.chatTemplate === undefined ? {} : { "tokenizer.chat_template": definition.chatTemplate }),
  };
}

/**
 * WordPiece with phantom spaces (see from-gguf.ts). What begins and ends a text has two keys each, because engines have
 * changed their mind about the name; "seperator" is spelled so.
 */
function bertKeys({ json, source, bos, eos, unk, pad }: TokenizerDefinition, vocabulary: Vocabulary, size: number) {
  const normalizer = (json.normalizer ?? {}) as JsonObject;
  const pre = flatten(json.pre_tokenizer, source, "pre_tokenizer").map(({ config }) => config.type);
  const { type, clean_text = true, handle_chinese_chars = true, lowercase = true, strip_accents } = normalizer;
  if (
    type !== "BertNormalizer" ||
    clean_text !== true ||
    handle_chinese_chars !== true ||
    `${pre}` !== "BertPreTokenizer"
  ) {
    const why = `got ${shown(normalizer)} and ${shown(pre)}, wanted BertNormalizer and BertPreTokenizer`;
    throw notInGguf(source, "normalizer, pre_tokenizer", why);
  }
  const types = typesOf(vocabulary, true, unk, size);
  const tokens = paddedTokens(vocabulary, size).map((token, id) => {
    if (types[id] === CONTROL) return token;
    return token.startsWith(INSIDE) ? token.slice(INSIDE.length) : MARK + token;
  });
  const ids = { bos, cls: bos, eos: eos[0], seperator: eos[0], unknown: unk, padding: pad };
  const mask = vocabulary.ids.get("[MASK]");
  return {
    [`${PREFIX}model`]: "bert",
    [`${PREFIX}pre`]: "default",
    [`${PREFIX}tokens`]: tokens,
    [`${PREFIX}token_type`]: types,
    [`${PREFIX}normalizer.lowercase`]: lowercase === true,
    [`${PREFIX}normalizer.strip_accents`]: typeof strip_accents === "boolean" ? strip_accents : lowercase === true,
    ...Object.fromEntries(
      Object.entries({ ...ids, mask }).flatMap(([name, id]) =>
        id === undefined ? [] : [[`${PREFIX}${name}_token_id`, id]],
      ),
    ),
  };
}

function byteLevelKeys(
  { json, source }: TokenizerDefinition,
  merges: readonly (readonly [string, string])[],
): Metadata {
  const pre = detectPreTokenizer(json, bpeModel(json, source).ignore_merges === true, source);
  return {
    [`${PREFIX}model`]: "gpt2",
    [`${PREFIX}pre`]: pre.name,
    [`${PREFIX}merges`]: merges.map((halves) => halves.join(" ")),
    [`${PREFIX}add_space_prefix`]: false,
  };
}

function sentencePieceKeys(
  definition: TokenizerDefinition,
  vocabulary: Vocabulary,
  merges: readonly (readonly [string, string])[],
  size: number,
): Metadata {
  const { json, source } = definition;
  const spacePrefix = sentencePiecePrefix(definition, vocabulary);
  const own = new Map(
    [...vocabulary.ids].filter(([token]) => !vocabulary.added.some((added) => added.content === token)),
  );
  const scores = definition.scores ?? scoresFromMerges(own, merges, size);
  if (typeof scores === "string") {
    throw notInGguf(source, "model.merges", scores);
  }
  if (bpeModel(json, source).byte_fallback !== true) {
    throw notInGguf(source, "model.byte_fallback", "engines spell unknown characters in bytes");
  }
  return {
    [`${PREFIX}model`]: "llama",
    [`${PREFIX}pre`]: "default",
    [`${PREFIX}scores`]: Array.from({ length: size }, (_, id) => scores[id] ?? 0),
    [`${PREFIX}add_space_prefix`]: spacePrefix,
  };
}

/** Whether a space is put before every text; an UnsupportedError unless the steps are SentencePiece's. */
function sentencePiecePrefix({ json, source }: TokenizerDefinition, vocabulary: Vocabulary): boolean {
  const inner = [...vocabulary.ids.keys()].some((token) => token.lastIndexOf(MARK) > 0);
  const normalizers = sequenceOf(json.normalizer, "normalizers");
  const pre = flatten(json.pre_tokenizer, source, "pre_tokenizer").map(({ config }) => config);
  const isPrefix = (step: JsonObject) => step.type === "Prepend" && step.prepend === MARK;
  const isReplace = (step: JsonObject) =>
    step.type === "Replace" && step.content === MARK && shown(step.pattern) === shown({ String: " " });
  const isMetaspace = (step: JsonObject) =>
    step.type === "Metaspace" && (step.replacement ?? MARK) === MARK && (step.split === false || !inner);
  const replaces = normalizers.some(isReplace) || pre.some(isMetaspace);
  if (replaces && pre.every(isMetaspace) && normalizers.every((step) => isPrefix(step) || isReplace(step))) {
    return normalizers.some(isPrefix) || pre.some((step) => (step.prepend_scheme ?? "always") !== "never");
  }
  throw notInGguf(source, "normalizer, pre_tokenizer", `got ${shown(normalizers)} and ${shown(pre)}`);
}

function sequenceOf(json: unknown, key: string): readonly JsonObject[] {
  if (json === null || json === undefined) return [];
  const config = json as JsonObject;
  return config.type === "Sequence" ? (config[key] as readonly JsonObject[]) : [config];
}

function notInGguf(source: string, key: string, why: string): UnsupportedError {
  return new UnsupportedError("GGUF cannot say what this tokenizer does", {
    kind: "unsupported-tokenizer",
    where: keyPlace(source, key),
    why,
    try: "write a safetensors folder, which keeps tokenizer.json as it is",
  });
}

function paddedTokens({ tokens, ids }: Vocabulary, size: number): string[] {
  return Array.from({ length: size }, (_, id) => {
    const token = tokens[id];
    if (token !== undefined) return token;
    const name = `[PAD${id}]`;
    return ids.has(name) ? `${name}*` : name;
  });
}

function typesOf({ tokens, added }: Vocabulary, byteLevel: boolean, unk: number | undefined, size: number): number[] {
  const types = Array.from({ length: size }, (_, id): number => {
    const token = tokens[id];
    if (token === undefined) return UNUSED;
    return !byteLevel && fallbackByte(token) ? BYTE : NORMAL;
  });
  for (const { id, special } of added) types[id] = special ? CONTROL : USER_DEFINED;
  if (!byteLevel && unk !== undefined) types[unk] = UNKNOWN;
  return types;
}
