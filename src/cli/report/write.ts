/** Small files that commands write beside their result. */
import { checkFileOutput, writeFileWhole } from "../../checkpoints/output.js";

/** Throws what would keep a file from being written there, before the work that it tells of. */
export const checkWhole = (path: string): Promise<void> => checkFileOutput(path, [], 0);

/** Puts a file in its place at once, so that a reader never sees half of it; folders that are missing are made. */
export const writeWhole = (path: string, content: string): Promise<void> =>
  writeFileWhole(path, [], (sink) => sink.write(0, new TextEncoder().encode(content)));
