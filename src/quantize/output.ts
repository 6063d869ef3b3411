/** Metadata and side files of the output: what its container needs to be complete for other engines. */
import type { Checkpoint, Metadata, SideFile } from "../checkpoints/checkpoint.js";
import { definitionFiles, gguf, ggufTokenizerMetadata, openDefinition } from "../checkpoints/index.js";
import { FileError, UnsupportedError } from "../errors.js";
import { CACHE_KEY, cacheText, LINEARS_KEY, linearsMetadata } from "../models/index.js";
import { toolVersion } from "./artifacts.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Recipe } from "./recipe.js";

/** Key of the metadata that says how an output was made, as JSON: a `Making`. */
export const RECIPE_KEY = "bitloom.recipe";

/** How an output was made. The same version makes the same bytes of the same input, recipe and text again. */
export interface Making {
  readonly version: string;
  /** With all defaults written out. */
  readonly recipe: Recipe;
  /** Hash of the calibration text's ids. */
  readonly calibrationText?: string;
}

/** What a model says of how it was made; undefined if it says nothing. A FileError if it is not JSON. */
export function makingOf({ metadata, path }: Pick<Checkpoint, "metadata" | "path">): Making | undefined {
  const text = metadata[RECIPE_KEY];
  if (text === undefined) return undefined;
  try {
    const { version, recipe, calibrationText } = JSON.parse(String(text)) as Making;
    return { version, recipe, ...(calibrationText && { calibrationText }) };
  } catch (cause) {
    if (!(cause instanceof SyntaxError || cause instanceof TypeError)) throw cause;
    throw new FileError("what the model says of how it was made is not JSON", {
      kind: "bad-header",
      where: `${path}, ${RECIPE_KEY}`,
      why: cause.message,
      cause,
    });
  }
}

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
  const made: Making = {
    version: toolVersion(),
    recipe: plan.recipe.json,
    ...(calibrationText && { calibrationText }),
  };
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
