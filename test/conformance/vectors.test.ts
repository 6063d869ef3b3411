/** The published vector files: up to date, and right by the reference that shares no code with the codec. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import * as formats from "../../src/formats/index.js";
import * as tensor from "../../src/tensor/index.js";
import { encodeReference } from "./rational.js";

const folder = new URL("../../../vectors/", import.meta.url);
const read = (name: string) => readFileSync(new URL(name, folder), "utf8");
const rows = (name: string) =>
  read(name)
    .trimEnd()
    .split("\n")
    .slice(1)
    .map((line) => line.split(","));

test("the vector files are what vectors/make.mjs writes", async () => {
  const { vectorFiles } = (await import(new URL("make.mjs", folder).href)) as {
    vectorFiles(f: typeof formats, t: typeof tensor): Record<string, string>;
  };
  for (const [name, text] of Object.entries(vectorFiles(formats, tensor))) assert.ok(read(name) === text, name);
});

test("every row of roundings.csv for a minifloat agrees with exact rational arithmetic", () => {
  for (const [name, rounding, overflow, input, code] of rows("roundings.csv")) {
    const format = formats.format(name);
    const x = formats.readNumber(input);
    if (format.kind !== "minifloat" || (x === 0 && !Object.is(formats.decodeTable(format)[0], 0))) continue;
    const wanted = encodeReference(format, x, rounding as formats.Rounding, overflow as formats.Overflow);
    const value = formats.decode(format, Number(code));
    const label = `${name} ${rounding} ${overflow} ${input}`;
    if (wanted === "nan") assert.ok(Number.isNaN(value), label);
    else if (wanted === "inf" || wanted === "-inf") assert.equal(value, wanted === "inf" ? Infinity : -Infinity, label);
    else {
      const half = format.signed ? 2 ** (format.bits - 1) : Infinity;
      const magnitude = Number(code) >= half ? half - Number(code) : Number(code);
      assert.equal(magnitude + 0, (wanted as number) + 0, label);
    }
  }
});
