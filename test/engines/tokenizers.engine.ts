import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import {
  containers,
  definitionFromFiles,
  ggufTokenizerMetadata,
  type TokenizerFiles,
  tokenizerFromJson,
} from "../../src/checkpoints/index.js";
import { type LlamaCpp, llamaCpp, missing } from "./llama-cpp.js";

const golden = new URL("../../../src/checkpoints/tokenizers/golden/", import.meta.url);
const read = (name: string) => JSON.parse(readFileSync(new URL(`${name}.json`, golden), "utf8"));
const texts = read("texts").texts as readonly string[];
const folder = mkdtempSync(join(tmpdir(), "bitloom-engines-"));

let llama: LlamaCpp;
before(async () => {
  // Quiet, because it first tries to read the weights too, and complains that there are none.
  if (!missing) llama = await llamaCpp({ quiet: true });
});
after(async () => {
  await llama?.dispose();
  rmSync(folder, { recursive: true });
});

/** What llama.cpp asks of a model before it looks at the tokenizer. */
const SHAPE = {
  "general.architecture": "llama",
  "llama.context_length": 512,
  "llama.embedding_length": 64,
  "llama.block_count": 1,
  "llama.feed_forward_length": 64,
  "llama.attention.head_count": 1,
  "llama.attention.layer_norm_rms_epsilon": 1e-5,
};

/** A GGUF file that holds a tokenizer and no tensor. */
async function vocabularyFile(name: string, files: TokenizerFiles): Promise<string> {
  const path = join(folder, `${name}.gguf`);
  const metadata = { ...SHAPE, ...ggufTokenizerMetadata(definitionFromFiles(files)) };
  const produce = () => Promise.reject(new Error("there is no tensor"));
  await containers.get("gguf").write(path, { metadata, tensors: [], produce });
  return path;
}

/** What llama.cpp does otherwise than the original implementations, by its own choice. */
function knownToDiffer(family: string, text: string): boolean {
  return (
    // It has no normalizer, so it merges decomposed characters as they are.
    (family === "qwen2" && text !== text.normalize("NFC")) ||
    // It folds ASCII only in contractions.
    text.includes("ſ") ||
    // GGUF has no flags for white space around an added token, nor for whole words.
    text.includes("<mask>") ||
    text.includes("word")
  );
}

for (const family of ["gpt-2", "smollm", "llama-bpe", "qwen2", "llama-2"]) {
  test(`${family}: llama.cpp reads the tokenizer keys and gives the same ids`, { skip: missing }, async () => {
    const files = { tokenizer: read(family).tokenizer };
    const theirs = await llama.open(await vocabularyFile(family, files), { vocabOnly: true });
    const ours = tokenizerFromJson(definitionFromFiles(files));
    assert.equal(theirs.addBos, ours.addBos);
    let compared = 0;
    for (const text of texts) {
      if (knownToDiffer(family, text)) continue;
      compared++;
      for (const parseSpecial of [false, true]) {
        const ids = ours.encode(text, { addSpecial: false, parseSpecial });
        assert.deepEqual(theirs.tokenize(text, parseSpecial), ids, JSON.stringify(text));
      }
    }
    assert.ok(compared > texts.length / 2);
    await theirs.dispose();
  });
}
