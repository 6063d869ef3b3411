import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { test } from "node:test";

/** Top floor first; imports go only to a lower line, or stay inside one folder. */
const FLOORS = [
  ["cli"],
  ["index"],
  ["entries"],
  ["bench"],
  ["search"],
  ["quantize", "evaluate"],
  ["models"],
  ["kernels", "checkpoints"],
  ["tensor"],
  ["formats"],
  ["options"],
  ["random", "registry"],
  ["errors"],
];
const source = new URL("../../src/", import.meta.url).pathname;
const roomOf = (path: string) => path.split("/")[0].replace(/(\.test)?\.[jt]s$/, "");
const floorOf = (room: string) => FLOORS.findIndex((floor) => floor.includes(room));

function importsOf(file: string): string[] {
  const text = readFileSync(join(source, file), "utf8");
  const found = text.matchAll(/(?:from|import\()\s*"(\.[^"]+)"/g);
  return [...found].map((match) => normalize(join(dirname(file), match[1])));
}

const files = (readdirSync(source, { recursive: true }) as string[]).filter((file) => file.endsWith(".ts"));

test("every source file stands on a floor", () => {
  for (const file of files) assert.notEqual(floorOf(roomOf(file)), -1, `${file} is in no known folder`);
});

test("imports go only downward, and neighbours on a floor do not import each other", () => {
  for (const file of files) {
    for (const target of importsOf(file)) {
      const [from, to] = [roomOf(file), roomOf(target)];
      if (from !== to) assert.ok(floorOf(to) > floorOf(from), `${file} imports ${target}`);
    }
  }
});
