import assert from "node:assert/strict";
import { test } from "node:test";
import type { Tokenizer } from "../checkpoints/tokenizer.js";
import { InputError, UnsupportedError } from "../errors.js";
import { calibrationIds } from "./calibration-text.js";

/** One id for each character; the template is the one that ChatML models carry. */
const tokenizer = (chatTemplate?: string): Tokenizer => ({
  size: 65536,
  eos: [3],
  addBos: false,
  addEos: false,
  chatTemplate,
  encode: (text) => Array.from(text, (character) => character.charCodeAt(0)),
  decode: (ids) => String.fromCharCode(...ids),
  stream: () => assert.fail("no stream is wanted"),
});
const CHATML =
  "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}";
const textOf = (ids: readonly number[]) => String.fromCharCode(...ids);
const conversation = (content: string) => JSON.stringify({ messages: [{ role: "user", content }] });

test("plain text is taken as it is, also if it begins with a brace or is one line", async () => {
  for (const text of ["Call me", "{not json\nat all", '{"a": 1}\nrest', ""]) {
    assert.equal(textOf(await calibrationIds(tokenizer(CHATML), text)), text);
  }
});

test("conversations become what the model's template makes of them, one after another", async () => {
  const ids = await calibrationIds(tokenizer(CHATML), `${conversation("Hi")}\n\n${conversation("Ho")}\n`);
  assert.equal(textOf(ids), "<|im_start|>user\nHi<|im_end|>\n<|im_start|>user\nHo<|im_end|>\n");
});

test("one conversation without a line end is one too", async () => {
  assert.match(textOf(await calibrationIds(tokenizer(CHATML), conversation("Hi"))), /user\nHi/);
});

test("a line that is no conversation among others is an input error that names the line", async () => {
  for (const bad of ["{", "{}", '{"messages": [{"role": "user"}]}']) {
    const read = calibrationIds(tokenizer(CHATML), `${conversation("Hi")}\n${bad}`);
    await assert.rejects(read, (error: unknown) => {
      assert.ok(error instanceof InputError);
      assert.match(error.details.where ?? "", /line 2/);
      return true;
    });
  }
});

test("conversations for a model without a template are refused, and for one whose template refuses them too", async () => {
  await assert.rejects(calibrationIds(tokenizer(), conversation("Hi")), UnsupportedError);
  const strict = "{{ raise_exception('only assistants here') }}";
  await assert.rejects(calibrationIds(tokenizer(strict), conversation("Hi")), /refuses these messages/);
});
