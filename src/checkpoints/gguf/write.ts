/**
 * Writing GGUF v3. The layout is fixed before any data exists: header, tensor infos with their offsets, then one tensor
 * after another, each padded with zeros to the alignment.
 */
import { InputError, UnsupportedError } from "../../errors.js";
import type { Scheme } from "../../formats/scheme.js";
import { columnsOf, elementCount } from "../../tensor/index.js";
import type { ByteSink, CheckpointContent, TensorPlan, Written } from "../checkpoint.js";
import { quote } from "../source.js";
import { checkPlans, produced } from "../tensors.js";
import { DEFAULT_ALIGNMENT, MAGIC } from "./header.js";
import { type GgufTensorType, TENSOR_TYPES, tensorTypeOfScheme } from "./types.js";
import { FIXED_BYTES, type GgufValue, gguf, type ScalarType, typedValue, VALUE_TYPES } from "./values.js";

/** ggml keeps 64 bytes for a name, the last one zero. */
const MAX_NAME_BYTES = 63;
/** What `general.quantization_version` says wherever blocks are used. Source: ggml.h, GGML_QNT_VERSION. */
const QUANTIZATION_VERSION = 2;

/** Whether a tensor can be written as it is, and if not, why. */
export function canHold(scheme: Scheme, shape: readonly number[]): true | string {
  const type = tensorTypeOfScheme(scheme.name);
  if (!type?.writable) {
    const names = TENSOR_TYPES.filter((known) => known.writable).map((known) => known.scheme);
    return `GGUF has no tensor type for ${scheme.name} that is written here; it has ${names.join(", ")}`;
  }
  if (shape.length > 4) return `GGUF tensors have at most 4 dimensions, this one has ${shape.length}`;
  if (shape.includes(0)) return "GGUF tensors have no dimension of 0";
  const columns = columnsOf(shape);
  if (columns % type.blockElements === 0) return true;
  const rest = columns % type.blockElements;
  return `${type.name} needs rows of a multiple of ${type.blockElements}; ${columns} leaves ${rest}`;
}

interface Placed {
  readonly plan: TensorPlan;
  readonly type: GgufTensorType;
  readonly blocks: number;
  readonly bytes: number;
  /** From the start of the data section. */
  readonly offset: number;
}

/** Writes a whole file to `sink`. */
export async function writeGguf(sink: ByteSink, content: CheckpointContent): Promise<Written> {
  checkPlans(content.tensors);
  const types = content.tensors.map(typeFor);
  const keyValues = completeMetadata(content, types);
  const alignment = Number(keyValues.get("general.alignment")?.value ?? DEFAULT_ALIGNMENT);
  const padded = (bytes: number) => Math.ceil(bytes / alignment) * alignment;
  let end = 0;
  const placed = content.tensors.map((plan, i): Placed => {
    const type = types[i];
    const blocks = elementCount(plan.shape) / type.blockElements;
    const [bytes, offset] = [blocks * type.blockBytes, end];
    end = padded(offset + bytes);
    return { plan, type, blocks, bytes, offset };
  });
  const front = frontOf(keyValues, placed, padded);
  await sink.reserve?.(front.length + end);
  await sink.write(0, front);
  for (const [index, { type, blocks, bytes, offset }] of placed.entries()) {
    const { planes } = await produced(content, index);
    // Longer than the data by its padding, which stays zero.
    const data = new Uint8Array(padded(offset + bytes) - offset);
    type.layout?.pack(planes, blocks, data);
    await sink.write(front.length + offset, data);
  }
  const tensors = placed.map(({ plan, bytes }) => ({ ...plan, bytes }));
  return { bytes: front.length + end, tensors };
}

function typeFor({ name, shape, scheme }: TensorPlan): GgufTensorType {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes === 0 || bytes > MAX_NAME_BYTES || /\p{Surrogate}/u.test(name)) {
    throw new InputError(`tensor ${quote(name)} cannot be written to GGUF`, {
      where: `tensor ${quote(name)}`,
      why: `its name has ${bytes} bytes of UTF-8; 1 to ${MAX_NAME_BYTES} are allowed`,
    });
  }
  const answer = canHold(scheme, shape);
  const type = tensorTypeOfScheme(scheme.name);
  if (answer === true && type) return type;
  throw new UnsupportedError(`tensor ${quote(name)} cannot be stored as ${scheme.name} in GGUF`, {
    kind: "scheme-does-not-fit",
    where: `tensor ${quote(name)}, shape [${shape.join(", ")}]`,
    why: String(answer),
    try: "another scheme for this tensor, or a folder (safetensors), which holds every scheme",
  });
}

/**
 * The caller's metadata with the keys that follow from the tensors: `general.file_type`, kept where it names the type
 * that most elements have, and `general.quantization_version` where blocks are used.
 */
function completeMetadata({ metadata, tensors }: CheckpointContent, types: readonly GgufTensorType[]) {
  const keyValues = new Map<string, GgufValue>();
  for (const [key, value] of Object.entries(metadata)) {
    if (!/^[\x21-\x7e]{1,65535}$/.test(key)) {
      throw new InputError(`metadata key ${quote(key)} cannot be written to GGUF`, { why: "wanted printable ASCII" });
    }
    keyValues.set(key, typedValue(key, value));
  }
  checkAlignment(keyValues.get("general.alignment"));
  const fileTypes = majority(tensors, types)?.fileTypes;
  if (fileTypes && !fileTypes.includes(Number(keyValues.get("general.file_type")?.value ?? Number.NaN))) {
    keyValues.set("general.file_type", gguf.u32(fileTypes[0]));
  }
  if (types.some((type) => type.blockElements > 1)) {
    keyValues.set("general.quantization_version", gguf.u32(QUANTIZATION_VERSION));
  }
  return keyValues;
}

function checkAlignment(alignment: GgufValue | undefined): void {
  if (!alignment) return;
  const { type, value } = alignment;
  if (type === "u32" && typeof value === "number" && value >= 8 && (value & (value - 1)) === 0 && value <= 65_536)
    return;
  throw new InputError('"general.alignment" is wrong', { why: `wanted a power of two from 8 to 65536, got ${value}` });
}

/** The type that holds the most elements. */
function majority(tensors: readonly TensorPlan[], types: readonly GgufTensorType[]): GgufTensorType | undefined {
  const elements = new Map<GgufTensorType, number>();
  for (const [i, { shape }] of tensors.entries()) {
    elements.set(types[i], (elements.get(types[i]) ?? 0) + elementCount(shape));
  }
  return [...elements].sort((a, b) => b[1] - a[1])[0]?.[0];
}

/** Everything in front of the data, padded. */
function frontOf(
  keyValues: ReadonlyMap<string, GgufValue>,
  placed: readonly Placed[],
  padded: (bytes: number) => number,
): Uint8Array {
  const to = byteWriter();
  to.u32(MAGIC);
  to.u32(3);
  to.u64(placed.length);
  to.u64(keyValues.size);
  for (const [key, value] of keyValues) {
    to.string(key);
    to.u32(VALUE_TYPES.indexOf(value.type));
    to.value(value);
  }
  for (const { plan, type, offset } of placed) {
    to.string(plan.name);
    to.u32(plan.shape.length);
    for (const size of plan.shape.toReversed()) to.u64(size);
    to.u32(type.id);
    to.u64(offset);
  }
  return to.bytes(padded);
}

/** Little-endian numbers into a growing array. */
function byteWriter() {
  let bytes = new Uint8Array(65_536);
  let view = new DataView(bytes.buffer);
  let at = 0;
  const text = new TextEncoder();
  const room = (length: number): number => {
    if (at + length > bytes.length) {
      const grown = new Uint8Array(Math.max(at + length, bytes.length * 2));
      grown.set(bytes);
      bytes = grown;
      view = new DataView(bytes.buffer);
    }
    at += length;
    return at - length;
  };
  // `room` may replace `view`, so it is called first.
  const u32 = (value: number) => {
    const start = room(4);
    view.setUint32(start, value, true);
  };
  const u64 = (value: number | bigint) => {
    const start = room(8);
    view.setBigUint64(start, BigInt(value), true);
  };
  const string = (value: string) => {
    const utf8 = text.encode(value);
    u64(utf8.length);
    const start = room(utf8.length);
    bytes.set(utf8, start);
  };
  const scalar = (type: ScalarType, value: string | number | bigint | boolean) => {
    if (type === "string") string(value as string);
    else {
      const start = room(FIXED_BYTES[type] ?? 0);
      SETTERS[type](view, start, value as number);
    }
  };
  const value = (item: GgufValue): void => {
    if (item.type !== "array") {
      scalar(item.type, item.value);
      return;
    }
    u32(VALUE_TYPES.indexOf(item.of));
    u64(item.value.length);
    if (item.of === "array") for (const inner of item.value) value(inner);
    else for (const inner of item.value) scalar(item.of, inner);
  };
  const done = (padded: (bytes: number) => number) => {
    room(padded(at) - at);
    return bytes.subarray(0, at);
  };
  return { u32, u64, string, value, bytes: done };
}

const SETTERS: Readonly<
  Record<Exclude<ScalarType, "string">, (view: DataView, at: number, value: number | bigint | boolean) => void>
> = {
  u8: (view, at, value) => view.setUint8(at, Number(value)),
  i8: (view, at, value) => view.setInt8(at, Number(value)),
  u16: (view, at, value) => view.setUint16(at, Number(value), true),
  i16: (view, at, value) => view.setInt16(at, Number(value), true),
  u32: (view, at, value) => view.setUint32(at, Number(value), true),
  i32: (view, at, value) => view.setInt32(at, Number(value), true),
  f32: (view, at, value) => view.setFloat32(at, Number(value), true),
  f64: (view, at, value) => view.setFloat64(at, Number(value), true),
  bool: (view, at, value) => view.setUint8(at, value ? 1 : 0),
  u64: (view, at, value) => view.setBigUint64(at, BigInt(value), true),
  i64: (view, at, value) => view.setBigInt64(at, BigInt(value), true),
};
