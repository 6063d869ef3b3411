/**
 * The front of a GGUF file: magic, version, counts, key-values, tensor infos. Strings and arrays make its length known
 * only at its end, so it is parsed from a growing prefix of the file; every count and length is held against the bytes
 * that are left before anything of that size is made.
 * Source: ggml docs/gguf.md.
 */
import { FileError, type FileKind, UnsupportedError } from "../../errors.js";
import type { ByteSource } from "../checkpoint.js";
import { place, quote } from "../source.js";
import { type GgufTensorType, tensorTypeOfId } from "./types.js";
import { FIXED_BYTES, type GgufArray, type GgufValue, type ScalarType, VALUE_TYPES } from "./values.js";

export const MAGIC = 0x46554747;
export const DEFAULT_ALIGNMENT = 32;
/** More than ten times the largest vocabulary in use; a longer front is refused rather than loaded. */
const MAX_HEADER_BYTES = 2 ** 27;
const FIRST_READ = 2 ** 22;
/** Single values in all arrays together; an array within an array counts as 16. */
const MAX_VALUES = 2 ** 24;
const MAX_DEPTH = 4;
const MAX_KEY_BYTES = 65_535;
/** The fewest bytes a key-value (length, key, type, value) and a tensor info (length, dimensions, type, offset) take. */
const [LEAST_KEY_VALUE, LEAST_TENSOR] = [8 + 1 + 4 + 1, 8 + 4 + 4 + 8];

export interface GgufTensor {
  readonly name: string;
  readonly type: GgufTensorType;
  /** Reversed from the file's order: row-major, last axis contiguous. */
  readonly shape: readonly number[];
  /** Absolute. */
  readonly offset: number;
  readonly bytes: number;
}

export interface GgufHeader {
  readonly version: number;
  readonly keyValues: ReadonlyMap<string, GgufValue>;
  readonly alignment: number;
  readonly tensors: readonly GgufTensor[];
}

export async function readHeader(source: ByteSource): Promise<GgufHeader> {
  const most = Math.min(source.size, MAX_HEADER_BYTES);
  for (let length = Math.min(FIRST_READ, most); ; length = Math.min(length * 4, most)) {
    const header = parseHeader(await source.read(0, length), source);
    if (header !== "needs more") return header;
    if (length === MAX_HEADER_BYTES) {
      throw new UnsupportedError("the header of a GGUF file is too large", {
        kind: "too-large",
        where: place(source.name, { offset: 0 }),
        why: `more than ${MAX_HEADER_BYTES} bytes of metadata and tensor infos`,
      });
    }
  }
}

class NeedsMore extends Error {}

/** The header if it lies inside `bytes`, which are the first bytes of `source`. */
function parseHeader(bytes: Uint8Array, source: ByteSource): GgufHeader | "needs more" {
  try {
    return header(cursor(bytes, source), source);
  } catch (error) {
    if (error instanceof NeedsMore) return "needs more";
    throw error;
  }
}

type Cursor = ReturnType<typeof cursor>;

/** Reads little-endian numbers one after another; throws FileError at the file's end, NeedsMore at the prefix's. */
function cursor(bytes: Uint8Array, source: ByteSource) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let at = 0;
  let values = 0;
  const fault = (offset: number, message: string, why: string, kind: FileKind = "bad-header") =>
    new FileError(message, {
      kind,
      where: place(source.name, { offset }),
      why,
      try: "the file is truncated or damaged: download or convert it again",
    });
  /** Moves over `length` bytes and returns where they start. */
  const take = (length: number | bigint, what: string): number => {
    if (length > source.size - at) {
      throw fault(
        at,
        `${what} reaches past the end of the file`,
        `${length} bytes, ${source.size - at} are left`,
        "truncated-file",
      );
    }
    if (Number(length) > bytes.length - at) throw new NeedsMore();
    at += Number(length);
    return at - Number(length);
  };
  const count = (what: string, leastBytes: number): number => {
    const start = at;
    const n = view.getBigUint64(take(8, what), true);
    if (n * BigInt(leastBytes) <= source.size - at) return Number(n);
    throw fault(start, `the ${what} is too large`, `${n}, but only ${source.size - at} bytes are left in the file`);
  };
  /** Guards memory: a value in an array costs more in memory than in the file. */
  const spend = (n: number) => {
    values += n;
    if (values <= MAX_VALUES) return;
    throw new UnsupportedError("GGUF metadata holds too many values", {
      kind: "too-large",
      where: place(source.name, { offset: at }),
      why: `more than ${MAX_VALUES} in arrays`,
    });
  };
  const string = (what: string, most = Number.MAX_SAFE_INTEGER): string => {
    const start = at;
    const length = view.getBigUint64(take(8, what), true);
    if (length > most) throw fault(start, `${what} is too long`, `${length} bytes, at most ${most} allowed`);
    const from = take(length, what);
    try {
      return utf8.decode(bytes.subarray(from, at));
    } catch {
      throw fault(from, `${what} is not UTF-8`, `${length} bytes hold a sequence that UTF-8 does not have`);
    }
  };
  const u32 = (what: string) => view.getUint32(take(4, what), true);
  const u64 = (what: string) => view.getBigUint64(take(8, what), true);
  return { fault, take, count, spend, string, u32, u64, view, where: () => at };
}

function header(read: Cursor, source: ByteSource): GgufHeader {
  const version = checkedVersion(read, source);
  const tensorCount = read.count("tensor count", LEAST_TENSOR);
  const keyCount = read.count("metadata count", LEAST_KEY_VALUE);
  const keyValues = new Map<string, GgufValue>();
  for (let i = 0; i < keyCount; i++) {
    const at = read.where();
    const key = read.string(`metadata key ${i}`, MAX_KEY_BYTES);
    if (keyValues.has(key)) throw read.fault(at, "two metadata keys are the same", quote(key));
    const what = `metadata ${quote(key)}`;
    keyValues.set(key, value(read, valueType(read, what), what, 0));
  }
  const alignment = alignmentOf(keyValues, read);
  const infos: TensorInfo[] = [];
  const names = new Set<string>();
  for (let i = 0; i < tensorCount; i++) {
    const info = tensorInfo(read, source, i);
    if (names.has(info.name))
      throw read.fault(info.at, "two tensors have the same name", quote(info.name), "duplicate-tensor");
    names.add(info.name);
    infos.push(info);
  }
  const dataStart = Math.ceil(read.where() / alignment) * alignment;
  return { version, keyValues, alignment, tensors: placed(infos, source, dataStart, alignment) };
}

function checkedVersion(read: Cursor, source: ByteSource): number {
  const magic = read.u32("the signature");
  if (magic !== MAGIC) {
    throw read.fault(0, "not a GGUF file", `the first bytes are 0x${magic.toString(16)}, not "GGUF"`, "not-a-model");
  }
  const version = read.u32("the version");
  // Version 2 has the same layout; version 1 has 32-bit counts.
  if (version === 2 || version === 3) return version;
  const bigEndian = version !== 0 && (version & 0xffff) === 0;
  const what = bigEndian ? "big-endian GGUF" : `GGUF version ${version}`;
  throw new UnsupportedError(`${what} is not supported`, {
    kind: "unsupported-version",
    where: place(source.name, { offset: 4 }),
    why: "versions 2 and 3 in little-endian are read",
    try: "convert the model again with a current tool",
  });
}

function valueType(read: Cursor, what: string) {
  const at = read.where();
  const id = read.u32(what);
  if (id < VALUE_TYPES.length) return VALUE_TYPES[id];
  throw read.fault(at, `${what} has an unknown type`, `type ${id}, known are 0 to ${VALUE_TYPES.length - 1}`);
}

function value(read: Cursor, type: (typeof VALUE_TYPES)[number], what: string, depth: number): GgufValue {
  if (type !== "array") return { type, value: scalar(read, type, what) };
  const at = read.where();
  if (depth === MAX_DEPTH) throw read.fault(at, `${what} is nested too deeply`, `more than ${MAX_DEPTH} arrays`);
  const of = valueType(read, what);
  const count = read.count(`length of ${what}`, FIXED_BYTES[of] ?? (of === "array" ? 12 : 8));
  read.spend(of === "array" ? count * 16 : count);
  if (of === "array") {
    const arrays: GgufArray[] = [];
    for (let i = 0; i < count; i++) arrays.push(value(read, "array", what, depth + 1) as GgufArray);
    return { type, of, value: arrays };
  }
  const items: (string | number | bigint | boolean)[] = [];
  for (let i = 0; i < count; i++) items.push(scalar(read, of, what));
  return { type, of, value: items };
}

function scalar(read: Cursor, type: ScalarType, what: string): string | number | bigint | boolean {
  const { view } = read;
  switch (type) {
    case "u8":
      return view.getUint8(read.take(1, what));
    case "i8":
      return view.getInt8(read.take(1, what));
    case "u16":
      return view.getUint16(read.take(2, what), true);
    case "i16":
      return view.getInt16(read.take(2, what), true);
    case "u32":
      return view.getUint32(read.take(4, what), true);
    case "i32":
      return view.getInt32(read.take(4, what), true);
    case "f32":
      return view.getFloat32(read.take(4, what), true);
    case "f64":
      return view.getFloat64(read.take(8, what), true);
    case "u64":
      return numberIfExact(view.getBigUint64(read.take(8, what), true));
    case "i64":
      return numberIfExact(view.getBigInt64(read.take(8, what), true));
    case "string":
      return read.string(what);
    case "bool": {
      const at = read.take(1, what);
      const byte = view.getUint8(at);
      if (byte > 1) throw read.fault(at, `${what} is no truth value`, `byte ${byte}, wanted 0 or 1`);
      return byte === 1;
    }
  }
}

function numberIfExact(value: bigint): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : value;
}

function alignmentOf(keyValues: ReadonlyMap<string, GgufValue>, read: Cursor): number {
  const entry = keyValues.get("general.alignment");
  if (!entry) return DEFAULT_ALIGNMENT;
  const { type, value } = entry;
  // ggml itself wants a power of two; the specification a multiple of 8.
  if (type === "u32" && typeof value === "number" && value >= 8 && value <= 2 ** 30 && (value & (value - 1)) === 0) {
    return value;
  }
  const why = `${type === "array" ? "an array" : `${type} ${value}`}, wanted a u32 power of two of at least 8`;
  throw read.fault(read.where(), '"general.alignment" is wrong', why);
}

interface TensorInfo {
  readonly name: string;
  readonly at: number;
  readonly shape: readonly number[];
  readonly type: GgufTensorType;
  readonly bytes: number;
  /** From the start of the data section. */
  readonly offset: bigint;
}

function tensorInfo(read: Cursor, source: ByteSource, index: number): TensorInfo {
  const at = read.where();
  const name = read.string(`the name of tensor ${index}`, MAX_KEY_BYTES);
  const what = `tensor ${quote(name)}`;
  const axes = read.u32(what);
  if (axes > 4) throw read.fault(at, `${what} has too many dimensions`, `${axes}, at most 4 allowed`);
  let elements = 1n;
  const shape: number[] = [];
  for (let axis = 0; axis < axes; axis++) {
    const size = read.u64(what);
    elements *= size;
    if (size === 0n) throw read.fault(at, `${what} has a dimension of 0`, "every dimension is at least 1");
    if (elements > Number.MAX_SAFE_INTEGER) throw read.fault(at, `${what} is too large`, "beyond 2^53 elements");
    shape.unshift(Number(size));
  }
  const typeId = read.u32(what);
  const offset = read.u64(what);
  const type = tensorTypeOfId(typeId);
  if (!type) {
    throw new UnsupportedError(`${what} has an unknown type`, {
      kind: "wrong-dtype",
      where: place(source.name, { tensor: name, offset: at }),
      why: `ggml type ${typeId}`,
      try: "convert the model to a known type, or use a newer version",
    });
  }
  const columns = shape.at(-1) ?? 1;
  if (columns % type.blockElements !== 0) {
    const why = `rows of ${columns} elements, ${type.name} is made of blocks of ${type.blockElements}`;
    throw read.fault(at, `the rows of ${what} are no whole number of blocks`, why);
  }
  return { name, at, shape, type, offset, bytes: (Number(elements) / type.blockElements) * type.blockBytes };
}

/** Absolute offsets; checks that every tensor is aligned, inside the file and apart from the others. */
function placed(infos: readonly TensorInfo[], source: ByteSource, dataStart: number, alignment: number): GgufTensor[] {
  const fault = (info: TensorInfo, kind: FileKind, message: string, why: string) =>
    new FileError(message, {
      kind,
      where: place(source.name, { tensor: info.name, offset: BigInt(dataStart) + info.offset }),
      why,
      try: "the file is truncated or damaged: download or convert it again",
    });
  for (const info of infos) {
    if (info.offset % BigInt(alignment) !== 0n) {
      throw fault(
        info,
        "bad-header",
        "a tensor is not aligned",
        `offset ${info.offset} is no multiple of ${alignment}`,
      );
    }
    if (BigInt(dataStart) + info.offset + BigInt(info.bytes) > source.size) {
      const why = `${info.bytes} bytes from there, the file has ${source.size} bytes`;
      throw fault(info, "tensor-outside-file", "a tensor lies outside the file", why);
    }
  }
  const byOffset = [...infos].sort((a, b) => Number(a.offset - b.offset));
  for (let i = 1; i < byOffset.length; i++) {
    const [before, info] = [byOffset[i - 1], byOffset[i]];
    if (before.offset + BigInt(before.bytes) > info.offset) {
      throw fault(
        info,
        "overlapping-tensors",
        "two tensors overlap",
        `${quote(before.name)} ends at ${before.offset + BigInt(before.bytes)}`,
      );
    }
  }
  return infos.map(({ name, type, shape, offset, bytes }) => {
    return { name, type, shape, offset: dataStart + Number(offset), bytes };
  });
}
