/**
 * Byte sources that need no file system: memory and Blobs (a file the user dropped on a web page). Every source checks
 * the range before it allocates, so a lying offset costs an error and not memory.
 */
import { FileError } from "../errors.js";
import type { ByteSink, ByteSource } from "./checkpoint.js";

/** Where in which file, for the `where` of an error: `model.gguf, tensor "a.weight", byte offset 1024`. */
export function place(file: string, at: { readonly tensor?: string; readonly offset?: number | bigint } = {}): string {
  const parts = [file];
  if (at.tensor !== undefined) parts.push(`tensor ${quote(at.tensor)}`);
  if (at.offset !== undefined) parts.push(`byte offset ${at.offset}`);
  return parts.join(", ");
}

/** A name from a file in quotes, safe and short enough to print. */
export function quote(name: string): string {
  return JSON.stringify(name.length > 120 ? `${name.slice(0, 117)}...` : name);
}

/** Throws a FileError unless `length` bytes from `offset` lie inside `source`. */
export function checkRange(source: ByteSource, offset: number, length: number): void {
  const inside = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (inside && offset + length <= source.size) return;
  throw new FileError("the file ends too early", {
    kind: "truncated-file",
    where: place(source.name, { offset }),
    why: `wanted ${length} bytes from there, the file has ${source.size} bytes`,
    try: "the file is truncated or damaged: download or convert it again",
  });
}

/** A source over bytes in memory; `read` copies, so that planes are aligned and belong to the reader. */
export function bufferSource(name: string, bytes: Uint8Array): ByteSource {
  const source: ByteSource = {
    name,
    size: bytes.length,
    async read(offset, length) {
      checkRange(source, offset, length);
      return bytes.slice(offset, offset + length);
    },
    async close() {},
  };
  return source;
}

/** A source over a Blob or File of the browser (Node has them too). */
export function blobSource(name: string, blob: Blob): ByteSource {
  const source: ByteSource = {
    name,
    size: blob.size,
    async read(offset, length) {
      checkRange(source, offset, length);
      const bytes = new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.length === length) return bytes;
      throw new FileError("the file changed while it was read", {
        where: place(name, { offset }),
        why: `wanted ${length} bytes, got ${bytes.length}`,
      });
    },
    async close() {},
  };
  return source;
}

/** A sink into memory; `bytes()` returns what was written, zeros where nothing was. */
export function memorySink(name: string): ByteSink & { bytes(): Uint8Array } {
  let held = new Uint8Array(1024);
  let size = 0;
  return {
    name,
    async write(offset, bytes) {
      size = Math.max(size, offset + bytes.length);
      if (size > held.length) {
        const grown = new Uint8Array(Math.max(size, held.length * 2));
        grown.set(held);
        held = grown;
      }
      held.set(bytes, offset);
    },
    bytes: () => held.subarray(0, size),
  };
}
