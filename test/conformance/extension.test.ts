/**
 * The promise of the registries, kept or broken: a number format that nobody has heard of and a block scheme on it are
 * one file and one line each, and then quantizing, evaluating and the conformance tests know them. Done in a copy of
 * the sources, compiled and run as a user would.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";

const root = new URL("../../../", import.meta.url).pathname;
const copy = mkdtempSync(join(tmpdir(), "bitloom-extension-"));
after(() => rmSync(copy, { recursive: true }));

const FORMAT = `import { minifloat } from "./format.js";

export const e3m1 = minifloat({
  name: "e3m1",
  exponentBits: 3,
  significandBits: 1,
  nonFinite: "none",
  summary: "float5, made up",
  source: "a test",
});
`;
const SCHEME = `import { e3m1 } from "../e3m1.js";
import { scaledScheme } from "./families.js";

export const fp5 = scaledScheme({ name: "fp5", element: e3m1, per: 32 });
`;

/** Adds one import and one entry to a list. */
function register(file: string, name: string, from: string, list: RegExp): void {
  const path = join(copy, "src/formats", file);
  const text = readFileSync(path, "utf8");
  const entered = text.replace(list, (start) => `${start}${name}, `);
  assert.notEqual(entered, text, `${file} has no list that looks like ${list}`);
  writeFileSync(path, `import { ${name} } from "${from}";\n${entered}`);
}

function run(...args: string[]): string {
  // Without the variable a test runner inside a test prints for its parent, not for people.
  const { NODE_TEST_CONTEXT: _inside, ...env } = process.env;
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { cwd: copy, env, encoding: "utf8" });
  assert.equal(status, 0, `${args.join(" ")}\n${stderr}${stdout}`);
  return stdout;
}

test("a made-up format e3m1 and a block scheme on it take one file and one line each", () => {
  for (const part of ["src", "test/conformance", "tsconfig.json", "package.json", "demo"]) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  writeFileSync(join(copy, "src/formats/e3m1.ts"), FORMAT);
  writeFileSync(join(copy, "src/formats/schemes/fp5.ts"), SCHEME);
  register("index.ts", "e3m1", "./e3m1.js", /registry<NumberFormat>\(\s*"format",\s*\[/);
  register("schemes/index.ts", "fp5", "./fp5.js", /schemeRecords: readonly Scheme\[\] = \[/);
  run("node_modules/typescript/bin/tsc");

  const bitloom = (...args: string[]) => JSON.parse(run("dist/src/cli/main.js", ...args, "--json"));
  const quantized = bitloom("quantize", "demo", "--to", "fp5", "-o", "demo-fp5");
  // 5 bits and a 16-bit scale for 32 of them; norms stay bf16.
  assert.ok(Math.abs(quantized.bitsPerWeight - 5.5) < 0.01, `${quantized.bitsPerWeight} bits per weight`);
  const measured = ["--text", "demo/held-out.txt", "--against", "demo", "--tokens", "256"];
  const { kl, top1Agreement } = bitloom("eval", "demo-fp5", ...measured);
  assert.ok(kl > 0 && kl < 0.5 && top1Agreement > 0.5, `KL ${kl}, top-1 ${top1Agreement}`);
  const family = bitloom("quantize", "demo", "--to", "e3m1-g64", "-o", "demo-g64");
  assert.ok(Math.abs(family.bitsPerWeight - 5.25) < 0.01, "the family ELEMENT-gG comes with the format");

  const { schemes } = bitloom("schemes") as { schemes: { name: string }[] };
  assert.ok(schemes.some(({ name }) => name === "fp5"));
  // These walk the registries, so they meet the newcomers; `run` fails if one of them does.
  run("--test", "dist/test/conformance/formats.test.js", "dist/test/conformance/schemes.test.js");
});
