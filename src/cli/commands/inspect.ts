import { type Checkpoint, type Metadata, openCheckpoint } from "../../checkpoints/index.js";
import { architectures, modelSize } from "../../models/index.js";
import { type Making, makingOf, RECIPE_KEY } from "../../quantize/index.js";
import { command } from "../command.js";
import { modelPath } from "../model-path.js";
import { byteSize, dimensions, grouped } from "../numbers.js";
import { settingsText } from "../recipe-text.js";
import { anything, closed, count, list, nullable, number, string } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import { printable, type Style } from "../terminal.js";

interface Inspection {
  readonly path: string;
  readonly container: string;
  /** The name in this version's registry; null for an architecture that it does not know. */
  readonly architecture: string | null;
  readonly bytes: number;
  readonly parameters: number;
  readonly bitsPerWeight: number;
  readonly metadata: Metadata;
  /** How Bitloom made it. */
  readonly making?: Making;
  readonly tensors: readonly InspectedTensor[];
}

interface InspectedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scheme: string | null;
  readonly type: string;
  readonly bytes: number;
  readonly file: string;
  readonly offset: number;
}

const output = closed(
  {
    path: string(),
    container: string("safetensors or gguf"),
    architecture: nullable(string("null if this version does not know it")),
    bytes: count("of the files that hold tensors"),
    parameters: count("numbers in all tensors"),
    bitsPerWeight: number("bits of tensor data for each number"),
    metadata: anything("config.json, or the GGUF key-values; integers beyond 2^53 as strings"),
    tensors: list(
      closed({
        name: string(),
        shape: list(count(), "row-major, last axis contiguous"),
        scheme: nullable(string("null if the type cannot be read as a scheme")),
        type: string("as the container calls it"),
        bytes: count(),
        file: string(),
        offset: count("bytes from the start of the file"),
      }),
    ),
  },
  {
    making: closed(
      { version: string("of Bitloom"), recipe: anything("all defaults written out; quantize --recipe takes it") },
      { calibrationText: string("hash of the ids of the calibration text") },
    ),
  },
);

function knownArchitecture({ container, metadata }: Checkpoint): string | null {
  const found = architectures.entries.find((architecture) =>
    container === "gguf"
      ? metadata["general.architecture"] === architecture.gguf
      : architecture.modelTypes.includes(String(metadata.model_type)),
  );
  return found?.name ?? null;
}

/** JSON has no integers beyond 2^53: they become strings. */
function plain(value: Metadata[string]): unknown {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : String(value);
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, plain(inner)]));
}

/** A value on one line: long texts and lists are cut, with their length. */
function brief(value: unknown): string {
  if (Array.isArray(value) && value.length > 8) {
    return `[${value.slice(0, 4).map(brief).join(", ")}, ...] (${grouped(value.length)})`;
  }
  const text = printable(typeof value === "string" ? value : JSON.stringify(value)).replaceAll("\n", "\\n");
  return text.length > 96 ? `${text.slice(0, 90)}... (${grouped(text.length)} characters)` : text;
}

/** The steps of the recipe, one a line, and how to repeat them. */
function makingText({ making, path }: Inspection): string {
  if (!making) return "";
  const { version, recipe, calibrationText } = making;
  const { seed = 0, calibration, steps } = recipe;
  const on =
    calibrationText === undefined ? "no text" : `${calibration?.windows} windows of ${calibration?.window} tokens`;
  return pairs([
    ["by", `Bitloom ${printable(version)}, seed ${seed}, ${on}`],
    ...steps.map((step, index) => [`step ${index + 1}`, printable(settingsText(step))] as const),
    ["again", `bitloom quantize MODEL --recipe ${printable(path)} -o OUTPUT`],
  ]);
}

function render(result: Inspection, style: Style): string {
  const head = pairs([
    ["model", printable(result.path)],
    ["container", result.container],
    ["architecture", result.architecture ?? "not known to this version"],
    ["tensors", `${grouped(result.tensors.length)} with ${grouped(result.parameters)} numbers`],
    [
      "size",
      `${grouped(result.bytes)} bytes (${byteSize(result.bytes)}), ${result.bitsPerWeight.toFixed(3)} bits each`,
    ],
  ]);
  const { [RECIPE_KEY]: _, ...others } = result.metadata;
  const metadata = pairs(
    Object.entries(result.making ? others : result.metadata).map(
      ([key, value]) => [printable(key), brief(value)] as const,
    ),
  );
  const tensors = table(
    [left("tensor"), left("shape"), left("scheme"), right("bytes"), right("offset")],
    result.tensors.map((tensor) => [
      printable(tensor.name),
      dimensions(tensor.shape),
      tensor.scheme ?? `(${printable(tensor.type)})`,
      grouped(tensor.bytes),
      grouped(tensor.offset),
    ]),
    style.bold,
  );
  const making = result.making ? `${style.bold("how it was made")}\n${makingText(result)}\n` : "";
  return `${head}\n${making}${style.bold("metadata")}\n${metadata}\n${tensors}`;
}

export const inspect = command({
  name: "inspect",
  summary: "show a model's container, metadata and every tensor",
  description: "Reads headers only, however large the file.",
  arguments: [{ name: "FILE_OR_DIR", description: "Hugging Face folder, safetensors or GGUF file, or the word demo" }],
  options: {},
  examples: ["bitloom inspect model.gguf", "bitloom inspect demo --json"],
  output,
  async run(_context, [path]): Promise<Inspection> {
    const checkpoint = await openCheckpoint(modelPath(path));
    try {
      const tensors = checkpoint.tensors.map(({ scheme, ...entry }) => ({ ...entry, scheme: scheme?.name ?? null }));
      return {
        path: checkpoint.path,
        container: checkpoint.container,
        architecture: knownArchitecture(checkpoint),
        ...modelSize(checkpoint),
        metadata: plain(checkpoint.metadata) as Metadata,
        making: makingOf(checkpoint),
        tensors,
      };
    } finally {
      await checkpoint.close();
    }
  },
  render,
});
