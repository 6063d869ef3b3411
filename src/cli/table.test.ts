import assert from "node:assert/strict";
import { test } from "node:test";
import { left, pairs, right, table } from "./table.js";

test("a table aligns its columns and leaves nothing at the ends of lines", () => {
  const text = table(
    [left("name"), right("bytes"), left("note")],
    [
      ["a", "1,000", "x"],
      ["longer", "2", ""],
    ],
  );
  assert.equal(text, "name    bytes  note\na       1,000  x\nlonger      2\n");
});

test("pairs align their values", () => {
  assert.equal(
    pairs([
      ["a", "1"],
      ["long", "2"],
    ]),
    "a     1\nlong  2\n",
  );
});
