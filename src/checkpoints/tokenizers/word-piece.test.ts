import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { FileError, UnsupportedError } from "../../errors.js";
import { definitionFiles, definitionFromFiles } from "./definition.js";
import type { JsonObject } from "./faults.js";
import { tokenizerFromGguf } from "./from-gguf.js";
import { tokenizerFromJson } from "./from-json.js";
import { ggufTokenizerMetadata } from "./to-gguf.js";
import { bertJson } from "./word-piece.js";

interface Golden {
  readonly tokenizer: JsonObject & { readonly model: { readonly vocab: Readonly<Record<string, number>> } };
  readonly texts: readonly string[];
  /** ids with special tokens, ids of the plain text, text of the first ids with and without special tokens. */
  readonly cases: readonly (readonly [parsed: number[], plain: number[], text: string, textWithoutSpecial: string])[];
}

const file = new URL("../../../../src/checkpoints/tokenizers/golden/bert.json", import.meta.url);
const { tokenizer: json, texts, cases } = JSON.parse(readFileSync(file, "utf8")) as Golden;
const definition = definitionFromFiles({ tokenizer: json });
const tokenizer = tokenizerFromJson(definition);

test("WordPiece ids and texts equal those of Hugging Face tokenizers: accents, Chinese, control characters, long words", () => {
  for (const [index, [parsed, plain, text, textWithoutSpecial]] of cases.entries()) {
    const message = `text ${index}: ${JSON.stringify(texts[index])}`;
    assert.deepEqual(tokenizer.encode(texts[index], { parseSpecial: true }), parsed, message);
    assert.deepEqual(tokenizer.encode(texts[index], { addSpecial: false }), plain, message);
    assert.equal(tokenizer.decode(parsed), text, message);
    assert.equal(tokenizer.decode(parsed, { skipSpecial: true }), textWithoutSpecial, message);
  }
  assert.ok(cases.length >= 70);
});

test("a text begins and ends with the tokens of the template, and says so", () => {
  const { vocab } = json.model;
  const ids = tokenizer.encode("whale");
  assert.deepEqual([ids[0], ids.at(-1)], [vocab["[CLS]"], vocab["[SEP]"]]);
  assert.deepEqual([tokenizer.addBos, tokenizer.addEos, tokenizer.eos], [true, true, [vocab["[SEP]"]]]);
});

test("a trip through Hugging Face files or GGUF metadata gives the same ids", () => {
  const files = definitionFiles(definition);
  const copied = definitionFromFiles({
    tokenizer: files["tokenizer.json"],
    tokenizerConfig: files["tokenizer_config.json"],
  });
  const others = [tokenizerFromJson(copied), tokenizerFromGguf(ggufTokenizerMetadata(definition))];
  for (const other of others) {
    for (const [index, [parsed, plain, text]] of cases.entries()) {
      assert.deepEqual(other.encode(texts[index], { parseSpecial: true }), parsed);
      assert.deepEqual(other.encode(texts[index], { addSpecial: false }), plain);
      assert.equal(other.decode(parsed), text);
    }
  }
});

test("GGUF spells words with a phantom space and what continues them without a sign, as llama.cpp reads it", () => {
  const metadata = ggufTokenizerMetadata(definition);
  const tokens = metadata["tokenizer.ggml.tokens"] as string[];
  const { vocab } = json.model;
  assert.equal(tokens[vocab["[CLS]"]], "[CLS]");
  assert.equal(tokens[vocab.the], "▁the");
  assert.equal(tokens[vocab["##ing"]], "ing");
  assert.equal(metadata["tokenizer.ggml.model"], "bert");
});

test("a vocab.txt with its settings means the same as the tokenizer.json made of it", () => {
  const tokens = Object.entries(json.model.vocab).sort((a, b) => a[1] - b[1]);
  const made = tokenizerFromJson(definitionFromFiles({ tokenizer: bertJson(tokens.map(([token]) => token)) }));
  for (const [index, [parsed]] of cases.entries()) {
    assert.deepEqual(made.encode(texts[index], { parseSpecial: true }), parsed);
  }
  const cased = bertJson(["[UNK]", "[CLS]", "[SEP]", "a", "A", "é"], { do_lower_case: false });
  const plain = tokenizerFromJson(definitionFromFiles({ tokenizer: cased }));
  assert.deepEqual(plain.encode("a A é E"), [1, 3, 4, 5, 0, 2]);
});

test("other prefixes and a missing unknown token are refused", () => {
  const model = { ...json.model, continuing_subword_prefix: "@@" };
  assert.throws(() => definitionFromFiles({ tokenizer: { ...json, model } }), UnsupportedError);
  const unknown = { ...json, model: { ...json.model, unk_token: "[NONE]" } };
  assert.throws(() => tokenizerFromJson(definitionFromFiles({ tokenizer: unknown })), FileError);
});
