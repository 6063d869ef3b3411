/**
 * How BERT cleans a text and cuts it into words. Equal to Hugging Face's tokenizers for every character that Unicode 8 had;
 * their tables are that old, so marks and punctuation that came later (of some scripts of antiquity, mostly) are letters
 * there. Sources: google-research/bert, tokenization.py; tokenizers, normalizers/bert.rs and pre_tokenizers/bert.rs.
 */
import type { JsonObject } from "./faults.js";

/** Control characters, formats and private use; tabs and line ends are white space. */
const REMOVED = /(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/gu;

/** The blocks that bert.rs takes for Chinese characters (the fifth begins at U+2B920 there, not at U+2B820). */
const CHINESE =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** Lower case character by character: a sigma does not know whether it ends a word. */
export const lowerCase = (text: string): string => text.replaceAll("Σ", "σ").toLowerCase();

/** Accents removed: characters taken apart, nonspacing marks left out. */
const stripAccents = (text: string): string => text.normalize("NFD").replace(/\p{Mn}/gu, "");

export function bertNormalizer(config: JsonObject): (text: string) => string {
  const lower = config.lowercase !== false;
  const strip = typeof config.strip_accents === "boolean" ? config.strip_accents : lower;
  const steps = [
    config.clean_text !== false && ((text: string) => text.replace(REMOVED, "").replace(/\p{White_Space}/gu, " ")),
    config.handle_chinese_chars !== false && ((text: string) => text.replace(CHINESE, " $& ")),
    strip && stripAccents,
    lower && lowerCase,
  ].filter((step) => step !== false);
  return (text) => steps.reduce((done, step) => step(done), text);
}

/** White space parts words; a mark of punctuation (in ASCII: everything that is no letter or digit) is a word. */
const WORDS = /[\p{P}!-/:-@[-`{-~]|[^\p{White_Space}\p{P}!-/:-@[-`{-~]+/gu;

export const bertWords = (text: string): readonly string[] => text.match(WORDS) ?? [];
