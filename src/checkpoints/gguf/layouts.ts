/**
 * How GGUF interleaves codes and scales. A block is a struct: its fields stand one after another in the file, and each
 * field belongs to one plane of the packed tensor. Every field of every type fills whole bytes of its plane for each
 * block, and a row is a whole number of blocks, so block b of a tensor owns the bytes from b * size of every plane.
 *
 * Codes themselves are the same in both; planes hold them in order, GGUF spreads them: the second half of a block in the
 * high nibbles, fifth and sixth bits apart.
 * Source: ggml src/ggml-common.h (structs) and src/ggml-quants.c (`dequantize_row_*`).
 */
import { packCodes, unpackCodes } from "../../formats/packing.js";
import type { PlaneName, Planes } from "../../formats/scheme.js";

/** Moves whole tensors between the file's blocks and planes. `planes` are allocated by the caller in both directions. */
export interface BlockLayout {
  unpack(data: Uint8Array, blocks: number, planes: Planes): void;
  pack(planes: Planes, blocks: number, data: Uint8Array): void;
}

/** One member of the struct: moves it for all blocks; it stands at `at`, `at + stride`, ... of the data. */
interface Field {
  readonly bytes: number;
  readonly plane: PlaneName;
  unpack(data: Uint8Array, at: number, stride: number, blocks: number, plane: Uint8Array): void;
  pack(plane: Uint8Array, blocks: number, data: Uint8Array, at: number, stride: number): void;
}

function struct(...fields: readonly Field[]): BlockLayout {
  const stride = fields.reduce((sum, field) => sum + field.bytes, 0);
  const each = (planes: Planes, visit: (field: Field, at: number, plane: Uint8Array) => void) => {
    let at = 0;
    for (const field of fields) {
      const plane = planes[field.plane];
      if (!plane) throw new Error(`the scheme has no plane "${field.plane}"`);
      visit(field, at, plane);
      at += field.bytes;
    }
  };
  return {
    unpack: (data, blocks, planes) => each(planes, (field, at, plane) => field.unpack(data, at, stride, blocks, plane)),
    pack: (planes, blocks, data) => each(planes, (field, at, plane) => field.pack(plane, blocks, data, at, stride)),
  };
}

/** Bytes that are the same in both. */
function same(plane: PlaneName, bytes: number): Field {
  return {
    bytes,
    plane,
    unpack(data, at, stride, blocks, to) {
      if (stride === bytes) return to.set(data.subarray(0, blocks * bytes));
      for (let b = 0; b < blocks; b++) {
        for (let i = 0; i < bytes; i++) to[b * bytes + i] = data[at + b * stride + i];
      }
    },
    pack(from, blocks, data, at, stride) {
      if (stride === bytes) return data.set(from.subarray(0, blocks * bytes));
      for (let b = 0; b < blocks; b++) {
        for (let i = 0; i < bytes; i++) data[at + b * stride + i] = from[b * bytes + i];
      }
    },
  };
}

/**
 * 4-bit codes in `groups` groups of 2 * half: byte j holds element j in its low and element j + half in its high nibble.
 * In the plane byte k holds elements 2k and 2k + 1.
 */
function nibbles(half: number, groups: number): Field {
  const bytes = half * groups;
  return {
    bytes,
    plane: "codes",
    unpack(data, start, stride, blocks, to) {
      let out = 0;
      for (let b = 0; b < blocks; b++) {
        for (let at = start + b * stride, end = at + bytes; at < end; at += half, out += half) {
          for (let k = 0; k < half / 2; k++) {
            const [even, odd] = [data[at + 2 * k], data[at + 2 * k + 1]];
            to[out + k] = (even & 15) | ((odd & 15) << 4);
            to[out + half / 2 + k] = (even >> 4) | (odd & 0xf0);
          }
        }
      }
    },
    pack(from, blocks, data, start, stride) {
      let out = 0;
      for (let b = 0; b < blocks; b++) {
        for (let at = start + b * stride, end = at + bytes; at < end; at += half, out += half) {
          for (let k = 0; k < half / 2; k++) {
            const [low, high] = [from[out + k], from[out + half / 2 + k]];
            data[at + 2 * k] = (low & 15) | ((high & 15) << 4);
            data[at + 2 * k + 1] = (low >> 4) | (high & 0xf0);
          }
        }
      }
    },
  };
}

/** Codes that the file cuts into pieces: `decode` gathers a block's codes, `encode` spreads them again. */
function pieces(
  bytes: number,
  bits: number,
  elements: number,
  decode: (data: Uint8Array, at: number, codes: Uint8Array) => void,
  encode: (codes: Uint8Array, data: Uint8Array, at: number) => void,
): Field {
  const planeBytes = (bits * elements) / 8;
  return {
    bytes,
    plane: "codes",
    unpack(data, at, stride, blocks, to) {
      const codes = new Uint8Array(elements);
      for (let b = 0; b < blocks; b++) {
        decode(data, at + b * stride, codes);
        packCodes(codes, elements, bits, to, b * planeBytes);
      }
    },
    pack(from, blocks, data, at, stride) {
      const codes = new Uint8Array(elements);
      for (let b = 0; b < blocks; b++) {
        unpackCodes(from, b * planeBytes, bits, codes, elements);
        data.fill(0, at + b * stride, at + b * stride + bytes);
        encode(codes, data, at + b * stride);
      }
    },
  };
}

/** u8 qh[4], whose bit j is the fifth bit of element j, and u8 qs[16] as in 4-bit blocks. */
function fiveBits(): Field {
  const decode = (data: Uint8Array, at: number, codes: Uint8Array) => {
    for (let j = 0; j < 32; j++) {
      const nibble = (data[at + 4 + (j & 15)] >> (j < 16 ? 0 : 4)) & 15;
      codes[j] = nibble | (((data[at + (j >> 3)] >> (j & 7)) & 1) << 4);
    }
  };
  const encode = (codes: Uint8Array, data: Uint8Array, at: number) => {
    for (let j = 0; j < 32; j++) {
      data[at + 4 + (j & 15)] |= (codes[j] & 15) << (j < 16 ? 0 : 4);
      data[at + (j >> 3)] |= (codes[j] >> 4) << (j & 7);
    }
  };
  return pieces(20, 5, 32, decode, encode);
}

/**
 * u8 ql[128] and qh[64]: of each half of 128 elements, l = 0 .. 31 holds elements l, l + 32, l + 64, l + 96, whose low
 * nibbles are those of ql[l], ql[l + 32] (first low, then high nibbles) and whose upper two bits lie in qh[l].
 */
function sixBits(): Field {
  const visit = (
    at: number,
    piece: (element: number, low: number, shift: number, high: number, by: number) => void,
  ) => {
    for (let element = 0; element < 256; element++) {
      const [half, quarter, l] = [element >> 7, (element >> 5) & 3, element & 31];
      piece(
        element,
        at + 64 * half + 32 * (quarter & 1) + l,
        quarter & 2 ? 4 : 0,
        at + 128 + 32 * half + l,
        2 * quarter,
      );
    }
  };
  return pieces(
    192,
    6,
    256,
    (data, at, codes) =>
      visit(at, (element, low, shift, high, by) => {
        codes[element] = ((data[low] >> shift) & 15) | (((data[high] >> by) & 3) << 4);
      }),
    (codes, data, at) =>
      visit(at, (element, low, shift, high, by) => {
        data[low] |= (codes[element] & 15) << shift;
        data[high] |= (codes[element] >> 4) << by;
      }),
  );
}

export const f32 = struct(same("codes", 4));
export const f16 = struct(same("codes", 2));
export const bf16 = struct(same("codes", 2));
export const q4_0 = struct(same("scales", 2), nibbles(16, 1));
export const q4_1 = struct(same("scales", 2), same("offsets", 2), nibbles(16, 1));
export const q5_0 = struct(same("scales", 2), fiveBits());
export const q5_1 = struct(same("scales", 2), same("offsets", 2), fiveBits());
export const q8_0 = struct(same("scales", 2), same("codes", 32));
export const q6_k = struct(sixBits(), same("scales", 16), same("superScales", 2));
export const mxfp4 = struct(same("scales", 1), nibbles(16, 1));
/** Four groups of 16. The tensor's own scale, if it has one, is another tensor of the file (gguf.ts). */
export const nvfp4 = struct(same("scales", 4), nibbles(8, 4));
