import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { ERROR_IDS, FileError, InputError, NumericError, UnsupportedError } from "../errors.js";
import { EXIT } from "./exit-codes.js";
import { explanations } from "./explanations/index.js";
import { failureOf, failureText, Interrupted, Unfinished } from "./failure.js";

const plain = (text: string) => text;
const style = { bold: plain, dim: plain, error: plain };
const systemError = (code: string, syscall: string) => Object.assign(new Error(code), { code, syscall, errno: -1 });

test("every id is given once, has its class's exit code, and never changes its form", () => {
  const ids = Object.values(ERROR_IDS);
  assert.equal(new Set(ids).size, ids.length);
  const exits = {
    US: EXIT.usage,
    IN: EXIT.file,
    UN: EXIT.unsupported,
    NU: EXIT.quality,
    IO: EXIT.io,
    BU: EXIT.internal,
  };
  for (const { name, exitCode } of explanations.entries) {
    const [, family] = /^BL-([A-Z]{2})-\d{3}$/.exec(name) ?? [];
    assert.equal(exits[family as keyof typeof exits], exitCode, name);
  }
  assert.equal(explanations.entries.length, ids.length + 1);
});

test("every class of error has its exit code", () => {
  const codes = [InputError, FileError, UnsupportedError, NumericError].map(
    (Class) => failureOf(new Class("x")).exitCode,
  );
  assert.deepEqual(codes, [EXIT.usage, EXIT.file, EXIT.unsupported, EXIT.quality]);
  assert.equal(failureOf(new Error("x")).exitCode, EXIT.internal);
  assert.equal(failureOf(new Interrupted("SIGINT")).exitCode, 130);
  assert.equal(failureOf(new Interrupted("SIGTERM")).exitCode, 143);
});

test("a missing file is a bad input, a full disk is not", async () => {
  const missing = await readFile("/no/such/file").catch((error: unknown) => error);
  const found = [
    missing,
    systemError("ENOSPC", "write"),
    systemError("EACCES", "open"),
    systemError("ENOTDIR", "mkdir"),
  ]
    .map(failureOf)
    .map(({ id, exitCode }) => [id, exitCode]);
  assert.deepEqual(found, [
    [ERROR_IDS["missing-file"], EXIT.file],
    [ERROR_IDS["disk-full"], EXIT.io],
    [ERROR_IDS["no-permission"], EXIT.io],
    [ERROR_IDS["path-not-writable"], EXIT.io],
  ]);
});

test("text says what, where, why and what to try, and escapes what a file smuggled in", () => {
  const failure = failureOf(
    new FileError("bad \x1b[2J", { kind: "truncated-file", where: "a.gguf", why: "got 1\nwanted 2", try: "again" }),
  );
  assert.equal(
    failureText(failure, style),
    "error[BL-IN-003]: bad \\x1b[2J\n  --> a.gguf\n  why: got 1\n       wanted 2\n  try: again\n" +
      "  more: bitloom explain BL-IN-003 (exit 3; --json carries the same fields)\n",
  );
});

test("what an unfinished run leaves is said with the error's own fields, or with the signal", () => {
  const kept = "2 finished parts in .x.parts";
  const failed = failureOf(new Unfinished(new InputError("what"), kept));
  assert.deepEqual(failed, { ...failureOf(new InputError("what")), kept });
  assert.match(failureText(failed, style), /^error\[BL-US-000\]: what\n {2}kept: 2 finished parts in \.x\.parts\n/);
  const stopped = failureOf(new Unfinished(new Interrupted("SIGINT"), kept));
  assert.equal(stopped.exitCode, 130);
  assert.equal(failureText(stopped, style), `interrupted\n${kept}\n`);
});

test("JSON carries the same fields", () => {
  const failure = failureOf(new InputError("what", { where: "here" }));
  assert.deepEqual(JSON.parse(JSON.stringify(failure)), {
    error: "InputError",
    id: "BL-US-000",
    message: "what",
    where: "here",
    exitCode: 2,
  });
});
