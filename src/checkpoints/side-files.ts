/** The small files that lie beside the tensors of a folder. Needs Node. */
import type { ByteSource, Checkpoint } from "./checkpoint.js";
import { readJson } from "./json.js";

const MAX_JSON_BYTES = 256 * 2 ** 20;

/** Where a checkpoint's other files are; if a single file of weights was named, its folder has them. */
export function folderOf({ path }: Checkpoint): string {
  const file = /^(.*?)[/\\]?[^/\\]*\.(?:safetensors|json)$/.exec(path);
  return file ? file[1] || "." : path;
}

/** What `read` makes of a file; undefined if it is not there. */
export async function readFileIfThere<T>(
  path: string,
  read: (source: ByteSource) => Promise<T>,
): Promise<T | undefined> {
  const { fileSource } = await import("./file.js");
  const { access } = await import("node:fs/promises");
  try {
    await access(path);
  } catch {
    return undefined;
  }
  const source = await fileSource(path);
  try {
    return await read(source);
  } finally {
    await source.close();
  }
}

/** The JSON in a file; undefined if it is not there. */
export const readJsonIfThere = (path: string): Promise<unknown> =>
  readFileIfThere(path, (source) => readJson(source, MAX_JSON_BYTES));

/** The JSON in a file of the checkpoint's folder, `name` relative to it; undefined if it is not there. */
export const readBeside = (checkpoint: Checkpoint, name: string): Promise<unknown> =>
  readJsonIfThere(`${folderOf(checkpoint)}/${name}`);
