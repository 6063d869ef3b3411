import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { Ajv2020 } from "ajv/dist/2020.js";
import type { Comparison, FormatDescription } from "../../src/formats/index.js";
import { bitloom, ROOT, temporaryFolder } from "./bitloom.js";

const ajv = new Ajv2020({ strict: true, allErrors: true, allowUnionTypes: true });
const numbers = join(temporaryFolder(), "numbers.txt");
const numbered = (text: string) => {
  writeFileSync(numbers, text);
  return ["--text", numbers];
};

/** Runs with --json; the document must be one of the command's schema. */
async function document<T>(args: readonly string[]): Promise<T> {
  const { code, stdout, stderr } = await bitloom([...args, "--json"]);
  assert.equal(code, 0, stderr);
  const parsed: unknown = JSON.parse(stdout);
  const schema = JSON.parse(readFileSync(join(ROOT, "docs", "schemas", `${args[0]}.json`), "utf8"));
  assert.ok(ajv.validate(schema, parsed), JSON.stringify(ajv.errors?.slice(0, 3)));
  return parsed as T;
}

test("formats lists every format and family, and shows one with all its values", async () => {
  const { formats, families } = await document<{ formats: object[]; families: object[] }>(["formats"]);
  assert.ok(formats.length > 30 && families.length > 8);
  const sheet = await document<FormatDescription>(["formats", "e4m3fn"]);
  assert.deepEqual(
    [sheet.name, sheet.bits, sheet.kind, sheet.max, sheet.minNormal, sheet.minSubnormal],
    ["e4m3fn", 8, "minifloat", "448", "0.015625", "0.001953125"],
  );
  assert.equal(sheet.codes?.length, 256);
  assert.deepEqual(
    [0x7e, 0x7f, 0x80].map((code) => sheet.codes?.[code]),
    [
      { code: 126, value: "448" },
      { code: 127, value: "nan" },
      { code: 128, value: "-0" },
    ],
  );
  const { stdout } = await bitloom(["formats", "e2m1"]);
  assert.match(stdout, /^0x7 +6$/m);
});

test("formats compare ranks formats on named data, and refuses data that it does not know", async () => {
  const { comparison } = await document<{ comparison: Comparison[] }>([
    "formats",
    "compare",
    "nf4",
    "e2m1",
    "--on",
    "normal",
  ]);
  assert.ok(comparison[0].relativeMse < comparison[1].relativeMse);
  const { code, stderr } = await bitloom(["formats", "compare", "nf4", "--on", "gauss"]);
  assert.equal(code, 2);
  assert.match(stderr, /normal, laplace, student-t/);
});

test("cast rounds lines of numbers, with comments and hexadecimal floats, and says the code and the value", async () => {
  const { stdout } = await bitloom(["cast", "--to", "e4m3fn", ...numbered("0.3 # a comment\n\n0x1.8p3\n-inf\nnan\n")]);
  assert.equal(stdout, "0x2a 0.3125\n0x54 12\n0xff nan\n0x7f nan\n");
  const values = await document<object[]>(["cast", "--to", "e2m1", "--from", "e4m3fn", ...numbered("0x7e\n0x38\n")]);
  assert.deepEqual(values, [
    { input: "0x7e", code: 7, value: "6" },
    { input: "0x38", code: 2, value: "1" },
  ]);
});

test("cast takes roundings and overflow rules, repeats stochastic ones by their seed, and explains", async () => {
  const cast = async (...flags: string[]) =>
    (await bitloom(["cast", "--to", "e4m3fn", ...flags, ...numbered("500\n1.06\n")])).stdout;
  assert.match(await cast("--overflow", "saturate", "--rounding", "up"), /^0x7e 448\n0x39 1.125\n$/);
  const first = await cast("--rounding", "stochastic", "--seed", "3");
  assert.equal(await cast("--rounding", "stochastic", "--seed", "3"), first);
  assert.match(
    await cast("--explain"),
    /overflow rule "nan"[\s\S]*nearest-even: less than half a step, so towards zero to 56/,
  );
});

test("cast says what it cannot read, and what has no code, with exit codes 2 and 5", async () => {
  const run = (text: string, ...flags: string[]) => bitloom(["cast", "--to", "e2m1", ...flags, ...numbered(text)]);
  assert.equal((await run("one\n")).code, 2);
  assert.equal((await run("0x1ff\n", "--from", "e4m3fn")).code, 2);
  assert.equal((await run("1\n", "--rounding", "nearest")).code, 2);
  assert.match((await run("1\n", "--rounding", "nearest-evn")).stderr, /did you mean "nearest-even"/);
  assert.equal((await run("nan\n")).code, 5);
});
