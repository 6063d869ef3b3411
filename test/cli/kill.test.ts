/** kill -9 at any moment, and again: what is finished stays, and the file in the end is that of a run left in peace. */
import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ROOT, spawnBitloom, temporaryFolder, withoutDemo } from "./bitloom.js";

/** 20 take a minute. */
const KILLS = process.env.BITLOOM_EXHAUSTIVE === "1" ? 20 : 4;
const SEED = 20;

/** Quick: two windows of 64 tokens, few scales tried, most maps and the embedding rounded to nearest. */
const RECIPE = {
  recipe: 1,
  calibration: { windows: 2, window: 64 },
  steps: [
    { quantize: "rtn", scheme: "q8_0", tensors: "embedding" },
    { quantize: "gptq", scheme: "q4_0", tensors: "query", options: { steps: 2, sweeps: 1, damping: 0.1 } },
    { quantize: "rtn", scheme: "q4_0" },
  ],
};

/** Numbers from 0 to 1 (mulberry32), so that a failure's moments are known. */
function* numbers(seed: number): Generator<number, never> {
  for (let state = seed; ; ) {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    yield ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
}

test(`${KILLS} kills at random moments of a GPTQ run end in the same bytes, whatever was finished by then`, {
  skip: withoutDemo,
}, async () => {
  const folder = temporaryFolder();
  const at = (name: string) => join(folder, name);
  writeFileSync(at("recipe.json"), JSON.stringify(RECIPE));
  writeFileSync(at("text.txt"), readFileSync(join(ROOT, "demo", "calibration.txt")).subarray(0, 4096));
  const args = ["quantize", "demo", "--recipe", at("recipe.json"), "--calibrate", at("text.txt"), "-o", at("x.gguf")];

  const begin = performance.now();
  const whole = await spawnBitloom(args);
  const duration = performance.now() - begin;
  assert.equal(whole.code, 0, whole.stderr);
  renameSync(at("x.gguf"), at("peace.gguf"));
  const peace = readFileSync(at("peace.gguf"));

  const random = numbers(SEED);
  const moments: number[] = [];
  while (moments.length < KILLS) {
    const moment = random.next().value * duration;
    const timers: NodeJS.Timeout[] = [];
    const { code, signal, stderr } = await spawnBitloom(args, {
      onStart: (child) => timers.push(setTimeout(() => child.kill("SIGKILL"), moment)),
    });
    timers.forEach(clearTimeout);
    if (signal === "SIGKILL") moments.push(moment);
    else {
      assert.equal(code, 0, stderr);
      // Finished before its moment came: the next one starts anew.
      assert.deepEqual(readFileSync(at("x.gguf")), peace, `after kills at ${moments} ms`);
      rmSync(at("x.gguf"));
    }
  }
  const last = await spawnBitloom(args);
  assert.equal(last.code, 0, last.stderr);
  assert.deepEqual(readFileSync(at("x.gguf")), peace, `after kills at ${moments} ms`);
  assert.deepEqual(readdirSync(folder).sort(), ["peace.gguf", "recipe.json", "text.txt", "x.gguf"]);
});
