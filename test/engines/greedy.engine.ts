/**
 * Greedy text does not depend on the engine that runs the kernels, nor on the number of threads: relaxed SIMD (Node 24) and
 * plain SIMD (Node 20) give the same bits in deterministic f32 and with activations rounded to int8.
 */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MODEL, missing } from "../models/smollm2.js";

const MAIN = fileURLToPath(new URL("../../src/cli/main.js", import.meta.url));
const PROMPT = "Call me Ishmael. Some years ago--never mind how long precisely--having little or no money in my purse,";
const TOKENS = 48;

const newer = process.env.BITLOOM_NEWER_NODE;
const withoutNewer = newer
  ? false
  : "skipped, because Node 24 could not be installed: npm run test:engines installs it";

async function greedyIds(node: string, model: string, threads: number, activations: string): Promise<number[]> {
  const what = ["run", model, "--prompt", PROMPT, "--tokens", `${TOKENS}`, "--temperature", "0", "--json"];
  const how = ["--threads", `${threads}`, "--activations", activations];
  const { stdout } = await promisify(execFile)(node, [MAIN, ...what, ...how]);
  return JSON.parse(stdout).tokenIds;
}

const MODELS = [
  { title: "the demo model", model: "demo", skip: withoutNewer, activations: ["f32"] },
  { title: "SmolLM2", model: MODEL, skip: missing || withoutNewer, activations: ["f32", "int8"] },
] as const;

for (const { title, model, skip, activations } of MODELS) {
  for (const kind of activations) {
    const claim = `${title} makes the same ${TOKENS} greedy tokens on this Node and on Node 24, with one thread and two`;
    test(`${claim} (activations ${kind})`, { skip }, async () => {
      const expected = await greedyIds(process.execPath, model, 1, kind);
      assert.equal(expected.length, TOKENS);
      for (const node of [process.execPath, newer ?? ""]) {
        for (const threads of [1, 2]) assert.deepEqual(await greedyIds(node, model, threads, kind), expected);
      }
    });
  }
}
