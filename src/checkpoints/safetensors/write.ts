/**
 * Writing a safetensors folder: `config.json`, `model.safetensors` or numbered shards with their index, side files. The
 * layout is fixed first; within a file wide elements come first, so that every tensor is aligned to its element.
 */
import { InputError } from "../../errors.js";
import type { CheckpointContent, Metadata, WriteOptions, Written } from "../checkpoint.js";
import type { NewFolder } from "../output.js";
import { quote } from "../source.js";
import { checkPlans, produced } from "../tensors.js";
import { formatHeader } from "./header.js";
import { CONFIG, INDEX, SINGLE } from "./open.js";
import { describe, type StoredPlane, storedPlanes } from "./planes.js";

const DEFAULT_MAX_FILE_BYTES = 5e9;
/** Who wrote the file; a folder without it is never replaced. `format` is wanted by Python readers. */
const TEXTS = { format: "pt", producer: "bitloom" };
export const PRODUCER = TEXTS.producer;

/** A tensor in a shard, its planes placed from the start of the data. */
interface Placed {
  readonly index: number;
  readonly planes: readonly (StoredPlane & { readonly begin: number; readonly end: number })[];
}

/** The folder's metadata, with the description of what is quantized in place of an older one. */
function configOf({ metadata, tensors }: CheckpointContent): Metadata {
  const { quantization_config: _old, ...rest } = metadata;
  const quantization = describe(tensors);
  return quantization ? { ...rest, quantization_config: quantization } : rest;
}

/** Fills `folder`, which becomes visible only as a whole. */
export async function writeSafetensors(
  folder: NewFolder,
  content: CheckpointContent,
  { sideFiles = [], maxFileBytes = DEFAULT_MAX_FILE_BYTES }: WriteOptions,
): Promise<Written> {
  checkPlans(content.tensors);
  const stored = content.tensors.map(storedPlanes);
  checkNames(stored.flat());
  const config = jsonBytes(configOf(content));
  const shards = inShards(stored, maxFileBytes).map((indexes) => place(indexes, stored));
  const names = shards.map((_, i) => (shards.length === 1 ? SINGLE : shardName(i, shards.length)));
  const taken = new Set([CONFIG, INDEX, ...names]);
  for (const { name } of sideFiles) {
    if (taken.has(name) || /[/\\\0]/.test(name) || name.startsWith(".") || name === "") {
      throw new InputError(`the side file ${quote(name)} cannot be written`, {
        why: taken.has(name) ? "another file of the folder has this name" : "wanted a plain file name",
      });
    }
    taken.add(name);
  }
  let bytes = 0;
  for (const [i, shard] of shards.entries()) bytes += await writeShard(folder, names[i], shard, content);
  if (shards.length > 1) await writeBytes(folder, INDEX, jsonBytes(indexOf(shards, names)));
  for (const { name, bytes: side } of sideFiles) await writeBytes(folder, name, side);
  await writeBytes(folder, CONFIG, config);
  const tensors = content.tensors.map((plan, i) => ({
    ...plan,
    bytes: stored[i].reduce((sum, p) => sum + p.bytes, 0),
  }));
  return { bytes, tensors };
}

function checkNames(planes: readonly StoredPlane[]): void {
  const seen = new Set<string>(["__metadata__"]);
  for (const { name } of planes) {
    if (seen.has(name) || /\p{Surrogate}/u.test(name)) {
      throw new InputError(`tensor ${quote(name)} cannot be written to safetensors`, {
        why: seen.has(name) ? "another tensor, or a plane of one, has this name" : "the name is not valid Unicode",
      });
    }
    seen.add(name);
  }
}

/** Indexes of the tensors of each file: in order, a new file when the next tensor would exceed the limit. */
function inShards(stored: readonly (readonly StoredPlane[])[], maxFileBytes: number): number[][] {
  const shards: number[][] = [[]];
  let filled = 0;
  for (const [index, planes] of stored.entries()) {
    const bytes = planes.reduce((sum, plane) => sum + plane.bytes, 0);
    if (filled > 0 && filled + bytes > maxFileBytes) {
      shards.push([]);
      filled = 0;
    }
    shards[shards.length - 1].push(index);
    filled += bytes;
  }
  return shards;
}

function place(indexes: readonly number[], stored: readonly (readonly StoredPlane[])[]): Placed[] {
  const planes = indexes.flatMap((index) => stored[index]);
  const begins = new Map<StoredPlane, number>();
  let end = 0;
  for (const plane of planes.toSorted((a, b) => b.dtype.bits - a.dtype.bits)) {
    begins.set(plane, end);
    end += plane.bytes;
  }
  return indexes.map((index) => {
    const placed = stored[index].map((plane) => {
      const begin = begins.get(plane) ?? 0;
      return { ...plane, begin, end: begin + plane.bytes };
    });
    return { index, planes: placed };
  });
}

const shardName = (i: number, count: number) =>
  `model-${String(i + 1).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.safetensors`;

function writeShard(folder: NewFolder, name: string, shard: readonly Placed[], content: CheckpointContent) {
  return folder.file(name, async (sink) => {
    const planes = shard.flatMap((tensor) => tensor.planes).sort((a, b) => a.begin - b.begin || a.end - b.end);
    const header = formatHeader(planes, TEXTS);
    const size = header.length + (planes.at(-1)?.end ?? 0);
    await sink.reserve?.(size);
    await sink.write(0, header);
    for (const { index, planes: own } of shard) {
      const tensor = await produced(content, index);
      for (const { plane, begin } of own) await sink.write(header.length + begin, tensor.planes[plane] as Uint8Array);
    }
    return size;
  });
}

function indexOf(shards: readonly (readonly Placed[])[], names: readonly string[]): Metadata {
  const planes = shards.flatMap((shard, i) =>
    shard.flatMap((tensor) => tensor.planes.map((p) => ({ ...p, file: names[i] }))),
  );
  return {
    metadata: { total_size: planes.reduce((sum, plane) => sum + plane.bytes, 0) },
    weight_map: Object.fromEntries(planes.map((plane) => [plane.name, plane.file])),
  };
}

function jsonBytes(value: Metadata): Uint8Array {
  const text = JSON.stringify(
    value,
    (key, item: unknown) => {
      const bad = typeof item === "bigint" || (typeof item === "number" && !Number.isFinite(item));
      if (bad)
        throw new InputError(`the metadata ${quote(key)} cannot be written as JSON`, { why: `${typeof item} ${item}` });
      return item;
    },
    2,
  );
  return new TextEncoder().encode(`${text}\n`);
}

const writeBytes = (folder: NewFolder, name: string, bytes: Uint8Array) =>
  folder.file(name, (sink) => sink.write(0, bytes));
