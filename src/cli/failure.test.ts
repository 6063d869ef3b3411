import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { FileError, InputError, NumericError, UnsupportedError } from "../errors.js";
import { EXIT } from "./exit-codes.js";
import { failureJson, failureOf, failureText, Interrupted } from "./failure.js";

const plain = (text: string) => text;
const style = { bold: plain, dim: plain, error: plain };
const systemError = (code: string, syscall: string) => Object.assign(new Error(code), { code, syscall, errno: -1 });

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
  assert.equal(failureOf(missing).exitCode, EXIT.file);
  assert.equal(failureOf(new FileError("x", { cause: missing })).exitCode, EXIT.file);
  assert.equal(failureOf(new FileError("x", { cause: systemError("ENOSPC", "write") })).exitCode, EXIT.io);
  assert.equal(failureOf(systemError("ENOTDIR", "mkdir")).exitCode, EXIT.io);
});

test("text says what, where, why and what to try, and escapes what a file smuggled in", () => {
  const failure = failureOf(new FileError("bad \x1b[2J", { where: "a.gguf", why: "got 1\nwanted 2", try: "again" }));
  assert.equal(
    failureText(failure, style),
    "error: bad \\x1b[2J\n  --> a.gguf\n  why: got 1\n       wanted 2\n  try: again\n",
  );
});

test("JSON carries the same fields", () => {
  const failure = failureOf(new InputError("what", { where: "here" }));
  assert.deepEqual(JSON.parse(failureJson(failure)), {
    schema: "bitloom.error/1",
    error: "InputError",
    message: "what",
    where: "here",
    exitCode: 2,
  });
});
