/**
 * The header of a safetensors file: 8 bytes little-endian length N, then N bytes of JSON
 *
 *     {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [begin, end]}, ..., "__metadata__": {"key": "text"}}
 *
 * then the data, which the tensors cover without gaps. The JSON is read by a small parser of exactly this grammar:
 * unlike JSON.parse it sees duplicate names, builds nothing that is not wanted, and knows the byte where it stands.
 * Source: safetensors README, "Format", and safetensors/src/tensor.rs.
 */
import { FileError, type FileKind } from "../../errors.js";
import type { ByteSource } from "../checkpoint.js";
import { place, quote } from "../source.js";
import { type Dtype, dtypeNamed } from "./dtypes.js";

/** The limit of the reference implementation. */
export const MAX_HEADER_BYTES = 100_000_000;

/** One tensor of one file; `offset` is absolute. */
export interface StoredTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly bytes: number;
}

export interface SafetensorsHeader {
  readonly tensors: readonly StoredTensor[];
  /** The texts of `__metadata__`. */
  readonly texts: ReadonlyMap<string, string>;
}

/** Reads and checks the header; every offset and size is proved against the file before anything uses it. */
export async function readHeader(source: ByteSource): Promise<SafetensorsHeader> {
  const fault = (offset: number, message: string, why: string, kind: FileKind = "bad-header") =>
    new FileError(message, {
      kind,
      where: place(source.name, { offset }),
      why,
      try: "download or write the file again",
    });
  if (source.size < 10)
    throw fault(0, "too short for a safetensors file", `${source.size} bytes, at least 10 needed`, "truncated-file");
  const length = new DataView((await source.read(0, 8)).slice().buffer).getBigUint64(0, true);
  if (length > BigInt(source.size - 8) || length < 2n) {
    throw fault(0, "the header length is wrong", `${length} bytes announced, ${source.size - 8} follow`);
  }
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw fault(0, "the header is too large", `${length} bytes, the format allows ${MAX_HEADER_BYTES}`);
  }
  const headerBytes = Number(length);
  const parser = headerParser(await source.read(8, headerBytes), (at, why) =>
    fault(8 + at, "the header is damaged", why),
  );
  const { raw, texts } = parser.header();
  return { tensors: placed(raw, source, 8 + headerBytes), texts };
}

interface RawTensor {
  readonly name: string;
  readonly dtype: Dtype;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

/** Absolute offsets; checks that sizes agree and that the tensors cover the data section exactly. */
function placed(raw: readonly RawTensor[], source: ByteSource, dataStart: number): StoredTensor[] {
  const dataBytes = source.size - dataStart;
  const tensors = [...raw].sort((a, b) => a.begin - b.begin || a.end - b.end);
  const fault = (tensor: RawTensor, kind: FileKind, message: string, why: string) =>
    new FileError(message, {
      kind,
      where: place(source.name, { tensor: tensor.name, offset: dataStart + tensor.begin }),
      why,
      try: "the file is truncated or damaged: download or convert it again",
    });
  let covered = 0;
  for (const tensor of tensors) {
    const { begin, end, shape, dtype } = tensor;
    const range = `bytes ${begin} to ${end} of the data`;
    if (end > dataBytes || begin > end) {
      throw fault(
        tensor,
        "tensor-outside-file",
        "a tensor lies outside the file",
        `${range}, which has ${dataBytes} bytes`,
      );
    }
    const bytes = shape.reduce((product, n) => product * n, dtype.bits) / 8;
    if (bytes !== end - begin) {
      const wanted = `${dtype.name} of shape [${shape.join(", ")}] takes ${bytes} bytes`;
      throw fault(
        tensor,
        "wrong-shape",
        "shape and size of a tensor disagree",
        `${wanted}, its offsets say ${end - begin}`,
      );
    }
    if (begin !== covered) {
      const why = `${range}, the tensor before it ends at ${covered}`;
      if (begin < covered) throw fault(tensor, "overlapping-tensors", "two tensors overlap", why);
      throw fault(tensor, "tensor-outside-file", "there is a gap in front of a tensor", why);
    }
    covered = end;
  }
  if (covered !== dataBytes) {
    throw new FileError("bytes at the end of the file belong to no tensor", {
      kind: "tensor-outside-file",
      where: place(source.name, { offset: dataStart + covered }),
      why: `the tensors take ${covered} bytes of data, the file has ${dataBytes}`,
    });
  }
  return tensors.map(({ name, dtype, shape, begin, end }) => {
    return { name, dtype, shape, offset: dataStart + begin, bytes: end - begin };
  });
}

const [QUOTE, BACKSLASH, COMMA, COLON] = [0x22, 0x5c, 0x2c, 0x3a];
const [OPEN_BRACE, CLOSE_BRACE, OPEN_BRACKET, CLOSE_BRACKET] = [0x7b, 0x7d, 0x5b, 0x5d];
const isSpace = (byte: number) => byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09;
const isDigit = (byte: number) => byte >= 0x30 && byte <= 0x39;

/** A parser over the header's bytes; `fault` makes the error for a position. */
function headerParser(bytes: Uint8Array, fault: (at: number, why: string) => FileError) {
  const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let at = 0;

  const skipSpace = () => {
    while (at < bytes.length && isSpace(bytes[at])) at++;
  };
  const expect = (byte: number) => {
    skipSpace();
    if (bytes[at] !== byte) throw fault(at, `wanted "${String.fromCharCode(byte)}", got ${shown(bytes[at])}`);
    at++;
  };
  /** Whether the next byte is `byte`; it is taken if so. */
  const accept = (byte: number) => {
    skipSpace();
    if (bytes[at] !== byte) return false;
    at++;
    return true;
  };
  const string = (): string => {
    expect(QUOTE);
    const start = at;
    let escaped = false;
    while (at < bytes.length && bytes[at] !== QUOTE) {
      if (bytes[at] === BACKSLASH) {
        escaped = true;
        at++;
      }
      at++;
    }
    if (at >= bytes.length) throw fault(start, "a text that does not end");
    try {
      const text = utf8.decode(bytes.subarray(start, at++));
      return escaped || hasControl(text) ? (JSON.parse(`"${text}"`) as string) : text;
    } catch (error) {
      throw fault(start, error instanceof SyntaxError ? "a text that is not JSON" : "a text that is not UTF-8");
    }
  };
  const integer = (): number => {
    skipSpace();
    const start = at;
    let value = 0;
    while (at < bytes.length && isDigit(bytes[at])) value = value * 10 + bytes[at++] - 0x30;
    if (at === start) throw fault(at, `wanted a whole number, got ${shown(bytes[at])}`);
    if (value > Number.MAX_SAFE_INTEGER) throw fault(start, "a number beyond 2^53");
    if (at - start > 1 && bytes[start] === 0x30) throw fault(start, "a number with leading zeros");
    return value;
  };
  const list = (most: number): number[] => {
    const values: number[] = [];
    expect(OPEN_BRACKET);
    if (accept(CLOSE_BRACKET)) return values;
    do {
      if (values.length === most) throw fault(at, `a list of more than ${most} numbers`);
      values.push(integer());
    } while (accept(COMMA));
    expect(CLOSE_BRACKET);
    return values;
  };
  /** Calls `member` for every key of an object, standing at its value. */
  const object = (member: (key: string, keyAt: number) => void) => {
    const seen = new Set<string>();
    expect(OPEN_BRACE);
    if (accept(CLOSE_BRACE)) return;
    do {
      skipSpace();
      const keyAt = at;
      const key = string();
      if (seen.has(key)) throw fault(keyAt, `the name ${quote(key)} stands there twice`);
      seen.add(key);
      expect(COLON);
      member(key, keyAt);
    } while (accept(COMMA));
    expect(CLOSE_BRACE);
  };
  const tensor = (name: string, nameAt: number): RawTensor => {
    let dtype: Dtype | undefined;
    let shape: number[] | undefined;
    let offsets: number[] | undefined;
    object((key, keyAt) => {
      if (key === "dtype") {
        const got = string();
        dtype = dtypeNamed.get(got);
        if (!dtype) throw fault(keyAt, `tensor ${quote(name)} has the unknown dtype ${quote(got)}`);
      } else if (key === "shape") shape = checkedShape(list(64), name, keyAt);
      else if (key === "data_offsets") offsets = list(2);
      else throw fault(keyAt, `tensor ${quote(name)} has the unknown field ${quote(key)}`);
    });
    if (dtype && shape && offsets?.length === 2) {
      return { name, dtype, shape, begin: offsets[0], end: offsets[1] };
    }
    throw fault(nameAt, `tensor ${quote(name)} needs "dtype", "shape" and two "data_offsets"`);
  };
  const checkedShape = (shape: number[], name: string, keyAt: number) => {
    // Multiplied without zeros, so that [0, 2^53, 2^53] is refused too; 64 bits is the widest element.
    const bits = shape.reduce((product, n) => product * Math.max(n, 1), 64);
    if (bits <= Number.MAX_SAFE_INTEGER) return shape;
    throw fault(keyAt, `tensor ${quote(name)} has the shape [${shape.join(", ")}], too large for any file`);
  };
  const header = () => {
    const raw: RawTensor[] = [];
    const texts = new Map<string, string>();
    object((key, keyAt) => {
      if (key === "__metadata__") object((name) => void texts.set(name, string()));
      else raw.push(tensor(key, keyAt));
    });
    skipSpace();
    if (at !== bytes.length) throw fault(at, `wanted the end of the header, got ${shown(bytes[at])}`);
    return { raw, texts };
  };
  return { header };
}

function shown(byte: number | undefined): string {
  if (byte === undefined) return "the end of the header";
  return byte > 0x20 && byte < 0x7f ? `"${String.fromCharCode(byte)}"` : `byte ${byte}`;
}

/** JSON wants control characters escaped; text that holds one is handed to JSON.parse, which refuses it. */
function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) < 0x20) return true;
  return false;
}

/** The file's first bytes: length and JSON, padded with spaces so that the data starts at a multiple of 8. */
export function formatHeader(
  tensors: readonly { name: string; dtype: Dtype; shape: readonly number[]; begin: number; end: number }[],
  texts: Readonly<Record<string, string>>,
): Uint8Array {
  const entries = tensors.map(({ name, dtype, shape, begin, end }) => {
    return [name, { dtype: dtype.name, shape, data_offsets: [begin, end] }] as const;
  });
  const json = new TextEncoder().encode(JSON.stringify(Object.fromEntries([["__metadata__", texts], ...entries])));
  const bytes = new Uint8Array(8 + Math.ceil(json.length / 8) * 8).fill(0x20);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(bytes.length - 8), true);
  bytes.set(json, 8);
  return bytes;
}
