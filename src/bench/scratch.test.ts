import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { openScratch } from "./scratch.js";

const within = mkdtempSync(join(tmpdir(), "bitloom-scratch-test-"));
after(() => rmSync(within, { recursive: true }));
const module = new URL("./scratch.js", import.meta.url).href;
/** Opens a folder in another process, which writes into it and then ends as `end` says. */
const elsewhere = (end: string) => {
  const code = `import { openScratch } from ${JSON.stringify(module)};
    import { writeFileSync } from "node:fs";
    writeFileSync((await openScratch("x", ${JSON.stringify(within)})).path + "/model", "1");
    ${end}`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", code]);
};

test("a folder is there until it is removed, and goes with a process that throws or exits", async () => {
  const scratch = await openScratch("x", within);
  writeFileSync(join(scratch.path, "model"), "1");
  assert.ok(existsSync(join(scratch.path, "model")));
  scratch.remove();
  assert.deepEqual(readdirSync(within), []);
  assert.equal(elsewhere("process.exit(3)").status, 3);
  assert.equal(elsewhere("throw new Error()").status, 1);
  assert.deepEqual(readdirSync(within), []);
});

test("what a killed process left goes when the next asks for a folder; folders of living ones and other names stay", async () => {
  assert.equal(elsewhere('process.kill(process.pid, "SIGKILL"); setInterval(() => {}, 1000)').signal, "SIGKILL");
  assert.equal(readdirSync(within).length, 1);
  const other = join(within, "bitloom-y-elsewhere-1-abc");
  mkdirSync(other);
  const first = await openScratch("x", within);
  const second = await openScratch("x", within);
  assert.equal(readdirSync(within).length, 3);
  assert.ok(existsSync(first.path) && existsSync(second.path) && existsSync(other));
  first.remove();
  second.remove();
});
