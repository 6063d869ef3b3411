/** The GGUF container: one file with metadata, tokenizer and tensors, read by llama.cpp and its family. */
import { InputError } from "../../errors.js";
import type { Container } from "../checkpoint.js";
import { MAGIC } from "./header.js";
import { openGguf } from "./open.js";
import { canHold, writeGguf } from "./write.js";

export const ggufContainer: Container = {
  name: "gguf",
  summary: "one file with metadata, tokenizer and tensors, for llama.cpp and its family",
  async detect(path) {
    const { firstBytes } = await import("../file.js");
    const bytes = await firstBytes(path, 4);
    return bytes.length === 4 && new DataView(bytes.buffer, bytes.byteOffset).getUint32(0, true) === MAGIC;
  },
  async open(path) {
    const { fileSource } = await import("../file.js");
    const source = await fileSource(path);
    try {
      return await openGguf(source);
    } catch (error) {
      await source.close();
      throw error;
    }
  },
  canHold,
  async checkOutput(path, bytes, { inputs = [] } = {}) {
    const { checkFileOutput } = await import("../output.js");
    await checkFileOutput(path, inputs, bytes);
  },
  async write(path, content, { inputs = [], sideFiles = [] } = {}) {
    if (sideFiles.length > 0) {
      throw new InputError("a GGUF file takes no side files", { why: sideFiles.map((file) => file.name).join(", ") });
    }
    const { writeFileWhole } = await import("../output.js");
    return writeFileWhole(path, inputs, (sink) => writeGguf(sink, content));
  },
};
