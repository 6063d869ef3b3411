import assert from "node:assert/strict";
import type { ChildProcess } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { spawnBitloom, temporaryFolder, withoutDemo } from "./bitloom.js";

/** Sends `signal` as soon as something appears in the folder: the output is being written then. */
const killWhenWriting = (folder: string, signal: NodeJS.Signals) => (child: ChildProcess) => {
  const timer = setInterval(() => {
    if (readdirSync(folder).length === 0) return;
    clearInterval(timer);
    child.kill(signal);
  }, 1);
};

for (const [signal, expected] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  test(`${signal} while a model is written ends with ${expected} and leaves nothing`, {
    skip: withoutDemo,
  }, async () => {
    const folder = temporaryFolder();
    const args = ["quantize", "demo", "--to", "q4_0", "-o", join(folder, "x.gguf")];
    const { code, stdout, stderr } = await spawnBitloom(args, { onStart: killWhenWriting(folder, signal) });
    assert.equal(code, expected, stderr);
    assert.equal(stdout, "");
    assert.match(stderr, signal === "SIGINT" ? /^interrupted$/m : /^terminated$/m);
    assert.deepEqual(readdirSync(folder), []);
  });
}

test("a measurement that is interrupted ends soon and leaves none of its models behind", {
  skip: withoutDemo,
}, async () => {
  const folder = temporaryFolder();
  const args = ["bench", "quality", "demo", "--to", "q4_0", "--method", "rtn", "--tokens", "8192"];
  const settings = { env: { TMPDIR: folder }, onStart: killWhenWriting(folder, "SIGINT") };
  const { code, stdout, stderr } = await spawnBitloom(args, settings);
  assert.equal(code, 130, stderr);
  assert.equal(stdout, "");
  assert.deepEqual(readdirSync(folder), []);
});

test("a killed run leaves no file under the output's name, and the next run cleans up after it", {
  skip: withoutDemo,
}, async () => {
  const folder = temporaryFolder();
  const args = ["quantize", "demo", "--to", "q4_0", "-o", join(folder, "x.gguf")];
  const killed = await spawnBitloom(args, { onStart: killWhenWriting(folder, "SIGKILL") });
  assert.equal(killed.signal, "SIGKILL");
  assert.ok(!readdirSync(folder).includes("x.gguf"));
  const next = await spawnBitloom(args);
  assert.equal(next.code, 0, next.stderr);
  assert.deepEqual(readdirSync(folder), ["x.gguf"]);
});

test("a reader that goes away ends the command quietly", { skip: withoutDemo }, async () => {
  const { code, stderr } = await spawnBitloom(["run", "demo", "--prompt", "The", "--tokens", "400"], {
    onStart: (child) => child.stdout?.destroy(),
  });
  assert.equal(code, 0);
  assert.equal(stderr, "");
});

test("a calibrated run that is interrupted says which parts stay, where, and what to do with them", {
  skip: withoutDemo,
}, async () => {
  const folder = temporaryFolder();
  const parts = join(folder, ".x.gguf.parts");
  const onStart = (child: ChildProcess) => {
    const timer = setInterval(() => {
      if (!existsSync(parts) || !readdirSync(parts).some((name) => name.endsWith(".part"))) return;
      clearInterval(timer);
      child.kill("SIGINT");
    }, 1);
  };
  const args = ["quantize", "demo", "--to", "q4_0", "--method", "imatrix", "--set", "steps=2", "--windows", "2"];
  const more = ["--window", "32", "-o", join(folder, "x.gguf"), "--json"];
  const { code, stdout, stderr } = await spawnBitloom([...args, ...more], { onStart });
  assert.equal(code, 130, stderr);
  assert.match(stderr, /^interrupted\n\d+ finished parts? in .*\.x\.gguf\.parts: the same command goes on from there/);
  assert.match((JSON.parse(stdout) as { kept: string }).kept, /delete the folder/);
  assert.deepEqual(readdirSync(folder), [".x.gguf.parts"]);
});
