import assert from "node:assert/strict";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { compareEmbeddings } from "../../src/evaluate/index.js";
import { type Backend, createBackend } from "../../src/kernels/index.js";
import { openEncoder, type TextEncoder } from "../../src/models/index.js";
import { quantizeModel } from "../../src/quantize/index.js";

const root = new URL("../../../", import.meta.url);
const MODEL = fileURLToPath(new URL(".cache/models/all-MiniLM-L6-v2", root));
const missing = existsSync(MODEL)
  ? false
  : "skipped, because all-MiniLM-L6-v2 is not here: node test/models/fetch-minilm.mjs fetches it (87 MiB)";

interface Row {
  readonly text: string;
  readonly ids: readonly number[];
  readonly vector: readonly number[];
}

const { rows } = JSON.parse(readFileSync(new URL("test/models/golden/minilm.json", root), "utf8")) as { rows: Row[] };

let backend: Backend;
let encoder: TextEncoder;
before(async () => {
  if (missing) return;
  backend = await createBackend("wasm", { threads: 2 });
  encoder = await openEncoder(MODEL, { backend });
});
after(() => backend?.dispose());

test("ids equal those of transformers, cut to 256 tokens where a text is longer", { skip: missing }, () => {
  for (const { text, ids } of rows) {
    const made = encoder.tokenizer.encode(text);
    const { tokens, textTokens } = encoder.embed(text);
    assert.deepEqual([tokens, textTokens], [ids.length, made.length]);
    assert.deepEqual(made.slice(0, ids.length - 1), ids.slice(0, -1), text.slice(0, 60));
  }
  assert.equal(encoder.config.context, 256);
});

test("vectors are those of transformers within 4e-6 of the largest element (f32 sums in another order)", {
  skip: missing,
}, () => {
  for (const { text, vector } of rows) {
    const got = encoder.embed(text).vector;
    const largest = Math.max(...vector.map(Math.abs));
    for (const [i, want] of vector.entries()) {
      assert.ok(Math.abs(got[i] - want) <= 4e-6 * largest, `${text.slice(0, 40)}, element ${i}: ${got[i]} for ${want}`);
    }
  }
});

test("a GGUF file in q8_0 gives nearly the same vectors: cosine errors below 1e-3", { skip: missing }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-minilm-"));
  try {
    const output = join(folder, "minilm.gguf");
    await quantizeModel({ input: MODEL, output, scheme: "q8_0" });
    const smaller = await openEncoder(output, { backend });
    const { pooling, normalize, context } = encoder.config;
    assert.deepEqual({ ...smaller.config, pooling, normalize, context }, smaller.config);
    const vectors = [encoder, smaller].map((one) => rows.map(({ text }) => one.embed(text).vector));
    assert.ok(compareEmbeddings(vectors[0], vectors[1]).worstCosine > 1 - 1e-3);
    smaller.dispose();
  } finally {
    rmSync(folder, { recursive: true });
  }
});
