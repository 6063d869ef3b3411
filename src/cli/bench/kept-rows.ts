/** Rows of measurements kept in a file that several runs write at the same time. */
import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { FileError } from "../../errors.js";

export interface KeptRow {
  readonly model: string;
  readonly scheme: string;
  readonly method: string;
}

/** What the file holds; none if there is no such file. A FileError if it holds anything else. */
export function keptRows(file: string): readonly KeptRow[] {
  if (!existsSync(file)) return [];
  const wrong = (why: string, cause?: unknown) =>
    new FileError("the file does not hold kept rows", {
      kind: "bad-header",
      where: file,
      why,
      try: "the name of a new file",
      cause,
    });
  const text = readFileSync(file, "utf8");
  let content: { readonly rows?: unknown } | null;
  try {
    content = JSON.parse(text);
  } catch (cause) {
    throw wrong((cause as Error).message, cause);
  }
  if (!Array.isArray(content?.rows)) throw wrong('it has no list "rows"');
  return content.rows as KeptRow[];
}

/** A FileError where rows could not be kept: found before the work whose result would be lost. */
export function checkKept(file: string): void {
  locked(file)();
  keptRows(file);
}

/** Puts a row in the place of the one of its model, scheme and method; all others stay, also those that came meanwhile. */
export function keepRow(file: string, row: KeptRow): void {
  const unlock = locked(file);
  try {
    const keyOf = ({ model, scheme, method }: KeptRow) => `${model} ${scheme} ${method}`;
    const rows = [...keptRows(file).filter((one) => keyOf(one) !== keyOf(row)), row];
    writeFileSync(`${file}.partial`, `${JSON.stringify({ rows }, null, 2)}\n`);
    renameSync(`${file}.partial`, file);
  } finally {
    unlock();
  }
}

const WAIT_MS = 20;
/** A row is written in milliseconds. */
const MOST_WAITS = 250;

/** Waits until no other process writes the file; gives the way to let go of it. */
function locked(file: string): () => void {
  const lock = `${file}.lock`;
  for (let wait = 0; wait < MOST_WAITS; wait++) {
    try {
      closeSync(openSync(lock, "wx"));
      return () => rmSync(lock);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, WAIT_MS);
    }
  }
  throw new FileError("a row cannot be kept, because another process has not let go of the file", {
    where: file,
    why: `${lock} has been there for ${(WAIT_MS * MOST_WAITS) / 1000} s`,
    try: `remove ${lock} if no other run is at work`,
  });
}
