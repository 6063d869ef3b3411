/**
 * How GGUF interleaves codes and scales. A block is a struct: its fields stand one after another in the file, and each
 * field belongs to one or two planes of the packed tensor. Every field of every type fills whole bytes of its planes for
 * each block, and a row is a whole number of blocks, so block b of a tensor owns the bytes from b * size of every plane.
 *
 * The codes themselves are the same on both sides. Planes hold them in order, GGUF spreads them: the second half of a block
 * in the high nibbles, fifth and sixth bits apart.
 */
import { packCodes, unpackCodes } from "../../formats/packing.js";
import type { PlaneName, Planes } from "../../formats/scheme.js";

/** Moves whole tensors between the file's blocks and planes. `planes` are allocated by the caller in both directions. */
export interface BlockLayout {
  unpack(data: Uint8Array, blocks: number, planes: Planes): void;
  pack(planes: Planes, blocks: number, data: Uint8Array): void;
}

/** One member of the struct: moves it for all blocks; it stands at `at`, `at + stride`, ... of the data. */
export interface Field {
  readonly bytes: number;
  unpack(data: Uint8Array, at: number, stride: number, blocks: number, planes: Planes): void;
  pack(planes: Planes, blocks: number, data: Uint8Array, at: number, stride: number): void;
}

export function struct(...fields: readonly Field[]): BlockLayout {
  const stride = fields.reduce((sum, field) => sum + field.bytes, 0);
  const each = (visit: (field: Field, at: number) => void) => {
    let at = 0;
    for (const field of fields) {
      visit(field, at);
      at += field.bytes;
    }
  };
  return {
    unpack: (data, blocks, planes) => each((field, at) => field.unpack(data, at, stride, blocks, planes)),
    pack: (planes, blocks, data) => each((field, at) => field.pack(planes, blocks, data, at, stride)),
  };
}

function planeOf(planes: Planes, name: PlaneName): Uint8Array {
  const plane = planes[name];
  if (!plane) throw new Error(`the scheme of this block has no plane "${name}"`);
  return plane;
}

/** Bytes that are the same on both sides. */
export function same(plane: PlaneName, bytes: number): Field {
  return {
    bytes,
    unpack(data, at, stride, blocks, planes) {
      const to = planeOf(planes, plane);
      if (stride === bytes) return to.set(data.subarray(0, blocks * bytes));
      for (let b = 0; b < blocks; b++) {
        for (let i = 0; i < bytes; i++) to[b * bytes + i] = data[at + b * stride + i];
      }
    },
    pack(planes, blocks, data, at, stride) {
      const from = planeOf(planes, plane);
      if (stride === bytes) return data.set(from.subarray(0, blocks * bytes));
      for (let b = 0; b < blocks; b++) {
        for (let i = 0; i < bytes; i++) data[at + b * stride + i] = from[b * bytes + i];
      }
    },
  };
}

/** An f16 whose sign differs: files subtract a minimum, schemes add it. */
export function negatedHalf(plane: PlaneName): Field {
  return {
    bytes: 2,
    unpack(data, at, stride, blocks, planes) {
      const to = planeOf(planes, plane);
      for (let b = 0; b < blocks; b++) {
        to[2 * b] = data[at + b * stride];
        to[2 * b + 1] = data[at + b * stride + 1] ^ 0x80;
      }
    },
    pack(planes, blocks, data, at, stride) {
      const from = planeOf(planes, plane);
      for (let b = 0; b < blocks; b++) {
        data[at + b * stride] = from[2 * b];
        data[at + b * stride + 1] = from[2 * b + 1] ^ 0x80;
      }
    },
  };
}

/**
 * 4-bit codes in `groups` groups of 2 * half: byte j holds element j in its low and element j + half in its high nibble.
 * In the plane byte k holds elements 2k and 2k + 1.
 */
export function nibbles(half: number, groups: number): Field {
  const bytes = half * groups;
  return {
    bytes,
    unpack(data, start, stride, blocks, { codes: to }) {
      let out = 0;
      for (let b = 0; b < blocks; b++) {
        for (let at = start + b * stride, end = at + bytes; at < end; at += half, out += half) {
          for (let k = 0; k < half / 2; k++) {
            const even = data[at + 2 * k];
            const odd = data[at + 2 * k + 1];
            to[out + k] = (even & 15) | ((odd & 15) << 4);
            to[out + half / 2 + k] = (even >> 4) | (odd & 0xf0);
          }
        }
      }
    },
    pack({ codes: from }, blocks, data, start, stride) {
      let out = 0;
      for (let b = 0; b < blocks; b++) {
        for (let at = start + b * stride, end = at + bytes; at < end; at += half, out += half) {
          for (let k = 0; k < half / 2; k++) {
            const low = from[out + k];
            const high = from[out + half / 2 + k];
            data[at + 2 * k] = (low & 15) | ((high & 15) << 4);
            data[at + 2 * k + 1] = (low >> 4) | (high & 0xf0);
          }
        }
      }
    },
  };
}

/** The codes of one block in one plane, one array element each. */
interface Part {
  readonly plane: PlaneName;
  readonly bits: number;
  readonly count: number;
}

/**
 * Codes that the file cuts into pieces. `decode` gathers the codes of the block whose field starts at `at`; `encode` spreads
 * them over bytes that are zero. The arrays come in the order of `parts`.
 */
export function pieces(
  bytes: number,
  parts: readonly Part[],
  decode: (data: Uint8Array, at: number, ...codes: Uint8Array[]) => void,
  encode: (data: Uint8Array, at: number, ...codes: Uint8Array[]) => void,
): Field {
  const planeBytes = parts.map(({ bits, count }) => (bits * count) / 8);
  return {
    bytes,
    unpack(data, at, stride, blocks, planes) {
      const codes = parts.map(({ count }) => new Uint8Array(count));
      const to = parts.map(({ plane }) => planeOf(planes, plane));
      for (let b = 0; b < blocks; b++) {
        decode(data, at + b * stride, ...codes);
        for (let p = 0; p < parts.length; p++) {
          packCodes(codes[p], parts[p].count, parts[p].bits, to[p], b * planeBytes[p]);
        }
      }
    },
    pack(planes, blocks, data, at, stride) {
      const codes = parts.map(({ count }) => new Uint8Array(count));
      const from = parts.map(({ plane }) => planeOf(planes, plane));
      for (let b = 0; b < blocks; b++) {
        for (let p = 0; p < parts.length; p++) {
          unpackCodes(from[p], b * planeBytes[p], parts[p].bits, codes[p], parts[p].count);
        }
        data.fill(0, at + b * stride, at + b * stride + bytes);
        encode(data, at + b * stride, ...codes);
      }
    },
  };
}

/**
 * A field whose codes lie at fixed places: code i of a part is made of pieces [byte, shift in the byte, bits, shift in the
 * code]. Since the plane's codes lie at fixed places too, a block is moved by a fixed list of masked and shifted bytes.
 */
export function bitPlaces(
  bytes: number,
  parts: readonly Part[],
  places: (part: number, i: number) => readonly (readonly [byte: number, shift: number, bits: number, to: number])[],
): Field {
  const tables = parts.map(({ plane, bits, count }, part) => {
    const table = moves(count, bits, (i) => places(part, i));
    return { plane, table, planeBytes: (bits * count) / 8 };
  });
  return {
    bytes,
    unpack(data, at, stride, blocks, planes) {
      for (const { plane, table, planeBytes } of tables) {
        const to = planeOf(planes, plane);
        to.fill(0, 0, blocks * planeBytes);
        for (let b = 0, from = at, out = 0; b < blocks; b++, from += stride, out += planeBytes) {
          for (let m = 0; m < table.length; m += 4) {
            to[out + table[m + 1]] |= ((data[from + table[m]] & table[m + 2]) << table[m + 3]) >> 8;
          }
        }
      }
    },
    pack(planes, blocks, data, at, stride) {
      for (let b = 0; b < blocks; b++) data.fill(0, at + b * stride, at + b * stride + bytes);
      for (const { plane, table, planeBytes } of tables) {
        const from = planeOf(planes, plane);
        for (let b = 0, out = at, start = 0; b < blocks; b++, out += stride, start += planeBytes) {
          for (let m = 0; m < table.length; m += 4) {
            data[out + table[m]] |= ((from[start + table[m + 1]] << 8) >> table[m + 3]) & table[m + 2];
          }
        }
      }
    },
  };
}

/** Byte in the file, byte in the plane, mask in the file's byte, shift to the left plus 8: four numbers for each move. */
function moves(
  count: number,
  bits: number,
  places: (i: number) => readonly (readonly [byte: number, shift: number, bits: number, to: number])[],
): Int32Array {
  const masks = new Map<string, [file: number, plane: number, mask: number, shift: number]>();
  for (let i = 0; i < count; i++) {
    for (const [byte, shift, width, to] of places(i)) {
      for (let bit = 0; bit < width; bit++) {
        const target = i * bits + to + bit;
        const left = 8 + (target % 8) - (shift + bit);
        const key = `${byte} ${target >> 3} ${left}`;
        const move = masks.get(key) ?? [byte, target >> 3, 0, left];
        move[2] |= 1 << (shift + bit);
        masks.set(key, move);
      }
    }
  }
  return Int32Array.from([...masks.values()].flat());
}
