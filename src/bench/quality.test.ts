/** The quality of encoders; that of decoders is measured by tests of the command. */
import assert from "node:assert/strict";
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { createBackend } from "../kernels/index.js";
import type { EncoderQualityRow } from "../quantize/index.js";
import { benchQuality, qualityCase } from "./quality.js";

const source = (path: string) => fileURLToPath(new URL(`../../../src/${path}`, import.meta.url));
const folder = mkdtempSync(join(tmpdir(), "bitloom-encoder-"));
after(() => rmSync(folder, { recursive: true }));

/** The small BERT of the golden data with a tokenizer that spells: 61 pieces of the golden one, and letters inside words. */
function spellingBert(): string {
  const path = join(folder, "bert");
  cpSync(source("models/golden/bert"), path, { recursive: true });
  const { tokenizer } = JSON.parse(readFileSync(source("checkpoints/tokenizers/golden/bert.json"), "utf8"));
  const first = Object.entries<number>(tokenizer.model.vocab).filter(([, id]) => id < 61);
  const inside = [..."abcdefghijklmnopqrstuvwxyz012345678"].map((letter, i) => [`##${letter}`, 61 + i]);
  const model = { ...tokenizer.model, vocab: Object.fromEntries([...first, ...inside]) };
  writeFileSync(join(path, "tokenizer.json"), JSON.stringify({ ...tokenizer, model }));
  return path;
}

test("encoders are judged by vectors of the text's sentences: rows of both kinds of cases, and more bits err less", async () => {
  const words = "whale ship harpoon captain ocean storm night deck anchor sailor".split(" ");
  const sentence = (i: number) => `The ${words[i % 10]} and the ${words[(i * 3) % 10]} were seen ${i} times that day. `;
  const text = Array.from({ length: 40 }, (_, i) => sentence(i)).join("");
  const backend = await createBackend("wasm");
  const recipe = { recipe: 1 as const, steps: [{ activations: "dynamic", scheme: "int4-row" }] };
  const rows = (await benchQuality({
    ...{ backend, input: spellingBert(), name: "bert", text, tokens: 0, calibrationText: text },
    cases: [
      qualityCase("q4_0", "rtn"),
      qualityCase("q8_0", "rtn"),
      { scheme: "int4-row", method: "rounded", how: { recipe } },
    ],
  })) as EncoderQualityRow[];
  await backend.dispose();
  assert.deepEqual(
    rows.map(({ model, scheme, method, texts }) => [model, scheme, method, texts]),
    [
      ["bert", "q4_0", "rtn", 40],
      ["bert", "q8_0", "rtn", 40],
      ["bert", "int4-row", "rounded", 40],
    ],
  );
  const [four, eight, activations] = rows.map(({ cosineError }) => cosineError);
  assert.ok(eight > 0 && eight < four / 10, `${eight} at 8 bits, ${four} at 4`);
  assert.ok(activations > 0, "rounded activations alone cost something");
  assert.ok(rows[0].bitsPerWeight < rows[1].bitsPerWeight && rows[1].bitsPerWeight < rows[2].bitsPerWeight);
});
