import assert from "node:assert/strict";
import { test } from "node:test";
import { UnsupportedError } from "../../errors.js";
import { fromOniguruma, pattern } from "./patterns.js";

const translations: readonly (readonly [oniguruma: string, javascript: string])[] = [
  [String.raw`\s+(?!\S)`, String.raw`\p{White_Space}+(?!\P{White_Space})`],
  [String.raw`[^\s\p{L}]`, String.raw`[^\p{White_Space}\p{L}]`],
  [String.raw`\d{1,3}|\h`, String.raw`\p{Nd}{1,3}|[0-9A-Fa-f]`],
  ["(?i:'s|'LL)x", "(?:'[sSſ]|'[LlL][LlL])x".replaceAll("[LlL]", "[Ll]")],
  ["a.b{c}", String.raw`a[^\n]b\{c\}`],
  [String.raw`\'\-[\-a]`, String.raw`'-[\-a]`],
  ["[({]", String.raw`[\(\{]`],
];

for (const [oniguruma, javascript] of translations) {
  test(`${oniguruma} becomes ${javascript}`, () => {
    assert.equal(fromOniguruma(oniguruma), javascript);
    assert.doesNotThrow(() => new RegExp(javascript, "gu"));
  });
}

for (const refused of [
  "a++",
  "a?+",
  "(?>a)",
  "^a",
  "a$",
  String.raw`\G`,
  "[a&&b]",
  "[a[bc]]",
  "(?<n>a)",
  "(?i:[ab])",
  "(",
]) {
  test(`${refused} has no counterpart and is refused`, () => {
    assert.throws(() => pattern({ Regex: refused }, "tokenizer.json", "pattern"), UnsupportedError);
  });
}

test("a literal pattern matches its own characters only", () => {
  const found = pattern({ String: "a.b" }, "tokenizer.json", "pattern");
  assert.deepEqual("a.b axb".match(found), ["a.b"]);
});
