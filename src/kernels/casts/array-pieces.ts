/** f32 arrays to unpacked codes and back, copied through the kernels' memory piece by piece. */
import { InputError } from "../../errors.js";
import { decodeArray, encodeArray } from "../../formats/casts.js";
import { decode, type EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { type Codes, codeArray } from "../../formats/packing.js";
import { type CastKernels, decodePlan, encodePlan } from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";

/** Elements copied at a time. */
export const pieceElements = 32768;

export const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

export function checkRoom(have: number, want: number): void {
  if (have < want) throw new InputError(`the output holds ${have} elements`, { why: `wanted at least ${want}` });
}

/** The same codes as `encodeArray`. */
export function encodePieces(
  kernels: CastKernels,
  format: NumberFormat,
  values: Float32Array,
  out: Codes,
  options: EncodeOptions,
): void {
  checkRoom(out.length, values.length);
  const size = codeBytes(format.bits);
  if (encodePlan(format, options).kind === "reference" || out.BYTES_PER_ELEMENT !== size) {
    encodeArray(format, values, out, options);
    return;
  }
  const from = kernels.scratch("values", 4 * pieceElements);
  const to = kernels.scratch("codes", 4 * pieceElements);
  const [source, target] = [bytesOf(values), bytesOf(out)];
  for (let start = 0; start < values.length; start += pieceElements) {
    const count = Math.min(pieceElements, values.length - start);
    new Uint8Array(kernels.memory.buffer).set(source.subarray(4 * start, 4 * (start + count)), from);
    if (kernels.encode(format, options, from, to, count)) {
      target.set(new Uint8Array(kernels.memory.buffer, to, count * size), start * size);
    } else {
      const codes = codeArray(format.bits, count);
      encodeArray(format, values, codes, options, start, count);
      out.set(codes, start);
    }
  }
}

/** The same values as `decodeArray`, for formats of any width. */
export function decodePieces(kernels: CastKernels, format: NumberFormat, codes: Codes, out: Float32Array): void {
  checkRoom(out.length, codes.length);
  const size = codeBytes(format.bits);
  if (decodePlan(format).kind === "reference") {
    for (let i = 0; i < codes.length; i++) out[i] = decode(format, codes[i]);
    return;
  }
  if (codes.BYTES_PER_ELEMENT !== size) {
    decodeArray(format, codes, out);
    return;
  }
  const from = kernels.scratch("codes", 4 * pieceElements);
  const to = kernels.scratch("values", 4 * pieceElements);
  const [source, target] = [bytesOf(codes), bytesOf(out)];
  for (let start = 0; start < codes.length; start += pieceElements) {
    const count = Math.min(pieceElements, codes.length - start);
    new Uint8Array(kernels.memory.buffer).set(source.subarray(size * start, size * (start + count)), from);
    kernels.decode(format, from, to, count);
    target.set(new Uint8Array(kernels.memory.buffer, to, 4 * count), 4 * start);
  }
}

/** Bytes as the codes that they hold, without copying. */
export function codesIn({ buffer, byteOffset, byteLength }: Uint8Array, size: 1 | 2 | 4): Codes {
  if (size === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (size === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

/** The largest magnitude; NaN or infinity if there is one. */
export function amaxOf(kernels: CastKernels, values: Float32Array): number {
  const from = kernels.scratch("values", 4 * pieceElements);
  let most = 0;
  for (let start = 0; start < values.length; start += pieceElements) {
    const piece = values.subarray(start, start + pieceElements);
    new Float32Array(kernels.memory.buffer).set(piece, from / 4);
    const amax = kernels.amax(from, piece.length);
    if (!Number.isFinite(amax)) return amax;
    most = Math.max(most, amax);
  }
  return most;
}
