/**
 * Asks llama.cpp about SmolLM2 and writes smollm2.json beside this file:
 *
 *     npm run test:engines && node test/models/fetch-smollm2.mjs && node dist/test/models/golden/make.js
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { quantizeModel } from "../../../src/quantize/index.js";
import { llamaCpp } from "../../engines/llama-cpp.js";
import { GOLDEN, type Golden, MODEL } from "../smollm2.js";

const root = new URL("../../../../", import.meta.url);
const { texts } = JSON.parse(readFileSync(new URL("src/checkpoints/tokenizers/golden/texts.json", root), "utf8"));
/** Prompts whose continuation has no near tie: llama.cpp rounds activations to 8 bits, which can tip one. */
const PROMPTS = [
  "The capital of France is",
  "<|im_start|>user\nWhat is gravity?<|im_end|>\n<|im_start|>assistant\n",
  "1, 2, 3, 4, 5,",
];
const TOKENS = 512;

const llama = await llamaCpp();
const model = await llama.open(MODEL, { context: 1024 });
const text = readFileSync(new URL("demo/held-out.txt", root), "utf8").slice(0, 2400);
const ids = model.tokenize(text, false).slice(0, TOKENS + 1);
const rounded = (nll: readonly number[]) => nll.map((value) => Number(value.toFixed(4)));

/** llama.cpp on the same weights in f32, where it rounds nothing. */
async function nllInF32(): Promise<number[]> {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-golden-"));
  try {
    const output = join(folder, "f32.gguf");
    await quantizeModel({ input: MODEL, output, scheme: "f32" });
    const wide = await llama.open(output, { context: 1024 });
    const nll = await wide.nll(ids);
    await wide.dispose();
    return nll;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const continuations: { prompt: string; ids: number[] }[] = [];
for (const prompt of PROMPTS) continuations.push({ prompt, ids: await model.greedy(model.tokenize(prompt, true), 32) });
const golden: Golden = {
  llamaCpp: llama.release,
  texts,
  ids: (texts as string[]).map((one) => [model.tokenize(one, false), model.tokenize(one, true)]),
  continuations,
  passage: { text, ids, nll: rounded(await model.nll(ids)), nllF32: rounded(await nllInF32()) },
};
await model.dispose();
await llama.dispose();
writeFileSync(GOLDEN, `${JSON.stringify(golden)}\n`);
