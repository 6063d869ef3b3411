/** Containers of weights: the registry, and everything public of this folder. */
import { InputError } from "../errors.js";
import { registry } from "../registry.js";
import type { Checkpoint, Container } from "./checkpoint.js";
import { openWith } from "./detect.js";
import { ggufContainer } from "./gguf/gguf.js";
import { safetensorsContainer } from "./safetensors/safetensors.js";

export const containers = registry<Container>("container", [safetensorsContainer, ggufContainer]);

/** Opens a GGUF file, a safetensors file or a folder, whatever `path` holds; the caller closes it. */
export const openCheckpoint = (path: string): Promise<Checkpoint> => openWith(path, containers.entries);

/** The container that an output path means: GGUF for `.gguf`, a safetensors folder otherwise. */
export function containerFor(path: string): Container {
  const lower = path.toLowerCase();
  if (lower.endsWith(".gguf")) return containers.get("gguf");
  if (!lower.endsWith(".safetensors")) return containers.get("safetensors");
  throw new InputError(`${path} would be a single safetensors file`, {
    kind: "output-name",
    why: "a model needs its config.json beside the tensors, so a folder is written",
    try: "name a folder, or a file ending in .gguf",
  });
}

export type * from "./checkpoint.js";
export { openGguf } from "./gguf/open.js";
export { type GgufArray, type GgufScalar, type GgufValue, gguf } from "./gguf/values.js";
export { canHold as ggufCanHold, writeGguf } from "./gguf/write.js";
export { type FileSet, openSafetensorsFile, openSafetensorsFolder } from "./safetensors/open.js";
export { readBeside } from "./side-files.js";
export { blobSource, bufferSource, memorySink } from "./source.js";
export type * from "./tokenizer.js";
export * from "./tokenizers/index.js";
