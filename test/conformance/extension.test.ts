/**
 * The promise of the registries, kept or broken: a number format that nobody has heard of, a block scheme on it and a
 * quantization method are one file and one line each, and then the command line, recipes and their schema, docs, measuring and
 * the conformance tests know them. Done in a copy of the sources, compiled and run as a user would.
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

const METHOD = `import { quantize } from "../tensor/index.js";
import { hasGrid, nearestLevels, packGrid, ruleGrid } from "./grid.js";
import { method, powerError } from "./method.js";
import { searchScales } from "./scale-search.js";

export const guesses = method({
  name: "guesses",
  summary: "scales guessed, the best of a few taken",
  source: "a test",
  options: { tries: { kind: "integer", summary: "scales guessed", default: 3, min: 1, max: 9 } },
  rowwise: true,
  needs: () => "squares",
  objective: () => powerError(2),
  quantize({ scheme, values, shape }, { tries }) {
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    searchScales(grid, values, { norm: 2, steps: tries });
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});
`;

/** Adds one import and one entry to a list. */
function register(file: string, name: string, from: string, list: RegExp): void {
  const path = join(copy, "src", file);
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

test("a made-up format e3m1, a block scheme on it and a method take one file and one line each", () => {
  for (const part of ["src", "test/conformance", "tsconfig.json", "package.json", "demo"]) {
    cpSync(join(root, part), join(copy, part), { recursive: true });
  }
  symlinkSync(join(root, "node_modules"), join(copy, "node_modules"));
  writeFileSync(join(copy, "src/formats/e3m1.ts"), FORMAT);
  writeFileSync(join(copy, "src/formats/schemes/fp5.ts"), SCHEME);
  register("formats/index.ts", "e3m1", "./e3m1.js", /registry<NumberFormat>\(\s*"format",\s*\[/);
  register("formats/schemes/index.ts", "fp5", "./fp5.js", /schemeRecords: readonly Scheme\[\] = \[/);
  writeFileSync(join(copy, "src/quantize/guesses.ts"), METHOD);
  register("quantize/methods.ts", "guesses", "./guesses.js", /registry<QuantizationMethod>\("method", \[\s*/);
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

  const { methods } = bitloom("methods") as { methods: { name: string; options: { name: string }[] }[] };
  assert.deepEqual(
    methods.find(({ name }) => name === "guesses")?.options.map(({ name }) => name),
    ["tries"],
  );
  assert.match(run("dist/src/cli/main.js", "quantize", "--help"), /--method <name>[^-]*\bguesses\b/);
  const small = ["--windows", "1", "--window", "32", "--method", "guesses", "--set", "tries=2"];
  const guessed = bitloom("quantize", "demo", "--to", "fp5", ...small, "-o", "guessed");
  const { making } = bitloom("inspect", "guessed");
  assert.deepEqual(making.recipe.steps[0].options, { tries: 2 });
  const squares = guessed.tensors.filter(
    (one: { relativeOutputError?: number }) => one.relativeOutputError !== undefined,
  );
  assert.ok(squares.length > 30, "what it needs of the activations is collected and reported");
  const page = `import { methodsPage, recipeSchema } from "./dist/src/quantize/index.js";
    console.log(methodsPage([]), JSON.stringify(recipeSchema()));`;
  const said = run("--input-type=module", "-e", page);
  assert.match(said, /### guesses\n\nscales guessed[^#]*`tries` \| 3 \| an integer from 1 to 9/);
  assert.match(said, /"quantize":\{"const":"guesses"\}.*"tries":\{"type":"integer","minimum":1,"maximum":9/);
  const bench = ["--to", "fp5", "--method", "guesses", "--windows", "1", "--tokens", "64"];
  assert.equal(bitloom("bench", "quality", "demo", ...bench).rows[0].method, "guesses");

  // These walk the registries, so they meet the newcomers; `run` fails if one of them does.
  run("--test", "dist/test/conformance/formats.test.js", "dist/test/conformance/schemes.test.js");
  run(
    "--test",
    "--test-name-pattern=default of every option|without the statistics",
    "dist/test/conformance/methods.test.js",
  );
});
