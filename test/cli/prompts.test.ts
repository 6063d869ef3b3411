/** `bitloom run --prompts`: many texts continued in one batch. */
import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import { bitloom, ROOT, spawnBitloom, temporaryFolder, withoutDemo } from "./bitloom.js";

const folder = temporaryFolder();
const file = (name: string, text: string) => {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
};
const lines = ["Call me", "The whale", "There she", "Once upon a time", "A ship of the line"];
const plain = file("prompts.txt", `${lines.join("\n\n")}\n`);

const ajv = new Ajv2020({ strict: true, allowUnionTypes: true });
const admits = ajv.compile(JSON.parse(readFileSync(join(ROOT, "docs", "schemas", "run.json"), "utf8")));

interface Document {
  readonly results: readonly { readonly prompt: string; readonly seed: number; readonly text: string }[];
  readonly tokensPerSecond: number | null;
}

test("every prompt of a file is continued as it would be alone, whatever --batch, --threads and their length", {
  skip: withoutDemo,
}, async () => {
  const common = ["run", "demo", "--tokens", "12", "--seed", "4", "--cache", "int8-g32"];
  const alone: string[] = [];
  for (const [index, prompt] of lines.entries()) {
    const one = await bitloom([...common, "--prompt", prompt, "--seed", String(4 + index), "--threads", "1"]);
    alone.push(one.stdout.slice(0, -1));
  }
  for (const [batch, threads] of [
    ["1", "1"],
    ["3", "2"],
    ["16", "1"],
  ]) {
    const { stdout, stderr, code } = await bitloom([
      ...[...common, "--prompts", plain, "--batch", batch, "--threads", threads, "--json"],
    ]);
    assert.equal(code, 0, stderr);
    assert.ok(admits(JSON.parse(stdout)), JSON.stringify(admits.errors));
    const { results } = JSON.parse(stdout) as Document;
    assert.deepEqual(
      results.map(({ prompt, seed, text }) => ({ prompt, seed, text })),
      lines.map((prompt, index) => ({ prompt, seed: 4 + index, text: alone[index] })),
    );
  }
  const { stdout } = await bitloom([...common, "--prompts", plain, "--batch", "2"]);
  assert.equal(stdout, lines.map((prompt, index) => `${prompt}${alone[index]}\n`).join("---\n"));
});

test("a .jsonl file gives prompts of several lines and seeds of their own; --stream says whose each token is", {
  skip: withoutDemo,
}, async () => {
  const records = file("prompts.jsonl", '{"prompt": "One\\ntwo", "seed": 9}\n"The whale"\n');
  const { stdout } = await bitloom(["run", "demo", "--prompts", records, "--tokens", "6", "--stream"]);
  const parts = stdout
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line));
  const { results } = parts.pop() as Document;
  assert.deepEqual(
    results.map(({ prompt, seed }) => [prompt, seed]),
    [
      ["One\ntwo", 9],
      ["The whale", 2],
    ],
  );
  for (const [index, { text }] of results.entries()) {
    const own = parts.filter(({ prompt }) => prompt === index);
    assert.equal(own.map((part: { text: string }) => part.text).join(""), text);
  }
});

test("prompts come from standard input too", { skip: withoutDemo }, async () => {
  const args = ["run", "demo", "--prompts", "-", "--tokens", "1", "--json"];
  const { stdout } = await spawnBitloom(args, { input: "The sea\nThe sky\n" });
  const { results, tokensPerSecond } = JSON.parse(stdout) as Document;
  assert.deepEqual(
    results.map(({ prompt }) => prompt),
    ["The sea", "The sky"],
  );
  assert.equal(tokensPerSecond, null, "no token was made from another one");
});

test("neither or both of --prompt and --prompts, an empty file and a line that is no prompt are refused", async () => {
  const refused = async (...args: string[]) => {
    const { code, stderr } = await bitloom(["run", "demo", ...args]);
    assert.equal(code, 2, stderr);
    return stderr;
  };
  assert.match(await refused(), /either --prompt or --prompts/);
  assert.match(await refused("--prompt", "x", "--prompts", plain), /either --prompt or --prompts/);
  assert.match(await refused("--prompts", file("empty.txt", "\n \n")), /no prompt/);
  for (const line of ["Call me", "{}", '{"prompt": 3}', '""', '{"prompt": "x", "seed": -1}']) {
    assert.match(await refused("--prompts", file("bad.jsonl", `"fine"\n${line}\n`)), /bad\.jsonl, line 2/, line);
  }
});
