/**
 * GGUF does not hold a pre-tokenizer, only its name (`tokenizer.ggml.pre`); what the name means is written in the
 * engine. These are the names that this version knows, each with the pre-tokenizer of tokenizer.json that it stands for.
 * Sources: llama.cpp, src/llama-vocab.cpp (names and expressions); the tokenizer.json files of the models.
 */
import { UnsupportedError } from "../../errors.js";
import { type Named, registry } from "../../registry.js";
import { type JsonObject, keyPlace, shown } from "./faults.js";
import { flatten } from "./pre-tokenizer.js";

export interface GgufPreTokenizer extends Named {
  /** What tokenizer.json has under `pre_tokenizer`. */
  readonly json: JsonObject;
  /** The `normalizer` that the models of this name have. llama.cpp leaves it out: it merges decomposed text as it is. */
  readonly normalizer: JsonObject | null;
  /** A piece that is a token is taken whole, however merging would have cut it. */
  readonly ignoreMerges: boolean;
  /** Whether engines put `bos` in front when the file does not say. */
  readonly addBos: boolean;
}

const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
const byteLevel = (use_regex: boolean) => ({
  type: "ByteLevel",
  add_prefix_space: false,
  trim_offsets: true,
  use_regex,
});
const sequence = (...pretokenizers: JsonObject[]) => ({ type: "Sequence", pretokenizers });

/** Words with one character before them, `digits` digits, other characters with the line ends after them, white space. */
const splitLlama3 = (digits: string) =>
  split(
    String.raw`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|${digits}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`,
  );

export const ggufPreTokenizers = registry<GgufPreTokenizer>("pre-tokenizer", [
  {
    name: "gpt-2",
    aliases: ["phi-2", "gigachat", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4", "a.x-4.0"],
    json: byteLevel(true),
    normalizer: null,
    ignoreMerges: false,
    addBos: false,
  },
  {
    name: "llama-bpe",
    aliases: ["llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
    json: sequence(splitLlama3(String.raw`\p{N}{1,3}`), byteLevel(false)),
    normalizer: null,
    ignoreMerges: true,
    addBos: true,
  },
  {
    name: "smaug-bpe",
    aliases: ["dbrx"],
    json: sequence(splitLlama3(String.raw`\p{N}{1,3}`), byteLevel(false)),
    normalizer: null,
    ignoreMerges: false,
    addBos: false,
  },
  {
    name: "qwen2",
    aliases: ["deepseek-r1-qwen", "megrez", "kormo", "f2llmv2", "stablelm2", "hunyuan", "solar-open"],
    json: sequence(splitLlama3(String.raw`\p{N}`), byteLevel(false)),
    normalizer: { type: "NFC" },
    ignoreMerges: false,
    addBos: false,
  },
  {
    name: "smollm",
    aliases: ["starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
    json: sequence({ type: "Digits", individual_digits: true }, byteLevel(true)),
    normalizer: null,
    ignoreMerges: false,
    addBos: false,
  },
]);

/** The record that a tokenizer.json follows; an UnsupportedError with the list of known names otherwise. */
export function detectPreTokenizer(json: JsonObject, ignoreMerges: boolean, source: string): GgufPreTokenizer {
  const wanted = signature(json.pre_tokenizer, source);
  const normalizer = json.normalizer as JsonObject | null | undefined;
  const known = ggufPreTokenizers.entries.find(
    (entry) => signature(entry.json, source) === wanted && entry.ignoreMerges === ignoreMerges,
  );
  // No normalizer, or one that composes characters, is the same to an engine that has none.
  if (known && (normalizer === null || normalizer === undefined || normalizer.type === "NFC")) return known;
  throw new UnsupportedError("GGUF has no name for this pre-tokenizer", {
    kind: "unsupported-tokenizer",
    where: keyPlace(source, known ? "normalizer" : "pre_tokenizer"),
    why: `got ${known ? shown(normalizer) : wanted}${ignoreMerges ? " with model.ignore_merges" : ""}, known: ${ggufPreTokenizers.names.join(", ")}`,
    try: "write a safetensors folder, which keeps tokenizer.json as it is",
  });
}

/** What matters of a pre-tokenizer, in one spelling. */
function signature(json: unknown, source: string): string {
  const steps = flatten(json, source, "pre_tokenizer").map(({ config }) => {
    if (config.type === "ByteLevel") return ["ByteLevel", config.add_prefix_space === true, config.use_regex !== false];
    if (config.type === "Digits") return ["Digits", config.individual_digits === true];
    if (config.type === "Split") return ["Split", config.pattern, config.behavior, config.invert === true];
    return config;
  });
  return JSON.stringify(steps);
}
