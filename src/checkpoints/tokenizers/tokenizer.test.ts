import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BitloomError, FileError, InputError, UnsupportedError } from "../../errors.js";
import { BYTE_CHARACTERS } from "./byte-alphabet.js";
import { definitionFromFiles } from "./definition.js";
import type { JsonObject } from "./faults.js";
import { tokenizerFromGguf } from "./from-gguf.js";
import { tokenizerFromJson } from "./from-json.js";
import { ggufPreTokenizers } from "./gguf-pre-tokenizers.js";
import { ggufTokenizerMetadata } from "./to-gguf.js";

/** A byte-level tokenizer that knows "th", "the" and " the". */
function tokenizerJson(): { [key: string]: unknown; model: { [key: string]: unknown } } {
  const tokens = [...BYTE_CHARACTERS, "th", "the", "Ġthe"];
  return {
    added_tokens: [
      { id: 259, content: "<s>", special: true, normalized: false },
      { id: 260, content: "<tool>", special: false, normalized: false },
    ],
    normalizer: null,
    pre_tokenizer: { ...ggufPreTokenizers.get("gpt-2").json },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
      merges: ["t h", "th e", "Ġ the"],
    },
  };
}

const config = { bos_token: "<s>", eos_token: { content: "<s>" }, add_bos_token: true };
const make = (json: JsonObject = tokenizerJson(), tokenizerConfig: unknown = config) =>
  tokenizerFromJson(definitionFromFiles({ tokenizer: json, tokenizerConfig, source: "tokenizer.json" }));

test("bos goes in front if the model wants it and the caller does not refuse it", () => {
  const tokenizer = make();
  assert.equal(tokenizer.addBos, true);
  assert.deepEqual(tokenizer.encode("the the"), [259, 257, 258]);
  assert.deepEqual(tokenizer.encode("the the", { addSpecial: false }), [257, 258]);
  assert.deepEqual(tokenizer.encode(""), [259]);
});

test("a special token in a text is text unless the caller asks, another added token always counts", () => {
  const tokenizer = make();
  const plain = tokenizer.encode("<s>the<tool>", { addSpecial: false });
  assert.ok(!plain.includes(259) && plain.at(-1) === 260);
  assert.deepEqual(tokenizer.encode("<s>the<tool>", { addSpecial: false, parseSpecial: true }), [259, 257, 260]);
  assert.equal(tokenizer.decode(plain), "<s>the<tool>");
});

test("no merge and no whole piece makes a special token out of a text", () => {
  const json = tokenizerJson();
  const { vocab, merges } = json.model as { vocab: Record<string, number>; merges: string[] };
  Object.assign(vocab, { "<s": 261, "<s>": 259 });
  merges.push("< s", "<s >");
  json.pre_tokenizer = { type: "ByteLevel", add_prefix_space: false, use_regex: false };
  json.model.ignore_merges = true;
  assert.ok(!make(json).encode("<s>", { addSpecial: false }).includes(259));
});

test("a text that is no Unicode is an input error that names the place", () => {
  assert.throws(
    () => make().encode("ab\ud800c"),
    (error) => error instanceof InputError && /position 2/.test(error.details.why ?? ""),
  );
});

test("ids outside of the vocabulary are an input error, unused rows decode to nothing", () => {
  const tokenizer = tokenizerFromJson({ ...definitionFromFiles({ tokenizer: tokenizerJson() }), rows: 300 });
  assert.equal(tokenizer.size, 300);
  assert.equal(tokenizer.decode([257, 299]), "the");
  for (const id of [-1, 300, 1.5, Number.NaN]) assert.throws(() => tokenizer.decode([id]), InputError);
});

test("any text survives encoding and decoding", () => {
  const tokenizer = make();
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      if (/\p{Surrogate}/u.test(text)) return;
      assert.equal(tokenizer.decode(tokenizer.encode(text), { skipSpecial: true }), text);
    }),
    { numRuns: 500 },
  );
});

test("bytes that are cut off or no UTF-8 become U+FFFD, at the end of the stream at the latest", () => {
  const tokenizer = make();
  const bytes = [...new TextEncoder().encode("é")];
  const stream = tokenizer.stream();
  assert.deepEqual([stream.push(bytes[0]), stream.push(bytes[1]), stream.end()], ["", "é", ""]);
  const cut = tokenizer.stream();
  assert.deepEqual([cut.push(bytes[0]), cut.end()], ["", "\ufffd"]);
  assert.equal(tokenizer.decode([0xff, 0x41]), "\ufffdA");
});

test("a word of a million letters is encoded whole", () => {
  assert.equal(make().encode("th".repeat(1 << 19), { addSpecial: false }).length, 1 << 19);
});

test("end tokens are gathered from all files, the named one first", () => {
  const files = { tokenizer: tokenizerJson(), tokenizerConfig: config };
  const { eos } = definitionFromFiles({
    ...files,
    generationConfig: { eos_token_id: [256, 259] },
    config: { eos_token_id: 257 },
  });
  assert.deepEqual(eos, [259, 256, 257]);
});

const damages: readonly (readonly [key: string, damage: (json: ReturnType<typeof tokenizerJson>) => void])[] = [
  ["model", (json) => Object.assign(json, { model: 1 })],
  ["model.vocab", (json) => Object.assign(json.model, { vocab: [] })],
  ["model.vocab", (json) => Object.assign(json.model, { vocab: {} })],
  ["model.vocab", (json) => Object.assign(json.model.vocab as object, { zz: 1 })],
  ['model.vocab["zz"]', (json) => Object.assign(json.model.vocab as object, { zz: 4e9 })],
  ["model.merges", (json) => Object.assign(json.model, { merges: "t h" })],
  ["model.merges[0]", (json) => Object.assign(json.model, { merges: ["th"] })],
  ["model.merges[1]", (json) => Object.assign(json.model, { merges: ["t h", ["th", "zz"]] })],
  ["model.merges[0]", (json) => Object.assign(json.model, { merges: ["t t"] })],
  ["added_tokens[0].id", (json) => Object.assign(json, { added_tokens: [{ content: "<s>" }] })],
  ["added_tokens", (json) => Object.assign(json, { added_tokens: [{ id: 3, content: "<s>" }] })],
  ["added_tokens", (json) => Object.assign(json, { added_tokens: [{ id: 258, content: "the" }] })],
  ["pre_tokenizer.pattern", (json) => Object.assign(json, { pre_tokenizer: { type: "Split" } })],
];

for (const [key, damage] of damages) {
  test(`damage of ${damage.toString().slice(10)} is a file error that names ${key}`, () => {
    const json = tokenizerJson();
    damage(json);
    const named = (error: unknown) =>
      error instanceof FileError && error.details.where === `tokenizer.json, key ${key}`;
    assert.throws(() => make(json, {}), named);
  });
}

test("a configuration that names unknown tokens or ids is a file error", () => {
  assert.throws(() => make(tokenizerJson(), { bos_token: "<nope>" }), FileError);
  assert.throws(() => definitionFromFiles({ tokenizer: tokenizerJson(), config: { eos_token_id: 999 } }), FileError);
});

const unsupportedChanges: readonly JsonObject[] = [
  { model: { type: "Unigram", vocab: [] } },
  { pre_tokenizer: { type: "Whitespace" } },
  { normalizer: { type: "Precompiled" } },
  { decoder: { type: "CTC" } },
  { post_processor: { type: "RobertaProcessing" } },
];

for (const change of unsupportedChanges) {
  test(`${JSON.stringify(change)} is refused as unsupported`, () => {
    assert.throws(() => make({ ...tokenizerJson(), ...change }), UnsupportedError);
  });
}

/** A copy of a JSON value in which the node at a place, counted in depth-first order, is another value. */
function mutated(json: unknown, place: number, value: unknown): unknown {
  let seen = 0;
  const copy = (node: unknown): unknown => {
    if (seen++ === place) return value;
    if (Array.isArray(node)) return node.map(copy);
    if (typeof node !== "object" || node === null) return node;
    return Object.fromEntries(Object.entries(node).map(([key, item]) => [key, copy(item)]));
  };
  return copy(json);
}

const odd = [undefined, null, -1, 0.5, 1e99, 3, "x", "", [], {}, true, { type: "Sequence" }, ["a", "b"], [["t", "h"]]];
/** Places near the top matter most: the vocabulary alone is 260 nodes. */
const places = fc.oneof(fc.nat(30), fc.nat(330));

test("mutated tokenizer files give a tokenizer or one of our errors", () => {
  const { vocab, ...model } = tokenizerJson().model;
  const json = { ...tokenizerJson(), model: { ...model, vocab } };
  let usable = 0;
  fc.assert(
    fc.property(places, fc.constantFrom(...odd), (place, value) => {
      try {
        const changed = mutated(json, place, value) as JsonObject;
        make(changed, {}).encode("the <s> the");
        usable++;
      } catch (error) {
        assert.ok(error instanceof BitloomError, error instanceof Error ? error.stack : String(error));
      }
    }),
    { numRuns: 3000 },
  );
  assert.ok(usable > 100, `${usable} of 3000 were usable`);
});

const ggml = (name: string) => `tokenizer.ggml.${name}`;
const metadata = () => ({
  ...ggufTokenizerMetadata(definitionFromFiles({ tokenizer: tokenizerJson(), tokenizerConfig: config })),
});

const ggufDamages: readonly (readonly [key: string, value: unknown])[] = [
  ["model", undefined],
  ["tokens", undefined],
  ["tokens", "the"],
  ["pre", undefined],
  ["merges", undefined],
  ["token_type", [1, 2]],
  ["bos_token_id", 9999],
  ["eos_token_id", -1],
  ["add_bos_token", 1],
];

for (const [key, value] of ggufDamages) {
  test(`${ggml(key)} = ${JSON.stringify(value)} is a file error that names the key`, () => {
    const named = (error: unknown) =>
      error instanceof FileError && error.details.where === `model.gguf, key ${ggml(key)}`;
    assert.throws(() => tokenizerFromGguf({ ...metadata(), [ggml(key)]: value } as never, "model.gguf"), named);
  });
}

test("mutated GGUF metadata gives a tokenizer or one of our errors", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 600 }), fc.constantFrom(...odd), (place, value) => {
      try {
        tokenizerFromGguf(mutated(metadata(), place, value) as never).encode("the <s> the");
      } catch (error) {
        assert.ok(error instanceof BitloomError, error instanceof Error ? error.stack : String(error));
      }
    }),
    { numRuns: 1500 },
  );
});

test("a merge of unknown tokens, a token twice, and a count that disagrees are file errors", () => {
  const good = metadata();
  const tokens = good[ggml("tokens")] as string[];
  const bad = [
    { [ggml("merges")]: ["t zz"] },
    { [ggml("tokens")]: [...tokens.slice(0, -1), "a"] },
    { [ggml("model")]: "llama", [ggml("scores")]: [0] },
  ];
  for (const change of bad) assert.throws(() => tokenizerFromGguf({ ...good, ...change } as never), FileError);
});

test("names of models and pre-tokenizers that are not known are refused with the list of those that are", () => {
  const listed = (error: unknown) =>
    error instanceof UnsupportedError && /gpt-2, llama-bpe/.test(error.details.why ?? "");
  assert.throws(() => tokenizerFromGguf({ ...metadata(), [ggml("pre")]: "tekken" }), listed);
  assert.throws(() => tokenizerFromGguf({ ...metadata(), [ggml("model")]: "t5" }), UnsupportedError);
  const json = { ...tokenizerJson(), pre_tokenizer: { type: "ByteLevel", add_prefix_space: true } };
  assert.throws(() => ggufTokenizerMetadata(definitionFromFiles({ tokenizer: json })), listed);
});

test("tokens are padded to the rows of the embedding, and too few rows are refused", () => {
  const definition = definitionFromFiles({ tokenizer: tokenizerJson() });
  const padded = ggufTokenizerMetadata(definition, 263);
  assert.deepEqual((padded[ggml("tokens")] as string[]).slice(260), ["<tool>", "[PAD261]", "[PAD262]"]);
  assert.deepEqual((padded[ggml("token_type")] as number[]).slice(258), [1, 3, 4, 5, 5]);
  assert.throws(() => ggufTokenizerMetadata(definition, 260), FileError);
});

test("a byte-fallback vocabulary whose merges leave cuts out cannot be written with scores", () => {
  const tokens = ["<unk>", "▁", "a", "b", "c", "ab", "bc", "abc"];
  const model = {
    type: "BPE",
    vocab: Object.fromEntries(tokens.map((token, id) => [token, id])),
    merges: ["a b", "b c", "ab c"],
    unk_token: "<unk>",
    byte_fallback: true,
  };
  const replace = (from: string, content: string) => ({ type: "Replace", pattern: { String: from }, content });
  const json = { normalizer: replace(" ", "▁"), pre_tokenizer: null, decoder: replace("▁", " "), model };
  const cut = (error: unknown) =>
    error instanceof UnsupportedError && /\["a","bc"\] is a cut/.test(error.details.why ?? "");
  assert.throws(() => ggufTokenizerMetadata(definitionFromFiles({ tokenizer: json })), cut);
  const whole = { ...json, model: { ...model, merges: [...model.merges, "a bc"] } };
  assert.equal(ggufTokenizerMetadata(definitionFromFiles({ tokenizer: whole }))[ggml("model")], "llama");
});
