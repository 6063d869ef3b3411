import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { EXIT_CODES } from "../../src/cli/exit-codes.js";
import { commands } from "../../src/cli/index.js";
import { bitloom, MAIN, ROOT, spawnBitloom } from "./bitloom.js";

test("bitloom, bitloom --help and bitloom help print the same help, with every command and exit code", async () => {
  const [bare, flag, verb] = await Promise.all([bitloom([]), bitloom(["--help"]), bitloom(["help"])]);
  assert.deepEqual([bare.code, flag.code, verb.code], [0, 0, 0]);
  assert.equal(bare.stdout, flag.stdout);
  assert.equal(verb.stdout, flag.stdout);
  assert.equal(flag.stderr, "");
  for (const { name, summary } of commands.entries) assert.match(flag.stdout, new RegExp(`${name} +${summary}`));
  for (const { code, meaning } of EXIT_CODES) assert.ok(flag.stdout.includes(`${String(code).padEnd(4)} ${meaning}`));
});

test("every command has help with all its options and an example, in lines of 80 characters but for examples", async () => {
  for (const { name, options, examples } of commands.entries) {
    const { code, stdout, stderr } = await bitloom([name, "--help"]);
    assert.deepEqual([code, stderr], [0, ""]);
    for (const option of Object.values(options)) assert.ok(stdout.includes(option.flags), `${name}: ${option.flags}`);
    assert.ok(examples.length > 0 && stdout.includes(examples[0]));
    const prose = stdout.slice(0, stdout.indexOf("Examples:")).split("\n");
    assert.ok(prose.every((line) => line.length <= 80));
  }
});

test("every example is a command line of its command", () => {
  for (const { name, examples } of commands.entries) {
    for (const example of examples) assert.match(example, new RegExp(`bitloom ${name}\\b`));
  }
});

test("the compiled file prints the package's version and runs as an executable", async () => {
  const { code, stdout, stderr } = await spawnBitloom(["--version"]);
  const { version } = JSON.parse(readFileSync(join(ROOT, "package.json"), "utf8"));
  assert.deepEqual([code, stdout, stderr], [0, `${version}\n`, ""]);
  assert.match(readFileSync(MAIN, "utf8"), /^#!\/usr\/bin\/env node\n/);
});

test("docs/cli.md and docs/schemas are what npm run docs would write", () => {
  const build = fileURLToPath(new URL("../../", import.meta.url));
  const { status, stderr } = spawnSync(process.execPath, [join(ROOT, "scripts", "docs.mjs"), "--check"], {
    env: { ...process.env, BITLOOM_BUILD: build },
    encoding: "utf8",
  });
  assert.equal(status, 0, stderr);
});
