/**
 * WordPiece: of a word the longest beginning that is a token, then of the rest the longest that is a token for the inside
 * of words ("##ing"), and so on; a word with a rest that no token begins is unknown as a whole.
 * Sources: Wu et al. 2016, arXiv 1609.08144, section 4.1; google-research/bert, tokenization.py.
 */
import type { TokenizerDefinition } from "./definition.js";
import { damaged, type JsonObject, objectAt, shown, textAt, unsupported } from "./faults.js";
import type { Vocabulary } from "./vocabulary.js";

/** Longer words are not even looked at; in characters. */
const DEFAULT_LONGEST = 100;

/** What starts a token for the inside of words. */
export const INSIDE = "##";

/** The `model` of a tokenizer.json, checked to be the kind of WordPiece that this version runs. */
export function wordPieceModel(json: JsonObject, source: string): JsonObject {
  const model = objectAt(json.model, source, "model");
  const prefix = model.continuing_subword_prefix ?? INSIDE;
  if (prefix === INSIDE) return model;
  throw unsupported(source, "model.continuing_subword_prefix", `got ${shown(prefix)}, supported: "${INSIDE}"`);
}

/** A function that appends the ids of one word. */
export function wordPieceEncoder({ json, source }: TokenizerDefinition, { ids, tokens }: Vocabulary) {
  const model = wordPieceModel(json, source);
  const name = textAt(model.unk_token ?? "[UNK]", source, "model.unk_token");
  const unknown = ids.get(name);
  if (unknown === undefined) throw damaged(source, "model.unk_token", `${shown(name)} is not in the vocabulary`);
  const limit = model.max_input_chars_per_word ?? DEFAULT_LONGEST;
  const longest = tokens.reduce((most, token) => Math.max(most, token?.length ?? 0), 0);

  /** The end of the longest token that starts at `start`, and its id. */
  const longestAt = (word: string, start: number) => {
    for (let end = Math.min(word.length, start + longest); end > start; end--) {
      const id = ids.get((start > 0 ? INSIDE : "") + word.slice(start, end));
      if (id !== undefined) return { id, end };
    }
    return undefined;
  };
  return (word: string, out: number[]): void => {
    const begin = out.length;
    if (word.length > Number(limit) && [...word].length > Number(limit)) out.push(unknown);
    else {
      for (let at = 0; at < word.length; ) {
        const found = longestAt(word, at);
        if (!found) {
          out.length = begin;
          out.push(unknown);
          return;
        }
        out.push(found.id);
        at = found.end;
      }
    }
  };
}

/** The settings of a tokenizer_config.json that has no tokenizer.json beside it. */
interface BertSettings {
  readonly do_lower_case?: unknown;
  readonly strip_accents?: unknown;
  readonly tokenize_chinese_chars?: unknown;
}

const SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/** What transformers makes of a vocab.txt, one token a line, and the settings beside it: the object of a tokenizer.json. */
export function bertJson(tokens: readonly string[], settings: BertSettings = {}): JsonObject {
  const vocab = new Map(tokens.map((token, id) => [token, id]));
  const idOf = (token: string) => vocab.get(token) ?? -1;
  const around = (token: string) => ({ SpecialToken: { id: token, type_id: 0 } });
  const text = { Sequence: { id: "A", type_id: 0 } };
  const special = (token: string) => ({ id: token, ids: [idOf(token)], tokens: [token] });
  return {
    version: "1.0",
    added_tokens: SPECIALS.filter((token) => vocab.has(token)).map((content) => {
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
      return { id: idOf(content), content, ...flags };
    }),
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: settings.tokenize_chinese_chars !== false,
      strip_accents: settings.strip_accents ?? null,
      lowercase: settings.do_lower_case !== false,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: {
      type: "TemplateProcessing",
      single: [around("[CLS]"), text, around("[SEP]")],
      pair: [around("[CLS]"), text, around("[SEP]")],
      special_tokens: { "[CLS]": special("[CLS]"), "[SEP]": special("[SEP]") },
    },
    decoder: { type: "WordPiece", prefix: INSIDE, cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: INSIDE,
      max_input_chars_per_word: DEFAULT_LONGEST,
      vocab: Object.fromEntries(vocab),
    },
  };
}
