import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { promisify } from "node:util";
import { FileError } from "../../errors.js";
import { checkKept, type KeptRow, keepRow } from "./kept-rows.js";

const folder = mkdtempSync(join(tmpdir(), "bitloom-rows-"));
after(() => rmSync(folder, { recursive: true }));
const rowsIn = (file: string) => (JSON.parse(readFileSync(file, "utf8")) as { rows: KeptRow[] }).rows;

test("a row takes the place of the one of its model, scheme and method, others stay", () => {
  const file = join(folder, "rows.json");
  const row = (method: string, bytes: number) => ({ model: "m", scheme: "q4_0", method, bytes });
  for (const one of [row("rtn", 1), row("gptq", 2), row("rtn", 3)]) keepRow(file, one);
  assert.deepEqual(rowsIn(file), [row("gptq", 2), row("rtn", 3)]);
});

test("rows that several processes keep at the same time are all there, and the lock is gone", async () => {
  const file = join(folder, "shared.json");
  const module_ = JSON.stringify(new URL("./kept-rows.js", import.meta.url).href);
  const write = (method: string) => {
    const each = `for (let i = 0; i < 15; i++) keepRow(${JSON.stringify(file)}, { model: "m", scheme: String(i), method: "${method}" })`;
    const script = `import { keepRow } from ${module_}; ${each}`;
    return promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
  };
  await Promise.all(["a", "b", "c"].map(write));
  assert.equal(new Set(rowsIn(file).map(({ scheme, method }) => scheme + method)).size, 45);
  assert.deepEqual([`${file}.lock`, `${file}.partial`].filter(existsSync), []);
});

test("a lock that nobody lets go of is named, and nothing is written", () => {
  const file = join(folder, "locked.json");
  writeFileSync(`${file}.lock`, "");
  assert.throws(
    () => keepRow(file, { model: "m", scheme: "s", method: "rtn" }),
    /remove .*locked\.json\.lock|another process/,
  );
  assert.ok(!existsSync(file));
});

test("a file that holds something else, or that nobody can write, is a file error before anything is measured", () => {
  const file = join(folder, "text.json");
  for (const content of ["no JSON", "[]", "null", '{"rows": 1}']) {
    writeFileSync(file, content);
    assert.throws(() => checkKept(file), FileError, content);
    assert.equal(readFileSync(file, "utf8"), content);
    assert.ok(!existsSync(`${file}.lock`));
  }
  assert.throws(() => checkKept(join(folder, "nosuch", "rows.json")), { code: "ENOENT" });
  checkKept(join(folder, "new.json"));
  assert.ok(!existsSync(join(folder, "new.json")));
});
