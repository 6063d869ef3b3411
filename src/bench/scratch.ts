/** A folder for what a measurement writes and reads again; it goes when the process does. */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "../checkpoints/output.js";

export interface Scratch {
  readonly path: string;
  /** Removes the folder with all that is in it. */
  remove(): void;
}

/**
 * A new folder `bitloom-NAME-HOST-PID-...` among the system's temporary ones. It is removed when the process exits by itself or by
 * `process.exit`, as a second Ctrl-C does; what a killed one has left goes when the next asks for a folder of this name.
 */
export async function openScratch(name: string, within = tmpdir()): Promise<Scratch> {
  const mine = `bitloom-${name}-${hostname()}-`;
  for (const folder of readdirSync(within)) {
    const owner = folder.startsWith(mine) ? /^(\d+)-/.exec(folder.slice(mine.length)) : null;
    if (owner && !(await isAlive(Number(owner[1])))) rmSync(join(within, folder), { recursive: true, force: true });
  }
  const path = mkdtempSync(join(within, `${mine}${process.pid}-`));
  const clear = () => rmSync(path, { recursive: true, force: true });
  process.once("exit", clear);
  return {
    path,
    remove() {
      process.off("exit", clear);
      clear();
    },
  };
}
