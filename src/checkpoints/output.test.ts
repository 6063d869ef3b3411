import assert from "node:assert/strict";
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { type BitloomError, FileError, InputError } from "../errors.js";
import { checkFileOutput, checkFolderOutput, writeFileWhole, writeFolderWhole } from "./output.js";

const folder = realpathSync(mkdtempSync(join(tmpdir(), "bitloom-output-")));
after(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const text = (name: string) => readFileSync(at(name), "utf8");
const hidden = () => readdirSync(folder).filter((name) => name.startsWith("."));
const encode = (value: string) => new TextEncoder().encode(value);
/** A process id that no process has: beyond Linux's highest. */
const DEAD = 2 ** 22 + 1;

test("a file appears only when it is complete", async () => {
  const during = await writeFileWhole(at("new"), [], async (sink) => {
    await sink.write(3, encode("def"));
    await sink.write(0, encode("abc"));
    return readdirSync(folder);
  });
  assert.equal(during.includes("new"), false);
  assert.equal(text("new"), "abcdef");
  assert.deepEqual(hidden(), []);
});

test("after an error the old file is still there and the new one is gone", async () => {
  writeFileSync(at("old"), "old");
  const failing = writeFileWhole(at("old"), [], async (sink) => {
    await sink.write(0, encode("half"));
    throw new InputError("stop");
  });
  await assert.rejects(failing, /stop/);
  assert.equal(text("old"), "old");
  assert.deepEqual(hidden(), []);
});

test("what killed runs left is removed, what living ones write is not", async () => {
  writeFileSync(at(`.out.${DEAD}-1.partial`), "left");
  writeFileSync(at(`.out.${process.ppid}-1.partial`), "alive");
  writeFileSync(at(".out.txt"), "not ours");
  await writeFileWhole(at("out"), [], (sink) => sink.write(0, encode("x")));
  assert.deepEqual(hidden().sort(), [`.out.${process.ppid}-1.partial`, ".out.txt"].sort());
  for (const name of hidden()) rmSync(at(name));
});

test("an old folder left aside by a run that was killed while swapping returns", async () => {
  mkdirSync(at(`.model.${DEAD}-1.old`));
  writeFileSync(at(`.model.${DEAD}-1.old/mine`), "1");
  const refused = writeFolderWhole(
    at("model"),
    [],
    async () => "it is not ours",
    async () => {},
  );
  await assert.rejects(refused, /not replaced/);
  assert.equal(text("model/mine"), "1");
  await writeFolderWhole(
    at("model"),
    [],
    async () => true,
    ({ file }) => file("new", (sink) => sink.write(0, encode("2"))),
  );
  assert.deepEqual(readdirSync(at("model")), ["new"]);
  assert.deepEqual(hidden(), []);
});

test("the input is never the output, whatever path leads to it", async () => {
  writeFileSync(at("input"), "precious");
  symlinkSync(at("input"), at("link"));
  for (const path of [at("input"), at("link"), join(folder, "model", "..", "input")]) {
    const write = writeFileWhole(path, [at("input")], (sink) => sink.write(0, encode("x")));
    await assert.rejects(write, InputError);
  }
  const around = writeFolderWhole(
    folder,
    [at("input")],
    async () => true,
    async () => {},
  );
  await assert.rejects(around, InputError);
  assert.equal(text("input"), "precious");
});

test("a link as output is followed, a folder in the place of a file refused", async () => {
  writeFileSync(at("target"), "old");
  symlinkSync(at("target"), at("alias"));
  await writeFileWhole(at("alias"), [], (sink) => sink.write(0, encode("new")));
  assert.equal(text("target"), "new");
  await assert.rejects(
    writeFileWhole(folder, [], async () => {}),
    FileError,
  );
  await assert.rejects(
    writeFolderWhole(
      at("target"),
      [],
      async () => true,
      async () => {},
    ),
    FileError,
  );
});

test("a system error says where, why and what to try, and keeps its code", async () => {
  const check = (code: string) => (error: BitloomError) => {
    assert.ok(error instanceof FileError);
    assert.ok(error.details.where && error.details.why);
    assert.equal((error.details.cause as NodeJS.ErrnoException).code, code);
    return true;
  };
  const nothing = async () => {};
  await assert.rejects(writeFileWhole(join(at("input"), "below"), [], nothing), check("EEXIST"));
  await assert.rejects(writeFileWhole(at("n".repeat(300)), [], nothing), check("ENAMETOOLONG"));
  await assert.rejects(
    writeFileWhole(at("large"), [], (sink) => sink.reserve?.(2 ** 60) ?? Promise.resolve()),
    /no room/,
  );
});

test("a folder without permission to write is an error", async (t) => {
  if (process.getuid?.() === 0) return t.skip("skipped, because root may write everywhere");
  mkdirSync(at("locked"));
  chmodSync(at("locked"), 0o500);
  await assert.rejects(
    writeFileWhole(join(at("locked"), "x"), [], async () => {}),
    FileError,
  );
});

test("what would keep an output from its place is told before there is one, and no folder is made", async () => {
  mkdirSync(at("full"));
  writeFileSync(at("full/notes"), "mine");
  const no = async () => "it holds notes";
  await assert.rejects(checkFileOutput(at("full"), [], 1), /cannot write/);
  await assert.rejects(checkFolderOutput(at("full"), [], 1, no), /is not replaced/);
  await assert.rejects(checkFileOutput(at("full/notes"), [at("full/notes")], 1), /would overwrite the input/);
  await assert.rejects(checkFileOutput(at("full/x"), [], 2 ** 60), /no room/);
  await assert.rejects(checkFileOutput(at("full/notes/x"), [], 1), /cannot write/);
  await checkFileOutput(at("not/yet/there"), [], 1);
  await checkFolderOutput(at("not"), [], 1, no);
  assert.deepEqual(readdirSync(at("full")), ["notes"]);
  assert.equal(readdirSync(folder).includes("not"), false);
});
