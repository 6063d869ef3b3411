/**
 * A tokenizer as data, in the form of Hugging Face's files: the object of `tokenizer.json` says how text becomes ids,
 * its neighbours (`tokenizer_config.json`, `generation_config.json`, `config.json`) say which ids begin and end a text.
 * GGUF metadata is turned into the same form, so there is one tokenizer for both.
 */
import { arrayAt, damaged, idAt, type JsonObject, objectAt, shown, textAt, unsupported } from "./faults.js";
import { type Vocabulary, vocabularyOf } from "./vocabulary.js";

export interface TokenizerDefinition {
  /** The object of tokenizer.json. */
  readonly json: JsonObject;
  readonly bos?: number;
  /** Ids that end a generation, the main one first. */
  readonly eos: readonly number[];
  readonly unk?: number;
  readonly pad?: number;
  /** Whether `bos` goes in front of every text. */
  readonly addBos: boolean;
  /** Whether the first of `eos` goes behind every text. */
  readonly addEos: boolean;
  readonly chatTemplate?: string;
  /** Rows of the embedding, where the files say; they may be more than there are tokens. */
  readonly rows?: number;
  /** SentencePiece scores by id, where the file had them. */
  readonly scores?: readonly number[];
  /** The file it came from, for messages. */
  readonly source: string;
}

/** The parsed files of a Hugging Face folder; only the first is needed. */
export interface TokenizerFiles {
  readonly tokenizer: unknown;
  readonly tokenizerConfig?: unknown;
  readonly generationConfig?: unknown;
  readonly config?: unknown;
  /** The text of chat_template.jinja. */
  readonly chatTemplate?: string;
  /** The path of tokenizer.json, for messages. */
  readonly source?: string;
}

/**
 * Gathers what the files say. Special ids: tokenizer_config.json names them by text, the other two by number; the first
 * that speaks wins, and `eos` is all of them. A FileError names the key that is damaged.
 */
export function definitionFromFiles(files: TokenizerFiles): TokenizerDefinition {
  const source = files.source ?? "tokenizer.json";
  const json = objectAt(files.tokenizer, source, "(top)");
  const vocabulary = vocabularyOf(json, source);
  const named = objectAt(files.tokenizerConfig ?? {}, "tokenizer_config.json", "(top)");
  const numbered = [
    ["generation_config.json", files.generationConfig],
    ["config.json", files.config],
  ] as const;
  const lists = numbered.map(([name, file]) => [name, objectAt(file ?? {}, name, "(top)")] as const);
  const rows = numberOrNothing(lists[1][1].vocab_size);
  const find = (role: string) => [
    ...namedId(named[`${role}_token`], vocabulary, `${role}_token`),
    ...lists.flatMap(([name, file]) =>
      idList(file[`${role}_token_id`], name, `${role}_token_id`, rows ?? vocabulary.tokens.length),
    ),
  ];
  const bos = find("bos")[0];
  const eos = [...new Set(find("eos"))];
  const around = template(json, vocabulary, source);
  const addBos = booleanOr(named.add_bos_token, around.before !== undefined);
  const addEos = booleanOr(named.add_eos_token, around.after !== undefined);
  return {
    json,
    bos: around.before ?? bos,
    eos: around.after === undefined ? eos : [...new Set([around.after, ...eos])],
    unk: find("unk")[0] ?? namedId(objectAt(json.model, source, "model").unk_token, vocabulary, "model.unk_token")[0],
    pad: find("pad")[0],
    addBos: addBos && (around.before ?? bos) !== undefined,
    addEos: addEos && (around.after ?? eos[0]) !== undefined,
    chatTemplate: files.chatTemplate ?? chatTemplate(named.chat_template),
    rows,
    source,
  };
}

const numberOrNothing = (value: unknown) => (typeof value === "number" && Number.isInteger(value) ? value : undefined);
const booleanOr = (value: unknown, otherwise: boolean) => (typeof value === "boolean" ? value : otherwise);

/** The id of a token given as text or as `{ "content": text }`; none for null. */
function namedId(value: unknown, vocabulary: Vocabulary, key: string): number[] {
  if (value === null || value === undefined) return [];
  const content = typeof value === "string" ? value : objectAt(value, "tokenizer_config.json", key).content;
  const token = textAt(content, "tokenizer_config.json", key);
  const id = vocabulary.added.find((added) => added.content === token)?.id ?? vocabulary.ids.get(token);
  if (id !== undefined) return [id];
  throw damaged("tokenizer_config.json", key, `${shown(token)} is not in the vocabulary`);
}

/** Ids given as a number, a list of numbers, or null. */
function idList(value: unknown, file: string, key: string, limit: number): number[] {
  if (value === null || value === undefined) return [];
  return (Array.isArray(value) ? value : [value]).map((id) => idAt(id, limit, file, key));
}

function chatTemplate(value: unknown): string | undefined {
  if (value === null || value === undefined) return undefined;
  if (typeof value === "string") return value;
  const list = arrayAt(value, "tokenizer_config.json", "chat_template");
  const named = list.map((item) => objectAt(item, "tokenizer_config.json", "chat_template"));
  const chosen = named.find((item) => item.name === "default") ?? named[0];
  return chosen === undefined ? undefined : textAt(chosen.template, "tokenizer_config.json", "chat_template");
}

/** The special tokens that the post-processor puts before and after a text. */
function template(json: JsonObject, vocabulary: Vocabulary, source: string): { before?: number; after?: number } {
  for (const { config, key } of processors(json.post_processor, source, "post_processor")) {
    if (config.type === "ByteLevel") continue;
    if (config.type === "BertProcessing") {
      const [before, after] = [config.cls, config.sep].map((pair) =>
        idAt(arrayAt(pair, source, key)[1], vocabulary.tokens.length, source, key),
      );
      return { before, after };
    }
    if (config.type !== "TemplateProcessing") {
      throw unsupported(
        source,
        `${key}.type`,
        `got ${shown(config.type)}, supported: ByteLevel, BertProcessing, TemplateProcessing`,
      );
    }
    const parts = arrayAt(config.single, source, `${key}.single`).map((part) =>
      objectAt(part, source, `${key}.single`),
    );
    const text = parts.findIndex((part) => part.Sequence !== undefined);
    const around = [parts.slice(0, text), parts.slice(text + 1)];
    if (text < 0 || around.some((side) => side.length > 1 || side.some((part) => part.SpecialToken === undefined))) {
      throw unsupported(
        source,
        `${key}.single`,
        "supported: at most one special token before the text and one after it",
      );
    }
    const [before, after] = around.map((side) => side.map((part) => specialId(part, vocabulary, source, key))[0]);
    return { before, after };
  }
  return {};
}

function processors(json: unknown, source: string, key: string): { config: JsonObject; key: string }[] {
  if (json === null || json === undefined) return [];
  const config = objectAt(json, source, key);
  if (config.type !== "Sequence") return [{ config, key }];
  const list = arrayAt(config.processors, source, `${key}.processors`);
  return list.flatMap((step, i) => processors(step, source, `${key}.processors[${i}]`));
}

function specialId(part: JsonObject, vocabulary: Vocabulary, source: string, key: string): number {
  const name = objectAt(part.SpecialToken, source, `${key}.single`).id;
  const id = vocabulary.added.find((token) => token.content === name)?.id ?? vocabulary.ids.get(String(name));
  if (id === undefined) throw damaged(source, `${key}.single`, `${shown(name)} is not in the vocabulary`);
  return id;
}

/**
 * The files of a Hugging Face folder that hold a definition, by name: what `definitionFromFiles` reads back.
 * The special ids of config.json are the business of whoever writes that file.
 */
export function definitionFiles(definition: TokenizerDefinition): Readonly<Record<string, JsonObject>> {
  const { tokens } = vocabularyOf(definition.json, definition.source);
  const name = (id: number | undefined) => (id === undefined ? null : (tokens[id] ?? null));
  const { bos, eos, pad } = definition;
  return {
    "tokenizer.json": definition.json,
    "tokenizer_config.json": {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: name(bos),
      eos_token: name(eos[0]),
      unk_token: name(definition.unk),
      pad_token: name(pad),
      add_bos_token: definition.addBos,
      add_eos_token: definition.addEos,
      clean_up_tokenization_spaces: false,
      ...(definition.chatTemplate === undefined ? {} : { chat_template: definition.chatTemplate }),
    },
    "generation_config.json": {
      ...(bos === undefined ? {} : { bos_token_id: bos }),
      ...(eos.length === 0 ? {} : { eos_token_id: eos.length === 1 ? eos[0] : eos }),
      ...(pad === undefined ? {} : { pad_token_id: pad }),
    },
  };
}
