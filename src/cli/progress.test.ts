import assert from "node:assert/strict";
import { Writable } from "node:stream";
import { test } from "node:test";
import { progress, secondsLeft } from "./progress.js";

function collector(terminal: boolean) {
  const parts: string[] = [];
  const stream = new Writable({
    write(chunk, _encoding, done) {
      parts.push(String(chunk));
      done();
    },
  });
  const extra = { isTTY: terminal, columns: 80, cursorTo: () => true, clearLine: () => true, moveCursor: () => true };
  return { parts, stream: Object.assign(stream, extra) as unknown as NodeJS.WriteStream };
}

test("time left follows from the speed so far", () => {
  assert.equal(secondsLeft(0, 10, 5), undefined);
  assert.equal(secondsLeft(5, 10, 5), 5);
  assert.equal(secondsLeft(10, 10, 5), 0);
});

test("without a terminal a line appears each tenth, but not more often than every two seconds", () => {
  let time = 0;
  const { parts, stream } = collector(false);
  const bar = progress("lines", stream, () => time);
  bar.start("work", 100);
  for (let done = 1; done <= 100; done++) {
    time += 100;
    bar.update(done);
  }
  bar.stop();
  assert.deepEqual(parts, [
    "work: 20 %, 8.0 s left\n",
    "work: 40 %, 6.0 s left\n",
    "work: 60 %, 4.0 s left\n",
    "work: 80 %, 2.0 s left\n",
    "work: 100 %, 0.0 s left\n",
  ]);
});

test("a bar never takes more than one line of the terminal", () => {
  const { parts, stream } = collector(true);
  const bar = progress("bar", stream);
  bar.start("work", 10);
  bar.update(5, "a note ".repeat(40));
  bar.stop();
  const lines = parts.filter((part) => part.includes("work"));
  assert.ok(lines.length > 0);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: escape sequences take no room
  for (const line of lines) assert.ok(line.replace(/\x1b\[[0-9;?]*[A-Za-z]/g, "").length < 80, line);
});

test("no progress means not one byte", () => {
  const { parts, stream } = collector(true);
  const bar = progress("none", stream);
  bar.start("work", 10);
  bar.update(5);
  bar.stop();
  assert.deepEqual(parts, []);
});
