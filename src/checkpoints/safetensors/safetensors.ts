/** The safetensors container: a folder as on the Hugging Face hub, or a single file. */
import type { Container } from "../checkpoint.js";
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
  async write(path, content, options = {}) {
    const [{ writeFolderWhole }, { replaceable }] = await Promise.all([import("../output.js"), import("./folder.js")]);
    const sides = (options.sideFiles ?? []).map((file) => file.name);
    const may = (folder: string) => replaceable(folder, sides);
    return writeFolderWhole(path, options.inputs ?? [], may, (folder) => writeSafetensors(folder, content, options));
  },
};
