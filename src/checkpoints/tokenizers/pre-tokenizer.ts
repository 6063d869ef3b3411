/**
 * Where a text is cut before merging: the `pre_tokenizer` of a tokenizer.json. No merge crosses a cut, so the same
 * merges with other cuts give other tokens.
 */
import { bertWords } from "./bert-text.js";
import { arrayAt, damaged, type JsonObject, objectAt, shown, textAt, unsupported } from "./faults.js";
import { literal, pattern } from "./patterns.js";

export interface PreTokenizer {
  /** Whether pieces are spelled in the byte alphabet, so that merging works on bytes and not on characters. */
  readonly bytes: boolean;
  /** `atStart`: nothing stands before `text`, no special token either. */
  split(text: string, atStart: boolean): readonly string[];
}

type Step = (pieces: readonly string[], atStart: boolean) => readonly string[];

/** The expression of GPT-2: contractions, words, numbers and the rest, each with the one space before it. */
const GPT2 =
  /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\p{White_Space}\p{L}\p{N}]+|\p{White_Space}+(?!\P{White_Space})|\p{White_Space}+/gu;

export function preTokenizerOf(json: unknown, source: string): PreTokenizer {
  const configs = flatten(json, source, "pre_tokenizer");
  const byteLevel = configs.findIndex(({ config }) => config.type === "ByteLevel");
  if (byteLevel >= 0 && byteLevel !== configs.length - 1) {
    throw unsupported(source, configs[byteLevel].key, "a step after ByteLevel would split the byte alphabet");
  }
  const steps = configs.map(({ config, key }) => stepOf(config, source, key));
  return {
    bytes: byteLevel >= 0,
    split: (text, atStart) => steps.reduce((pieces, step) => step(pieces, atStart), [text] as readonly string[]),
  };
}

/** The steps of a pre-tokenizer in order, sequences opened. */
export function flatten(json: unknown, source: string, key: string): { config: JsonObject; key: string }[] {
  if (json === null || json === undefined) return [];
  const config = objectAt(json, source, key);
  if (config.type !== "Sequence") return [{ config, key }];
  const list = arrayAt(config.pretokenizers, source, `${key}.pretokenizers`);
  return list.flatMap((step, i) => flatten(step, source, `${key}.pretokenizers[${i}]`));
}

function stepOf(config: JsonObject, source: string, key: string): Step {
  switch (config.type) {
    case "ByteLevel":
      return byteLevelStep(config);
    case "Split":
      return splitStep(config, source, key);
    case "Digits":
      return isolate(config.individual_digits === true ? /\p{N}/gu : /\p{N}+/gu);
    case "Metaspace":
      return metaspaceStep(config, source, key);
    case "BertPreTokenizer":
      return (pieces) => pieces.flatMap(bertWords);
  }
  throw unsupported(
    source,
    `${key}.type`,
    `got ${shown(config.type)}, supported: ByteLevel, Split, Digits, Metaspace, BertPreTokenizer`,
  );
}

function byteLevelStep(config: JsonObject): Step {
  const cut = config.use_regex === false ? undefined : isolate(GPT2);
  const prefixed = (piece: string) => (piece.startsWith(" ") ? piece : ` ${piece}`);
  return (pieces, atStart) => {
    const ready = config.add_prefix_space === true ? pieces.map(prefixed) : pieces;
    return cut ? cut(ready, atStart) : ready;
  };
}

function splitStep(config: JsonObject, source: string, key: string): Step {
  const found = pattern(objectAt(config.pattern, source, `${key}.pattern`), source, `${key}.pattern`);
  const behavior = textAt(config.behavior, source, `${key}.behavior`);
  if (behavior === "Isolated") return isolate(found);
  if (behavior === "Removed") {
    if (config.invert === true) return (pieces) => pieces.flatMap((piece) => piece.match(found) ?? []);
    return (pieces) => pieces.flatMap((piece) => piece.split(found).filter((part) => part !== ""));
  }
  throw unsupported(source, `${key}.behavior`, `got ${shown(behavior)}, supported: Isolated, Removed`);
}

/** Matches become pieces of their own; so does what lies between them. */
function isolate(found: RegExp): Step {
  return (pieces) => {
    const cut: string[] = [];
    for (const piece of pieces) {
      let end = 0;
      for (const match of piece.matchAll(found)) {
        if (match.index > end) cut.push(piece.slice(end, match.index));
        if (match[0] !== "") cut.push(match[0]);
        end = match.index + match[0].length;
      }
      if (end < piece.length) cut.push(piece.slice(end));
    }
    return cut;
  };
}

/** Spaces become "▁", one is put in front, and pieces begin at each of them unless `split` is false. */
function metaspaceStep(config: JsonObject, source: string, key: string): Step {
  const mark = textAt(config.replacement ?? "▁", source, `${key}.replacement`);
  if ([...mark].length !== 1) throw damaged(source, `${key}.replacement`, `wanted one character, got ${shown(mark)}`);
  const scheme = config.prepend_scheme ?? (config.add_prefix_space === false ? "never" : "always");
  const start = new RegExp(`(?=${literal(mark).source})`, "u");
  return (pieces, atStart) =>
    pieces.flatMap((piece, index) => {
      const marked = piece.replaceAll(" ", mark);
      const wanted = scheme === "always" || (scheme === "first" && atStart && index === 0);
      const text = wanted && !marked.startsWith(mark) ? mark + marked : marked;
      return config.split === false ? [text] : text.split(start);
    });
}
