/**
 * The folder in which a run keeps its finished parts: beside the output, for this run alone, until the output is written; or
 * one that the user names, which stays, so that runs with other recipes or outputs take up what fits them.
 */
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { isAlive } from "../checkpoints/output.js";
import { SystemError } from "../errors.js";
import { type ArtifactStore, openArtifacts } from "./artifacts.js";

export interface Work {
  readonly store: ArtifactStore;
  /** Removes parts that are not among `keys`: leftovers of other recipes. */
  keepOnly(keys: ReadonlySet<string>): Promise<void>;
  /** `finished`: the output is written, and nothing is to be resumed. Else what stays for the next run, if anything does. */
  close(finished: boolean): Promise<KeptParts | undefined>;
}

/** Finished parts that an unfinished run leaves for the next. */
export interface KeptParts {
  readonly folder: string;
  readonly parts: number;
}

/** The folder of parts that belongs to an output path. */
export const workFolder = (output: string): string =>
  join(dirname(resolve(output)), `.${basename(resolve(output))}.parts`);

/** `kept`: the folder that stays. A SystemError if another run is at work on the same output. */
export async function openWork(output: string, kept?: string): Promise<Work> {
  if (kept !== undefined)
    return { store: await openArtifacts(kept), keepOnly: async () => {}, close: async () => undefined };
  const folder = workFolder(output);
  await mkdir(folder, { recursive: true });
  const lock = await takeLock(folder, output);
  return {
    store: await openArtifacts(folder),
    async keepOnly(keys) {
      const old = (await readdir(folder)).filter(
        (name) => !name.endsWith(LOCK) && !keys.has(name.replace(/\.part$/, "")),
      );
      for (const name of old) await rm(join(folder, name), { force: true });
    },
    async close(finished) {
      await rm(lock, { force: true });
      const parts = (await readdir(folder)).filter((name) => name.endsWith(".part")).length;
      if (!finished && parts > 0) return { folder, parts };
      if (finished || (await readdir(folder)).length === 0) await rm(folder, { recursive: true, force: true });
      return undefined;
    },
  };
}

const LOCK = ".lock";
let taken = 0;

/** A file that says who is at work: each run has one of its own, and yields to those that were there before. */
async function takeLock(folder: string, output: string): Promise<string> {
  const own = `${process.pid}-${++taken}${LOCK}`;
  await writeFile(join(folder, own), "");
  for (const name of await readdir(folder)) {
    if (!name.endsWith(LOCK) || name === own) continue;
    const pid = Number.parseInt(name, 10);
    if (!(await isAlive(pid))) {
      await rm(join(folder, name), { force: true });
      continue;
    }
    await rm(join(folder, own), { force: true });
    throw new SystemError(`another run is at work on ${output}`, {
      kind: "output-refused",
      where: join(folder, name),
      why: `process ${pid} keeps its finished parts there`,
      try: "wait for it, or name another output",
    });
  }
  return join(folder, own);
}
