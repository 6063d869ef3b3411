/** Metadata and side files of the output: what its container needs to be complete for other engines. */
import type { Metadata, SideFile } from "../checkpoints/checkpoint.js";
import { definitionFiles, gguf, ggufTokenizerMetadata, openDefinition } from "../checkpoints/index.js";
import { UnsupportedError } from "../errors.js";
import { CACHE_KEY, cacheText, LINEARS_KEY, linearsMetadata } from "../models/index.js";
import { toolVersion } from "./artifacts.js";
import type { QuantizePlan } from "./quantize-plan.js";

/** How the output was made: Bitloom's version, the recipe with all defaults written out, and the hash of the calibration text's ids. */
export const RECIPE_KEY = "bitloom.recipe";

export interface OutputFiles {
  readonly metadata: Metadata;
  readonly sideFiles: readonly SideFile[];
}

/**
 * GGUF: architecture and tokenizer keys (all keys of the input if that is a GGUF file; the writer counts
 * `general.file_type` anew). A folder: config.json (all of the input's if that is a folder) and the tokenizer's files.
 */
export async function outputFiles(plan: QuantizePlan, calibrationText?: string): Promise<OutputFiles> {
  const { checkpoint, container } = plan;
  const made = { version: toolVersion(), recipe: plan.recipe.json, ...(calibrationText && { calibrationText }) };
  const linears = linearsMetadata(plan.linears);
  const cache = plan.recipe.cache && cacheText(plan.recipe.cache);
  if (container.name === "gguf") {
    const own = {
      [RECIPE_KEY]: gguf.string(JSON.stringify(made)),
      ...(linears && { [LINEARS_KEY]: gguf.string(linears) }),
      ...(cache && { [CACHE_KEY]: gguf.string(cache) }),
    };
    return { metadata: { ...(await ggufMetadata(plan)), ...own }, sideFiles: [] };
  }
  const definition = await openDefinition(checkpoint);
  const encoder = new TextEncoder();
  const sideFiles = Object.entries(definitionFiles(definition)).map(([name, content]) => {
    return { name, bytes: encoder.encode(`${JSON.stringify(content, null, 2)}\n`) };
  });
  const { bos, eos } = definition;
  const ids = { bos_token_id: bos ?? null, eos_token_id: eos.length === 1 ? eos[0] : eos.length > 1 ? eos : null };
  const own = {
    [RECIPE_KEY]: JSON.stringify(made),
    ...(linears && { [LINEARS_KEY]: linears }),
    ...(cache && { [CACHE_KEY]: cache }),
  };
  return { metadata: { ...huggingFaceConfig(plan), ...ids, ...own }, sideFiles };
}

async function ggufMetadata({ checkpoint, architecture, config }: QuantizePlan): Promise<Metadata> {
  if (checkpoint.container === "gguf") {
    const { "general.file_type": _counted, ...kept } = checkpoint.typedMetadata ?? checkpoint.metadata;
    return { ...kept, ...architecture.ownMetadata?.(config) };
  }
  const definition = await openDefinition(checkpoint);
  return {
    "general.architecture": gguf.string(architecture.gguf),
    "general.name": gguf.string(nameOf(checkpoint.path)),
    ...architecture.toGguf(config),
    ...architecture.ownMetadata?.(config),
    ...ggufTokenizerMetadata(definition, config.vocabularySize),
  };
}

/** The folder's own name, for `general.name`. */
const nameOf = (path: string) =>
  path
    .replace(/[\\/]+$/, "")
    .split(/[\\/]/)
    .pop() ?? path;

function huggingFaceConfig({ checkpoint, architecture, config }: QuantizePlan): Metadata {
  const own = architecture.ownMetadata?.(config);
  if (checkpoint.container !== "gguf") return { ...checkpoint.metadata, ...own };
  // Of weights that a configuration implies there are rope divisors only.
  if (architecture.weights(config).some(({ implied }) => implied?.some((factor) => factor !== 1))) {
    throw new UnsupportedError("scaled rotary positions cannot be written to config.json from a GGUF file", {
      kind: "unsupported-feature",
      where: checkpoint.path,
      why: "GGUF keeps the divisors, config.json wants the parameters they were made from",
      try: "write a .gguf file, or start from the original folder",
    });
  }
  return { ...architecture.toHuggingFace(config), ...own };
}
