import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { compareEmbeddings } from "../../src/evaluate/index.js";
import { openEncoder } from "../../src/models/index.js";
import { quantizeModel } from "../../src/quantize/index.js";
import { bothEngines } from "./both-engines.js";
import { missing } from "./llama-cpp.js";

const root = new URL("../../../", import.meta.url);
const MODEL = fileURLToPath(new URL(".cache/models/all-MiniLM-L6-v2", root));
const absent = existsSync(MODEL) ? missing : "skipped, because all-MiniLM-L6-v2 is not here: npm run fetch:minilm";
const { rows } = JSON.parse(readFileSync(new URL("test/models/golden/minilm.json", root), "utf8")) as {
  rows: readonly { readonly text: string; readonly ids: readonly number[] }[];
};
const texts = rows.filter(({ ids }) => ids.length > 2 && ids.length < 100);
const { folder, engines } = bothEngines(absent);

for (const [scheme, worst] of [
  ["f32", 1e-5],
  ["q4_0", 1e-3],
] as const) {
  test(`MiniLM in ${scheme}: llama.cpp gives the same ids, and vectors with cosine errors below ${worst} (it takes GELU from a table in f16 of the tanh form, and rounds activations for quantized weights)`, {
    skip: absent,
  }, async () => {
    const path = join(folder, `${scheme}.gguf`);
    await quantizeModel({ input: MODEL, output: path, scheme });
    const ours = await openEncoder(path, { backend: engines.backend });
    const theirs = await engines.llama.openEncoder(path);
    const vectors: Float32Array[] = [];
    for (const { text, ids } of texts) {
      assert.deepEqual(theirs.tokenize(text), ids.slice(1, -1), text);
      vectors.push(Float32Array.from(await theirs.vectorOf(ids)));
    }
    const { worstCosine } = compareEmbeddings(
      texts.map(({ ids }) => ours.vectorOf(ids)),
      vectors,
    );
    assert.ok(1 - worstCosine < worst, `cosine error ${1 - worstCosine}`);
    ours.dispose();
    await theirs.dispose();
  });
}
