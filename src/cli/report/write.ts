import { rename, writeFile } from "node:fs/promises";

/** Puts a file in its place at once, so that a reader never sees half of it. */
export async function writeWhole(path: string, content: string): Promise<void> {
  await writeFile(`${path}.partial`, content);
  await rename(`${path}.partial`, path);
}
