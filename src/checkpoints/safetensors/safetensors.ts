/** The safetensors container: a folder as on the Hugging Face hub, or a single file. */
import type { Container, WriteOptions } from "../checkpoint.js";
import { openSafetensorsFile, openSafetensorsFolder } from "./open.js";
import { writeSafetensors } from "./write.js";

export const safetensorsContainer: Container = {
  name: "safetensors",
  summary: "a folder with config.json and model.safetensors, which holds every scheme",
  async detect(path) {
    const { looksLikeSafetensors } = await import("./folder.js");
    return looksLikeSafetensors(path);
  },
  async open(path) {
    const { directory } = await import("./folder.js");
    const files = await directory(path);
    if (files) return openSafetensorsFolder(files);
    const { fileSource } = await import("../file.js");
    const source = await fileSource(path);
    try {
      return await openSafetensorsFile(source);
    } catch (error) {
      await source.close();
      throw error;
    }
  },
  canHold: () => true,
  async checkOutput(path, bytes, options = {}) {
    const { checkFolderOutput } = await import("../output.js");
    await checkFolderOutput(path, options.inputs ?? [], bytes, await replaceableFor(options));
  },
  async write(path, content, options = {}) {
    const { writeFolderWhole } = await import("../output.js");
    const may = await replaceableFor(options);
    return writeFolderWhole(path, options.inputs ?? [], may, (folder) => writeSafetensors(folder, content, options));
  },
};

async function replaceableFor({ sideFiles = [] }: WriteOptions) {
  const { replaceable } = await import("./folder.js");
  const sides = sideFiles.map((file) => file.name);
  return (folder: string) => replaceable(folder, sides);
}
