import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { definitionFiles, definitionFromFiles, type TokenizerDefinition } from "./definition.js";
import type { JsonObject } from "./faults.js";
import { definitionFromGguf, tokenizerFromGguf } from "./from-gguf.js";
import { tokenizerFromJson } from "./from-json.js";
import { ggufTokenizerMetadata } from "./to-gguf.js";

/** ids with special tokens, ids of the plain text, text of the first ids with and without special tokens. */
type Case = readonly [parsed: number[], plain: number[], text: string, textWithoutSpecial: string];

interface Golden {
  readonly tokenizer: JsonObject;
  readonly cases: readonly Case[];
  readonly scores: readonly number[];
  readonly types: readonly number[];
  readonly sentencepiece: readonly number[][];
}

const folder = new URL("../../../../src/checkpoints/tokenizers/golden/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, folder), "utf8"));
const texts = read("texts").texts as readonly string[];
const families = ["gpt-2", "smollm", "llama-bpe", "qwen2", "llama-2"] as const;

function checkCases(definition: TokenizerDefinition, cases: readonly Case[]): void {
  const tokenizer = tokenizerFromJson(definition);
  for (const [index, [parsed, plain, text, textWithoutSpecial]] of cases.entries()) {
    const message = `text ${index}: ${JSON.stringify(texts[index])}`;
    assert.deepEqual(tokenizer.encode(texts[index], { parseSpecial: true }), parsed, message);
    assert.deepEqual(tokenizer.encode(texts[index], { addSpecial: false }), plain, message);
    assert.equal(tokenizer.decode(parsed), text, message);
    assert.equal(tokenizer.decode(parsed, { skipSpecial: true }), textWithoutSpecial, message);
  }
}

for (const family of families) {
  const golden = read(family) as Golden;
  const definition = definitionFromFiles({ tokenizer: golden.tokenizer });

  test(`${family}: ids and texts equal those of Hugging Face tokenizers`, () => {
    checkCases(definition, golden.cases);
  });

  test(`${family}: a trip through Hugging Face files changes nothing`, () => {
    const files = definitionFiles(definition);
    const copied = definitionFromFiles({
      tokenizer: files["tokenizer.json"],
      tokenizerConfig: files["tokenizer_config.json"],
      generationConfig: files["generation_config.json"],
    });
    assert.deepEqual(copied, definition);
  });

  test(`${family}: a trip through GGUF metadata gives the same ids`, () => {
    // GGUF has no flags for white space around an added token, nor for whole words.
    const flagged = (text: string) => text.includes("<mask>") || text.includes("word");
    const copied = tokenizerFromGguf(ggufTokenizerMetadata(definition, 1300));
    assert.equal(copied.size, 1300);
    for (const [index, [parsed, plain]] of golden.cases.entries()) {
      if (flagged(texts[index])) continue;
      assert.deepEqual(copied.encode(texts[index], { parseSpecial: true }), parsed);
      assert.deepEqual(copied.encode(texts[index], { addSpecial: false }), plain);
    }
  });

  test(`${family}: streamed text equals decoded text and never ends in half a character`, () => {
    const tokenizer = tokenizerFromJson(definition);
    for (const [parsed, , text] of golden.cases) {
      const stream = tokenizer.stream();
      const parts = [...parsed.map((id) => stream.push(id)), stream.end()];
      assert.equal(parts.join(""), text);
      for (const part of parts) assert.doesNotMatch(part, /\p{Surrogate}/u);
      if (!text.includes("\ufffd")) assert.ok(parts.every((part) => !part.includes("\ufffd")));
    }
  });
}

test("llama-2: ids from GGUF scores equal those of SentencePiece, and so do ids from scores made of merges", () => {
  const { tokenizer, scores, types, sentencepiece } = read("llama-2") as Golden;
  const tokens: string[] = [];
  const { vocab } = tokenizer.model as { vocab: Record<string, number> };
  for (const [token, id] of Object.entries(vocab)) tokens[id] = token;
  const key = (name: string) => `tokenizer.ggml.${name}`;
  const metadata = { [key("model")]: "llama", [key("tokens")]: tokens, [key("token_type")]: types };
  const remade = ggufTokenizerMetadata(definitionFromFiles({ tokenizer }))[key("scores")];
  for (const list of [scores, remade]) {
    const copied = tokenizerFromGguf({ ...metadata, [key("scores")]: list });
    for (const [index, ids] of sentencepiece.entries()) {
      assert.deepEqual(copied.encode(texts[index], { addSpecial: false }), ids);
    }
  }
});

test("tokenizer.json made from GGUF has its special tokens in the vocabulary, or transformers would renumber them", () => {
  for (const family of families) {
    const definition = definitionFromFiles({ tokenizer: (read(family) as Golden).tokenizer });
    const { json } = definitionFromGguf(ggufTokenizerMetadata(definition));
    const { vocab } = json.model as { vocab: Record<string, number> };
    for (const { content, id } of json.added_tokens as { content: string; id: number }[])
      assert.equal(vocab[content], id);
  }
});

test("llama-2: merges from scores are those that transformers derives", () => {
  const { tokenizer, scores } = read("llama-2") as Golden;
  const definition = { ...definitionFromFiles({ tokenizer }), scores };
  const copied = definitionFromGguf(ggufTokenizerMetadata(definition));
  const merges = (json: JsonObject) => (json.model as { merges: readonly string[][] }).merges;
  assert.deepEqual(merges(copied.json), merges(tokenizer));
});
