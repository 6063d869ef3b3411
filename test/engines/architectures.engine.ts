import assert from "node:assert/strict";
import { cpSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { openModel } from "../../src/models/index.js";
import { quantizeModel } from "../../src/quantize/index.js";
import { bothEngines } from "./both-engines.js";
import { missing } from "./llama-cpp.js";

/** Tiny random models, the same that the forward pass is checked with against transformers. */
const golden = fileURLToPath(new URL("../../../src/models/golden/", import.meta.url));
const VOCABULARY = 96;
const { folder, engines } = bothEngines(missing);

/** They come without a tokenizer, and GGUF wants one: one token for each of the first printable characters. */
function withTokenizer(name: string): string {
  const path = join(folder, name);
  cpSync(join(golden, name), path, { recursive: true });
  const characters = Array.from({ length: VOCABULARY }, (_, id) =>
    String.fromCharCode(id < 94 ? 0x21 + id : 0xa1 + id),
  );
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  const tokenizer = {
    pre_tokenizer: byteLevel,
    decoder: byteLevel,
    model: { type: "BPE", vocab: Object.fromEntries(characters.map((token, id) => [token, id])), merges: [] },
  };
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify(tokenizer));
  return path;
}

const architectures = {
  "llama-tied": "grouped heads and a tied head",
  "llama3-scaled": "scaled rotary positions, a head size of its own and a head matrix",
  "llama-biased": "biases",
  qwen2: "Qwen2, whose rotary pairs lie otherwise",
};

for (const [name, what] of Object.entries(architectures)) {
  test(`${name} (${what}): llama.cpp's logits are within 1e-5 of the largest, both in f32`, {
    skip: missing,
  }, async () => {
    const path = join(folder, `${name}.gguf`);
    await quantizeModel({ input: withTokenizer(name), output: path, scheme: "f32" });
    const ids = Array.from({ length: 60 }, (_, i) => (i * 37 + 11) % VOCABULARY);
    const theirs = await engines.llama.open(path, { context: 64 });
    const expected = await theirs.logits(ids);
    const ours = await openModel(path, { backend: engines.backend });
    const session = ours.session({ batch: ids.length });
    const got = session.forward(ids, "all");
    assert.deepEqual([expected.length, expected[0].length, got.length], [60, VOCABULARY, 60 * VOCABULARY]);
    const largest = got.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
    for (const [at, value] of got.entries()) {
      const other = expected[Math.floor(at / VOCABULARY)][at % VOCABULARY];
      assert.ok(Math.abs(value - other) <= 1e-5 * largest, `logit ${at}: ${value} here, ${other} there`);
    }
    session.dispose();
    ours.dispose();
    await theirs.dispose();
  });
}
