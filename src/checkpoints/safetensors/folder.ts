/** Safetensors folders on disk: what is in them, and whether one may be replaced. Needs Node. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { BitloomError } from "../../errors.js";
import { fileError, fileSource, firstBytes, isSystemError } from "../file.js";
import { readHeader } from "./header.js";
import { CONFIG, type FileSet, INDEX } from "./open.js";
import { PRODUCER } from "./write.js";

/** The files of a directory; undefined if `path` is something else. */
export async function directory(path: string): Promise<FileSet | undefined> {
  try {
    const found = await readdir(path, { withFileTypes: true });
    // Links count as files: the cache of the Hugging Face hub consists of them.
    const names = found.filter((entry) => entry.isFile() || entry.isSymbolicLink()).map((entry) => entry.name);
    return { name: path, names, open: (name) => fileSource(join(path, name)) };
  } catch (error) {
    if (isSystemError(error) && error.code === "ENOTDIR") return undefined;
    throw fileError(error, `cannot open ${path}`, { where: path });
  }
}

/** A folder with safetensors files or an index of them, or a file that starts like one: a length, then `{`. */
export async function looksLikeSafetensors(path: string): Promise<boolean> {
  const bytes = await firstBytes(path, 16);
  if (bytes.length > 8) {
    const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
    return bytes[8] === 0x7b && length < 2n ** 32n;
  }
  try {
    return (await readdir(path)).some((name) => name.endsWith(".safetensors") || name === INDEX);
  } catch (error) {
    if (isSystemError(error)) return false;
    throw error;
  }
}

/**
 * Whether a folder may be replaced by a new one: it holds a model that Bitloom wrote, and nothing but its parts. Returns
 * the reason otherwise. `sides` are the side files about to be written, which may be there from before.
 */
export async function replaceable(folder: string, sides: readonly string[]): Promise<true | string> {
  const names = await readdir(folder);
  const models = names.filter((name) => name.endsWith(".safetensors"));
  const foreign = names.filter((name) => !models.includes(name) && ![CONFIG, INDEX, ...sides].includes(name));
  if (foreign.length > 0) return `it holds ${foreign[0]}, which is not part of the output`;
  for (const name of models) {
    if ((await producerOf(join(folder, name))) !== PRODUCER) return `it holds ${name}, which Bitloom did not write`;
  }
  return models.length > 0 || "it holds no model that Bitloom wrote";
}

async function producerOf(path: string): Promise<string | undefined> {
  const source = await fileSource(path);
  try {
    return (await readHeader(source)).texts.get("producer");
  } catch (error) {
    // Damaged, so it cannot be told who wrote it.
    if (error instanceof BitloomError) return undefined;
    throw error;
  } finally {
    await source.close();
  }
}
