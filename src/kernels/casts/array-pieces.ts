/** f32 arrays to unpacked codes and back, copied through the kernels' memory piece by piece. */
import { InputError } from "../../errors.js";
import { decodeArray, encodeArray } from "../../formats/casts.js";
import { decode, type EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { type Codes, codeArray } from "../../formats/packing.js";
import type { CastKernels } from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";
import { decodePlan, encodePlan } from "./plans.js";

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
  const { pieceElements } = kernels;
  const source = sourceIn(kernels, values, "values");
  const target = targetIn(kernels, out, "codes");
  for (let start = 0; start < values.length; start += pieceElements) {
    const count = Math.min(pieceElements, values.length - start);
    if (kernels.encode(format, options, source(start, count), target.address(start), count)) {
      target.take(start, count);
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
  const { pieceElements } = kernels;
  const source = sourceIn(kernels, codes, "codes");
  const target = targetIn(kernels, out, "values");
  for (let start = 0; start < codes.length; start += pieceElements) {
    const count = Math.min(pieceElements, codes.length - start);
    kernels.decode(format, source(start, count), target.address(start), count);
    target.take(start, count);
  }
}

type Elements = Codes | Float32Array;

/** A function that says where a piece of an array lies in the kernels' memory, copying it there if it lies outside. */
export function sourceIn(kernels: CastKernels, array: Elements, purpose: string) {
  const size = array.BYTES_PER_ELEMENT;
  const own = kernels.addressOf(array);
  if (own !== undefined) return (start: number, _count: number) => own + size * start;
  const address = kernels.scratch(purpose, size * kernels.pieceElements);
  const bytes = bytesOf(array);
  return (start: number, count: number) => {
    new Uint8Array(kernels.memory.buffer).set(bytes.subarray(size * start, size * (start + count)), address);
    return address;
  };
}

/** Where pieces of an array are to be written: in it, or in a copy that `take` brings out. */
export function targetIn(kernels: CastKernels, array: Elements, purpose: string) {
  const size = array.BYTES_PER_ELEMENT;
  const own = kernels.addressOf(array);
  if (own !== undefined) return { address: (start: number) => own + size * start, take: () => {} };
  const address = kernels.scratch(purpose, size * kernels.pieceElements);
  const bytes = bytesOf(array);
  const take = (start: number, count: number) =>
    bytes.set(new Uint8Array(kernels.memory.buffer, address, size * count), size * start);
  return { address: () => address, take };
}

/** Bytes as the codes that they hold, without copying. */
export function codesIn({ buffer, byteOffset, byteLength }: Uint8Array, size: 1 | 2 | 4): Codes {
  if (size === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (size === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

/** The largest magnitude; NaN or infinity if there is one. */
export function amaxOf(kernels: CastKernels, values: Float32Array): number {
  const { pieceElements } = kernels;
  const source = sourceIn(kernels, values, "values");
  let most = 0;
  for (let start = 0; start < values.length; start += pieceElements) {
    const count = Math.min(pieceElements, values.length - start);
    const amax = kernels.amax(source(start, count), count);
    if (!Number.isFinite(amax)) return amax;
    most = Math.max(most, amax);
  }
  return most;
}
