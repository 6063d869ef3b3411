/**
 * Reading safetensors: a single file, or a folder as Hugging Face lays it out, `config.json` beside `model.safetensors`
 * or beside shards listed in `model.safetensors.index.json`.
 */
import { FileError, NumericError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { PlaneName, Planes, Scheme } from "../../formats/scheme.js";
import { columnsOf, type PackedTensor } from "../../tensor/index.js";
import type { ByteSource, Checkpoint, Metadata, TensorEntry } from "../checkpoint.js";
import { isObject, readJsonObject } from "../json.js";
import { place, quote } from "../source.js";
import { entryNamed, readableScheme } from "../tensors.js";
import { readHeader, type StoredTensor } from "./header.js";
import { described, storedPlanes } from "./planes.js";

/** The files of one folder, opened by name: a directory, or what a user dropped on a page. */
export interface FileSet {
  /** For messages. */
  readonly name: string;
  readonly names: readonly string[];
  open(name: string): Promise<ByteSource>;
}

export const SINGLE = "model.safetensors";
export const INDEX = "model.safetensors.index.json";
export const CONFIG = "config.json";
const MAX_CONFIG_BYTES = 2 ** 24;
const MAX_INDEX_BYTES = 2 ** 26;

/** A tensor of one of the files. */
interface Stored extends StoredTensor {
  readonly source: ByteSource;
  /** The file's name within the folder. */
  readonly shard: string;
}

/** An entry with where its planes are stored. */
interface Located {
  readonly entry: TensorEntry;
  readonly parts: readonly { readonly plane: PlaneName; readonly stored: Stored }[];
}

/** Opens one safetensors file; its metadata are the texts of `__metadata__`. */
export async function openSafetensorsFile(source: ByteSource): Promise<Checkpoint> {
  const { tensors, texts } = await readHeader(source);
  const entries = tensors.map((stored) => plainEntry({ ...stored, source, shard: source.name }));
  return checkpoint(source.name, Object.fromEntries(texts), entries, [source]);
}

/** Opens a folder; on an error everything opened so far is closed. */
export async function openSafetensorsFolder(files: FileSet): Promise<Checkpoint> {
  const sources: ByteSource[] = [];
  try {
    const config = await jsonFile(files, CONFIG, MAX_CONFIG_BYTES);
    const index = files.names.includes(SINGLE) ? undefined : await weightMap(files);
    const stored = new Map<string, Stored>();
    for (const name of index ? new Set(index.values()) : [singleFile(files)]) {
      const source = await files.open(name);
      sources.push(source);
      for (const tensor of (await readHeader(source)).tensors) {
        if (stored.has(tensor.name)) throw twice(tensor, source, stored.get(tensor.name) as Stored);
        stored.set(tensor.name, { ...tensor, source, shard: name });
      }
    }
    if (index) checkIndex(index, stored, files);
    const entries = joined(stored, config, files);
    return checkpoint(files.name, config, entries, sources);
  } catch (error) {
    await Promise.all(sources.map((source) => source.close()));
    throw error;
  }
}

async function jsonFile(files: FileSet, name: string, maxBytes: number): Promise<Metadata> {
  if (!files.names.includes(name)) return {};
  const source = await files.open(name);
  try {
    return await readJsonObject(source, maxBytes);
  } finally {
    await source.close();
  }
}

/** The file that holds everything: `model.safetensors`, or the only one there is. */
function singleFile(files: FileSet): string {
  const found = files.names.filter((name) => name.endsWith(".safetensors"));
  if (found.includes(SINGLE)) return SINGLE;
  if (found.length === 1) return found[0];
  throw new FileError("the folder holds no model that can be read", {
    kind: "not-a-model",
    where: place(files.name),
    why:
      found.length === 0
        ? `no ${SINGLE}, no ${INDEX}`
        : `${found.length} safetensors files and no ${INDEX} that joins them`,
    try: "download the whole model folder, or name a single file",
  });
}

/** Tensor name -> shard, from the index file; undefined if there is none. */
async function weightMap(files: FileSet): Promise<Map<string, string> | undefined> {
  if (!files.names.includes(INDEX)) return undefined;
  const fault = (why: string) =>
    new FileError("the index of the shards is damaged", {
      kind: "missing-shard",
      where: place(`${files.name}/${INDEX}`),
      why,
    });
  const { weight_map: map } = await jsonFile(files, INDEX, MAX_INDEX_BYTES);
  if (!isObject(map)) throw fault('wanted an object "weight_map"');
  const shards = new Map<string, string>();
  for (const [tensor, shard] of Object.entries(map)) {
    if (typeof shard !== "string" || !/^[^/\\\0]+\.safetensors$/.test(shard) || shard.startsWith(".")) {
      throw fault(
        `tensor ${quote(tensor)} lies in ${JSON.stringify(shard)?.slice(0, 120)}, not a safetensors file beside the index`,
      );
    }
    if (!files.names.includes(shard)) {
      throw new FileError(`the shard ${quote(shard)} is missing`, {
        kind: "missing-shard",
        where: place(`${files.name}/${INDEX}`, { tensor }),
        why: "the index names a file that is not in the folder",
        try: "download the missing file",
      });
    }
    shards.set(tensor, shard);
  }
  if (shards.size === 0) throw fault("weight_map is empty");
  return shards;
}

function checkIndex(index: ReadonlyMap<string, string>, stored: ReadonlyMap<string, Stored>, files: FileSet): void {
  for (const [name, shard] of index) {
    const found = stored.get(name)?.shard;
    if (found === shard) continue;
    throw new FileError("the index does not fit the shards", {
      kind: "missing-shard",
      where: place(`${files.name}/${INDEX}`, { tensor: name }),
      why: `the tensor should be in ${quote(shard)}, it is in ${found === undefined ? "none" : quote(found)}`,
      try: "download the index and the shards again, from one place",
    });
  }
}

/** Entries under the tensors' own names: planes that config.json describes are one tensor again. */
function joined(stored: ReadonlyMap<string, Stored>, config: Metadata, files: FileSet): Located[] {
  const configName = `${files.name}/${CONFIG}`;
  const planeOf = new Map<string, Located>();
  const entries: Located[] = [];
  for (const [name, { scheme, shape }] of described(config, configName)) {
    const clash = stored.get(name);
    if (clash) throw twice(clash, clash.source, clash);
    const parts = storedPlanes({ name, shape, scheme }).map((wanted) => {
      const found = stored.get(wanted.name);
      if (found && found.dtype === wanted.dtype && sameShape(found.shape, wanted.shape)) {
        return { plane: wanted.plane, stored: found };
      }
      const type = (t: { dtype: { name: string }; shape: readonly number[] }) =>
        `${t.dtype.name} [${t.shape.join(", ")}]`;
      throw new FileError(`the ${wanted.plane} of a quantized tensor are ${found ? "wrong" : "missing"}`, {
        kind: "damaged-scales",
        where: place(found?.source.name ?? configName, { tensor: wanted.name, offset: found?.offset }),
        why: `wanted ${type(wanted)} for ${scheme.name} [${shape.join(", ")}]${found ? `, got ${type(found)}` : ""}`,
        try: "write the folder again",
      });
    });
    const { source, offset } = parts[0].stored;
    const bytes = parts.reduce((sum, part) => sum + part.stored.bytes, 0);
    const entry = { name, shape, scheme, type: scheme.name, bytes, file: source.name, offset };
    for (const part of parts) planeOf.set(part.stored.name, { entry, parts });
  }
  // In the order of the file, each joined tensor where its first plane stands.
  for (const tensor of stored.values()) {
    const located = planeOf.get(tensor.name) ?? plainEntry(tensor);
    if (located.parts[0].stored.name === tensor.name) entries.push(located);
  }
  return entries;
}

function plainEntry(stored: Stored): Located {
  const { name, dtype, shape, bytes, offset, source } = stored;
  const wholeBytes = (columnsOf(shape) * dtype.bits) % 8 === 0;
  const scheme = dtype.scheme && wholeBytes ? plainScheme(dtype.scheme) : undefined;
  const parts = [{ plane: "codes" as const, stored }];
  return { entry: { name, shape, scheme, type: dtype.name, bytes, file: source.name, offset }, parts };
}

/** The registered scheme of that name, if it is a plain cast. */
function plainScheme(name: string): Scheme | undefined {
  const scheme = schemes.find(name);
  return scheme && !scheme.scale && !scheme.offset ? scheme : undefined;
}

function checkpoint(
  path: string,
  metadata: Metadata,
  located: readonly Located[],
  sources: readonly ByteSource[],
): Checkpoint {
  const byName = new Map(located.map((tensor) => [tensor.entry.name, tensor]));
  return {
    container: "safetensors",
    path,
    bytes: sources.reduce((sum, source) => sum + source.size, 0),
    metadata,
    tensors: located.map((tensor) => tensor.entry),
    read: async (name) => readTensor(entryNamed(byName, name, path)),
    close: async () => void (await Promise.all(sources.map((source) => source.close()))),
  };
}

async function readTensor({ entry, parts }: Located): Promise<PackedTensor> {
  const scheme = readableScheme(entry);
  const planes: Partial<Record<PlaneName, Uint8Array>> = {};
  for (const { plane, stored } of parts) {
    const bytes = await stored.source.read(stored.offset, stored.bytes);
    planes[plane] = stored.dtype.name === "F64" ? narrowed(bytes, entry) : bytes;
  }
  return { scheme, shape: entry.shape, planes: planes as Planes };
}

/** f64 to f32, one rounding to nearest. */
function narrowed(bytes: Uint8Array, entry: TensorEntry): Uint8Array {
  const from = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const to = new DataView(new ArrayBuffer(bytes.length / 2));
  for (let at = 0; at < bytes.length; at += 8) {
    const value = from.getFloat64(at, true);
    if (Number.isFinite(value) && !Number.isFinite(Math.fround(value))) {
      throw new NumericError(`${value} is beyond the range of f32`, {
        kind: "number-out-of-range",
        where: place(entry.file, { tensor: entry.name, offset: entry.offset + at }),
      });
    }
    to.setFloat32(at / 2, value, true);
  }
  return new Uint8Array(to.buffer);
}

const sameShape = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((n, i) => n === b[i]);

const twice = (tensor: StoredTensor, source: ByteSource, other: Stored) =>
  new FileError("a tensor is there twice", {
    kind: "duplicate-tensor",
    where: place(source.name, { tensor: tensor.name, offset: tensor.offset }),
    why: other.source === source ? "it is stored plain and described as quantized" : `also in ${other.source.name}`,
  });
