/** What is done to a text before it is split: the `normalizer` of a tokenizer.json. */
import { bertNormalizer, lowerCase } from "./bert-text.js";
import { arrayAt, objectAt, shown, textAt, unsupported } from "./faults.js";
import { pattern } from "./patterns.js";

export type Normalizer = (text: string) => string;

export function normalizerOf(json: unknown, source: string, key = "normalizer"): Normalizer {
  if (json === null || json === undefined) return (text) => text;
  const config = objectAt(json, source, key);
  switch (config.type) {
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD": {
      const form = config.type;
      return (text) => text.normalize(form);
    }
    case "Lowercase":
      return lowerCase;
    case "StripAccents":
      return (text) => text.replace(/\p{Mn}/gu, "");
    case "BertNormalizer":
      return bertNormalizer(config);
    case "Prepend": {
      const prefix = textAt(config.prepend, source, `${key}.prepend`);
      return (text) => (text === "" ? text : prefix + text);
    }
    case "Replace": {
      const found = pattern(objectAt(config.pattern, source, `${key}.pattern`), source, `${key}.pattern`);
      const content = textAt(config.content, source, `${key}.content`);
      return (text) => text.replace(found, () => content);
    }
    case "Sequence": {
      const list = arrayAt(config.normalizers, source, `${key}.normalizers`);
      const steps = list.map((step, i) => normalizerOf(step, source, `${key}.normalizers[${i}]`));
      return (text) => steps.reduce((done, step) => step(done), text);
    }
  }
  throw unsupported(source, `${key}.type`, `got ${shown(config.type)}, supported: ${SUPPORTED}`);
}

const SUPPORTED = "NFC, NFD, NFKC, NFKD, Lowercase, StripAccents, BertNormalizer, Prepend, Replace, Sequence";
