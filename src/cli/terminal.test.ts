import assert from "node:assert/strict";
import { test } from "node:test";
import { coloured, printable, progressKind } from "./terminal.js";

const terminal = { isTTY: true };
const settings = { json: false, stream: false, quiet: false, progress: true };

test("colour appears on a terminal only, and not against NO_COLOR or TERM=dumb", () => {
  assert.equal(coloured(terminal, {}), true);
  assert.equal(coloured({}, {}), false);
  assert.equal(coloured(terminal, { NO_COLOR: "1" }), false);
  assert.equal(coloured(terminal, { NO_COLOR: "" }), true);
  assert.equal(coloured(terminal, { TERM: "dumb" }), false);
});

test("progress is a bar on a terminal, lines elsewhere, nothing in CI or when it is not wanted", () => {
  assert.equal(progressKind(settings, terminal, {}), "bar");
  assert.equal(progressKind(settings, {}, {}), "lines");
  assert.equal(progressKind(settings, terminal, { TERM: "dumb" }), "lines");
  assert.equal(progressKind(settings, terminal, { CI: "true" }), "none");
  assert.equal(progressKind({ ...settings, quiet: true }, terminal, {}), "none");
  assert.equal(progressKind({ ...settings, progress: false }, terminal, {}), "none");
});

test("control characters of a file cannot drive the terminal", () => {
  assert.equal(printable("a\x1b[31mb\x07\x9b\u202e\n\tü"), "a\\x1b[31mb\\x07\\x9b\\u202e\n\tü");
});
