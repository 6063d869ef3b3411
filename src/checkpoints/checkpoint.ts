/**
 * A checkpoint is a model on disk: named tensors, metadata, a tokenizer. Containers differ in bytes only; whoever reads
 * a checkpoint sees packed tensors, one at a time, read by range.
 */
import type { Scheme } from "../formats/scheme.js";
import type { Named } from "../registry.js";
import type { PackedTensor } from "../tensor/packed.js";

/** Bytes that can be read by range: a file, a Blob, a buffer. */
export interface ByteSource {
  /** For messages. */
  readonly name: string;
  readonly size: number;
  /** Exactly `length` bytes from `offset`; a FileError if they are not there. */
  read(offset: number, length: number): Promise<Uint8Array>;
  close(): Promise<void>;
}

/** Bytes that can be written at any offset: a file in the making, memory. */
export interface ByteSink {
  readonly name: string;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  /** Called once before writing, with the size to come: fails early where it cannot fit. */
  reserve?(bytes: number): Promise<void>;
}

/** What is known of a tensor before its data is read. */
export interface TensorEntry {
  readonly name: string;
  /** Row-major, last axis contiguous (PyTorch order, also for GGUF). */
  readonly shape: readonly number[];
  /**
   * Undefined for a tensor type that is listed but cannot be turned into a scheme (integers other than weights,
   * container types not supported); `type` then names it and `read` throws UnsupportedError.
   */
  readonly scheme?: Scheme;
  /** The container's own name of the type: "BF16", "Q4_0". */
  readonly type: string;
  /** Bytes in the file. */
  readonly bytes: number;
  readonly file: string;
  /** Absolute byte offset in that file. */
  readonly offset: number;
}

/** JSON-like metadata; GGUF arrays of numbers and strings stay arrays, 64-bit integers become number or bigint. */
export type Metadata = Readonly<Record<string, MetadataValue>>;
export type MetadataValue =
  | string
  | number
  | bigint
  | boolean
  | null
  | readonly MetadataValue[]
  | { readonly [key: string]: MetadataValue };

export interface Checkpoint {
  /** "safetensors" or "gguf". */
  readonly container: string;
  readonly path: string;
  /** Size of all files that hold tensors. */
  readonly bytes: number;
  /** GGUF key-values, or the contents of config.json. */
  readonly metadata: Metadata;
  /**
   * The same metadata in the form that reproduces the container's own types when it is written again (GGUF: u32 or
   * u64, f32 or f64, ...). Absent where plain values say everything.
   */
  readonly typedMetadata?: Metadata;
  readonly tensors: readonly TensorEntry[];
  /** The tensor's data; a FileError for damage, an UnsupportedError for a type without a scheme. */
  read(name: string): Promise<PackedTensor>;
  close(): Promise<void>;
}

/** A tensor about to be written: the layout is fixed before any data is produced. */
export interface TensorPlan {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scheme: Scheme;
}

/** One tensor as it was written. */
export interface WrittenTensor extends TensorPlan {
  /** Serialized bytes of data, padding not counted. */
  readonly bytes: number;
}

export interface CheckpointContent {
  readonly metadata: Metadata;
  readonly tensors: readonly TensorPlan[];
  /** Called once per planned tensor, in order; only one tensor is in memory at a time. */
  produce(plan: TensorPlan, index: number): Promise<PackedTensor>;
}

/** A small file that travels with the tensors: `tokenizer.json`, a licence. */
export interface SideFile {
  /** File name without folders. */
  readonly name: string;
  readonly bytes: Uint8Array;
}

export interface WriteOptions {
  /** Paths that are being read: an output that is one of them is refused. */
  readonly inputs?: readonly string[];
  /** Written beside the tensors; only a folder can take them. */
  readonly sideFiles?: readonly SideFile[];
  /** A file that would grow beyond this is split, where the container can. Default: 5e9 bytes. */
  readonly maxFileBytes?: number;
}

/** What came of writing: `bytes` of all files that hold tensors, and the tensors in order. */
export interface Written {
  readonly bytes: number;
  readonly tensors: readonly WrittenTensor[];
}

/** One container format, registered in index.ts. */
export interface Container extends Named {
  readonly summary: string;
  /** True if `path` looks like this container (by signature or folder content, not by name alone). */
  detect(path: string): Promise<boolean>;
  open(path: string): Promise<Checkpoint>;
  /** Whether a tensor of this scheme and shape can be written, and if not, why. */
  canHold(scheme: Scheme, shape: readonly number[]): true | string;
  /** Throws what would keep `write` from putting so many bytes there, before there are any; writes nothing. */
  checkOutput(path: string, bytes: number, options?: WriteOptions): Promise<void>;
  /** Writes to temporary names and renames when everything is complete. */
  write(path: string, content: CheckpointContent, options?: WriteOptions): Promise<Written>;
}
