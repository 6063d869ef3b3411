/** Tokenizers: from tokenizer.json, from GGUF metadata, and into both. */

export {
  definitionFiles,
  definitionFromFiles,
  type TokenizerDefinition,
  type TokenizerFiles,
} from "./definition.js";
export { definitionFromGguf, tokenizerFromGguf } from "./from-gguf.js";
export { tokenizerFromJson } from "./from-json.js";
export { type GgufPreTokenizer, ggufPreTokenizers } from "./gguf-pre-tokenizers.js";
export { definitionFromFolder, openDefinition, openTokenizer } from "./open.js";
export { ggufTokenizerMetadata } from "./to-gguf.js";
