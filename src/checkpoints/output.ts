/**
 * Output that is whole or not there. Everything is written under a temporary name in the same folder, `.NAME.PID-N.partial`,
 * flushed to disk, and renamed at the end; an error removes it. A killed run leaves its temporary name behind, which the
 * next run that writes the same output removes, because no process of that id lives any more.
 */
import { mkdir, mkdtemp, open, readdir, readFile, realpath, rename, rm, stat, statfs } from "node:fs/promises";
import { basename, dirname, join, resolve, sep } from "node:path";
import { InputError, SystemError } from "../errors.js";
import type { ByteSink } from "./checkpoint.js";
import { fileError, isSystemError } from "./file.js";
import { place } from "./source.js";

/** Runs `work` on a new file and puts it in the place of `path`, at once, when `work` is done. */
export async function writeFileWhole<T>(
  path: string,
  inputs: readonly string[],
  work: (sink: ByteSink) => Promise<T>,
): Promise<T> {
  return systemErrorsOf(path, async () => {
    const target = await targetOf(path, inputs);
    await checkedFile(path, target);
    const temporary = await temporaryName(target);
    try {
      const result = await writeNewFile(temporary, path, work);
      await rename(temporary, target);
      await syncFolder(dirname(target));
      return result;
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  });
}

/** Throws what would keep `writeFileWhole` from putting a file of so many bytes there. Makes no folder that is missing. */
export const checkFileOutput = (path: string, inputs: readonly string[], bytes: number): Promise<void> =>
  checkPlace(path, inputs, bytes, (target) => checkedFile(path, target));

/** The same for `writeFolderWhole`. */
export const checkFolderOutput = (
  path: string,
  inputs: readonly string[],
  bytes: number,
  replaceable: (folder: string) => Promise<true | string>,
): Promise<void> =>
  checkPlace(path, inputs, bytes, async (target) => void (await checkedFolder(path, target, replaceable)));

async function checkPlace(
  path: string,
  inputs: readonly string[],
  bytes: number,
  checkTarget: (target: string) => Promise<void>,
): Promise<void> {
  await systemErrorsOf(path, async () => {
    const folder = dirname(resolve(path));
    const existing = await nearestFolder(folder);
    if (existing === folder) await checkTarget(await targetIn(folder, path, inputs));
    await rm(await mkdtemp(join(existing, ".bitloom-")), { recursive: true });
    await checkSpace(existing, path, bytes);
  });
}

/** The folder itself, or the one in which it would have to be made. */
async function nearestFolder(path: string): Promise<string> {
  const found = await kindOf(path);
  if (found === "nothing") return nearestFolder(dirname(path));
  if (found === "folder") return path;
  throw Object.assign(new Error("not a directory"), { code: "ENOTDIR", syscall: "mkdir" });
}

/** A folder in the making. */
export interface NewFolder {
  /** Adds a file; it is flushed to disk when `work` is done. */
  file<T>(name: string, work: (sink: ByteSink) => Promise<T>): Promise<T>;
}

/**
 * Runs `work` on a new folder and puts it in the place of `path` when `work` is done. A folder that exists is replaced
 * if `replaceable` finds nothing in it that speaks against it; it returns the reason otherwise.
 */
export async function writeFolderWhole<T>(
  path: string,
  inputs: readonly string[],
  replaceable: (folder: string) => Promise<true | string>,
  work: (folder: NewFolder) => Promise<T>,
): Promise<T> {
  return systemErrorsOf(path, async () => {
    const target = await targetOf(path, inputs);
    const temporary = await temporaryName(target);
    const before = await checkedFolder(path, target, replaceable);
    try {
      await mkdir(temporary);
      const file: NewFolder["file"] = (name, inner) => writeNewFile(join(temporary, name), join(path, name), inner);
      const result = await work({ file });
      await syncFolder(temporary);
      if (before === "nothing") await rename(temporary, target);
      else await swap(temporary, target);
      await syncFolder(dirname(target));
      return result;
    } catch (error) {
      await rm(temporary, { recursive: true, force: true });
      throw error;
    }
  });
}

/** The old folder steps aside, the new one takes its place; if that fails the old one returns. */
async function swap(temporary: string, target: string): Promise<void> {
  const aside = temporary.replace(/\.partial$/, ".old");
  await rename(target, aside);
  try {
    await rename(temporary, target);
  } catch (error) {
    await rename(aside, target);
    throw error;
  }
  await rm(aside, { recursive: true, force: true });
}

async function checkedFile(path: string, target: string): Promise<void> {
  const found = await kindOf(target);
  if (found === "nothing" || found === "file") return;
  throw new SystemError(`cannot write ${path}`, {
    kind: "output-refused",
    where: path,
    why: `it is a ${found}`,
    try: "name a file",
  });
}

async function checkedFolder(
  path: string,
  target: string,
  replaceable: (folder: string) => Promise<true | string>,
): Promise<"nothing" | "folder"> {
  const found = await kindOf(target);
  if (found === "nothing") return found;
  if (found !== "folder") {
    throw new SystemError(`cannot write the folder ${path}`, {
      kind: "output-refused",
      where: path,
      why: `it is a ${found}`,
      try: "name another output",
    });
  }
  const answer = (await readdir(target)).length === 0 || (await replaceable(target));
  if (answer === true) return found;
  throw new SystemError(`the folder ${path} is not replaced`, {
    kind: "output-refused",
    where: path,
    why: answer,
    try: "name another folder, or remove this one",
  });
}

async function writeNewFile<T>(path: string, shown: string, work: (sink: ByteSink) => Promise<T>): Promise<T> {
  const handle = await open(path, "wx");
  try {
    const result = await work({
      name: shown,
      async write(offset, bytes) {
        let done = 0;
        while (done < bytes.length) {
          const left = Math.min(bytes.length - done, 2 ** 30);
          try {
            done += (await handle.write(bytes, done, left, offset + done)).bytesWritten;
          } catch (error) {
            throw fileError(error, `cannot write ${shown}`, { where: place(shown, { offset: offset + done }) });
          }
        }
      },
      reserve: (bytes) => checkSpace(dirname(path), shown, bytes),
    });
    await handle.sync();
    return result;
  } finally {
    await handle.close();
  }
}

/** A disk that is too small is known before the work, not after. */
async function checkSpace(folder: string, shown: string, bytes: number): Promise<void> {
  const { blocks, bavail, bsize } = await statfs(folder);
  // Some network file systems do not say how large they are.
  if (blocks === 0 || bavail * bsize >= bytes) return;
  throw new SystemError(`no room for ${shown}`, {
    kind: "disk-full",
    where: shown,
    why: `${bytes} bytes are to be written, ${bavail * bsize} are free`,
    try: "free some space or choose another folder",
  });
}

/** The place that is replaced: behind symbolic links, in a folder that exists; no input and no folder of one. */
async function targetOf(path: string, inputs: readonly string[]): Promise<string> {
  const folder = dirname(resolve(path));
  await makeFolder(folder);
  return targetIn(folder, path, inputs);
}

async function targetIn(folder: string, path: string, inputs: readonly string[]): Promise<string> {
  const target = await realpath(path).catch(async (error) => {
    if (isSystemError(error) && error.code === "ENOENT") return join(await realpath(folder), basename(resolve(path)));
    throw error;
  });
  for (const input of inputs) {
    const real = await realpath(input);
    if (real !== target && !real.startsWith(target + sep)) continue;
    throw new InputError(`${path} would overwrite the input`, {
      kind: "output-is-input",
      where: path,
      why: real === target ? `it is the same as ${input}` : `it contains ${input}`,
      try: "name another output",
    });
  }
  return target;
}

/** `mkdir -p`. Node's own never ends where an existing folder cannot hold another, as /proc. */
async function makeFolder(path: string): Promise<void> {
  // Where nothing can be seen, mkdir says what is wrong.
  const isFolder = () =>
    stat(path).then(
      (found) => found.isDirectory(),
      () => false,
    );
  if (dirname(path) === path || (await isFolder())) return;
  await makeFolder(dirname(path));
  try {
    await mkdir(path);
  } catch (error) {
    // Another process may have been faster.
    if (!(await isFolder())) throw error;
  }
}

let written = 0;

/** A new temporary name beside `target`; removes what killed runs left there. */
async function temporaryName(target: string): Promise<string> {
  const [folder, name] = [dirname(target), basename(target)];
  for (const entry of await readdir(folder)) {
    if (!entry.startsWith(`.${name}.`)) continue;
    const match = /^(\d+)-\d+\.(partial|old)$/.exec(entry.slice(name.length + 2));
    if (!match || (await isAlive(Number(match[1])))) continue;
    const leftover = join(folder, entry);
    // Killed between the two renames of a swap: the old folder is the only whole one.
    if (match[2] === "old" && (await kindOf(target)) === "nothing") await rename(leftover, target);
    else await rm(leftover, { recursive: true, force: true });
  }
  return join(folder, `.${name}.${process.pid}-${++written}.partial`);
}

/** Whether a process of that id is at work. */
export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    // EPERM: it lives and belongs to someone else.
    return isSystemError(error) && error.code === "EPERM";
  }
  // A killed process whose parent does not collect it (common in containers) still has its id: state Z.
  if (process.platform !== "linux") return true;
  try {
    return !/\) [ZX] /.test(await readFile(`/proc/${pid}/stat`, "latin1"));
  } catch (error) {
    if (isSystemError(error)) return false;
    throw error;
  }
}

async function kindOf(path: string): Promise<"nothing" | "file" | "folder" | "device"> {
  try {
    const found = await stat(path);
    if (found.isFile()) return "file";
    return found.isDirectory() ? "folder" : "device";
  } catch (error) {
    if (isSystemError(error) && error.code === "ENOENT") return "nothing";
    throw error;
  }
}

/** Makes a rename survive a power cut. Windows cannot open folders and needs no such thing. */
async function syncFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function systemErrorsOf<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fileError(error, `cannot write ${path}`, { where: path });
  }
}
