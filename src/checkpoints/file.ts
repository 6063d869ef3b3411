/** Byte sources over files. One of the few files of this folder that need Node; loaded only when a path is opened. */
import { type FileHandle, open, stat } from "node:fs/promises";
import { type ErrorDetails, FileError, SystemError, type SystemKind } from "../errors.js";
import type { ByteSource } from "./checkpoint.js";
import { checkRange, place } from "./source.js";

/** What the operating system's error codes mean to a user, what to try, and their kind where it is not the general one. */
const SYSTEM_ERRORS: Readonly<Record<string, readonly [why: string, advice: string, kind?: SystemKind]>> = {
  ENOENT: ["no such file or folder", "check the path", "path-not-writable"],
  ENOTDIR: ["a part of the path is a file, not a folder", "check the path", "path-not-writable"],
  EEXIST: ["something else has this name", "choose another name", "path-not-writable"],
  EISDIR: ["it is a folder", "name a file", "path-not-writable"],
  EACCES: ["permission denied", "check the permissions of the file and its folder", "no-permission"],
  EPERM: ["the operation is not permitted", "check the permissions of the file and its folder", "no-permission"],
  EROFS: ["the file system is read-only", "choose another folder", "path-not-writable"],
  ENOSPC: ["the disk is full", "free some space or choose another folder", "disk-full"],
  EDQUOT: ["the disk quota is used up", "free some space or choose another folder", "disk-full"],
  EFBIG: ["the file would be larger than the system allows", "choose another disk"],
  EMFILE: ["too many files are open", "close some, or raise the limit (ulimit -n)"],
  ENAMETOOLONG: ["the name is too long", "choose a shorter name"],
  ELOOP: ["too many symbolic links", "check the path"],
};

/** True for an error of the operating system, which carries a code such as ENOENT. */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && typeof (error as NodeJS.ErrnoException).code === "string";
}

/** A path that cannot be read because of what it is: the file is wrong, not the system. */
const PATH_CODES: readonly string[] = ["ENOENT", "ENOTDIR", "EISDIR", "EINVAL", "ENAMETOOLONG", "ELOOP"];
const READING: readonly string[] = ["open", "read", "stat", "lstat", "scandir"];
const isMissing = ({ code = "", syscall = "stat" }: NodeJS.ErrnoException) =>
  PATH_CODES.includes(code) && READING.includes(syscall);

/** `error` as a FileError or SystemError that says what was attempted; anything but a system error passes unchanged. */
export function fileError(error: unknown, message: string, place: Pick<ErrorDetails, "where">): unknown {
  if (!isSystemError(error)) return error;
  const [meaning, advice, kind] = SYSTEM_ERRORS[error.code ?? ""] ?? [error.message];
  const details = { why: `${meaning} (${error.code})`, try: advice, ...place, cause: error };
  if (isMissing(error)) return new FileError(message, { kind: "missing-file", ...details });
  return new SystemError(message, { kind, ...details });
}

/** Opens a file for reading by range; nothing is read yet. */
export async function fileSource(path: string): Promise<ByteSource> {
  let handle: FileHandle | undefined;
  try {
    // Before opening: a named pipe would wait for a writer.
    const kind = await stat(path);
    if (!kind.isFile()) throw notAFile(kind.isDirectory());
    handle = await open(path, "r");
    return sourceOf(path, handle, (await handle.stat()).size);
  } catch (error) {
    await handle?.close();
    throw fileError(error, `cannot open ${path}`, { where: path });
  }
}

const notAFile = (isFolder: boolean) =>
  Object.assign(new Error("it is no regular file"), { code: isFolder ? "EISDIR" : "EINVAL" });

/** The first bytes of a file, fewer if it is shorter, none if it is no file that can be read. For telling formats apart. */
export async function firstBytes(path: string, length: number): Promise<Uint8Array> {
  let source: ByteSource;
  try {
    source = await fileSource(path);
  } catch (error) {
    if (error instanceof FileError) return new Uint8Array(0);
    throw error;
  }
  try {
    return await source.read(0, Math.min(length, source.size));
  } finally {
    await source.close();
  }
}

function sourceOf(name: string, handle: FileHandle, size: number): ByteSource {
  const source: ByteSource = {
    name,
    size,
    async read(offset, length) {
      checkRange(source, offset, length);
      const bytes = new Uint8Array(length);
      let filled = 0;
      while (filled < length) {
        const { bytesRead } = await readAt(bytes, filled, offset + filled);
        if (bytesRead === 0) throw changed(name, offset + filled);
        filled += bytesRead;
      }
      return bytes;
    },
    close: () => handle.close(),
  };
  const readAt = async (bytes: Uint8Array, filled: number, position: number) => {
    try {
      // One read call moves less than 2 GiB.
      return await handle.read(bytes, filled, Math.min(bytes.length - filled, 2 ** 30), position);
    } catch (error) {
      throw fileError(error, `cannot read ${name}`, { where: place(name, { offset: position }) });
    }
  };
  return source;
}

function changed(name: string, offset: number): FileError {
  return new FileError("the file became shorter while it was read", {
    kind: "truncated-file",
    where: place(name, { offset }),
    try: "make sure that nothing writes to it, then run again",
  });
}
