/**
 * How codes of any width lie in vectors. The codes of four columns for the same four k fill the bytes of one vector if
 * they have 8 bits. Narrower ones share bytes: part p of a vector, the bits [p b, (p + 1) b) of each byte, belongs to
 * k = 4 p .. 4 p + 3. Widths that do not divide a byte are split into planes that do (6 = 4 + 2, 5 = 4 + 1, 3 = 2 + 1),
 * each in vectors of its own. A cell is the shortest run of k that fills whole vectors of every plane; its planes follow
 * each other, low bits first.
 *
 * Codes of one or two bits may instead lie by eights, to be looked up four k at a time (lookup-sums.ts): a byte has one bit of
 * eight k of one column, the upper bits follow the lower ones, and four quads lie side by side (places.ts). Or the codes of one k
 * of several quads share a byte, those of the first in its lowest bits (gemv-shared-bytes.ts).
 */
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i8x16, i16x8, v128 } from "./instructions.js";

export type StoredBits = 1 | 2 | 3 | 4 | 5 | 6 | 8 | 16 | 32;

const planeWidths: Readonly<Record<StoredBits, readonly number[]>> = {
  ...{ 1: [1], 2: [2], 3: [2, 1], 4: [4], 5: [4, 1], 6: [4, 2], 8: [8], 16: [16], 32: [32] },
};

/** Widths of the planes of a code, low bits first. */
export function planesOf(bits: StoredBits): readonly number[] {
  return planeWidths[bits];
}

/** The narrowest stored width that holds codes of `bits` bits, at most 8. */
export function storedBits(bits: number): StoredBits {
  return bits === 7 ? 8 : (bits as StoredBits);
}

/** k of a cell. */
export function cellColumns(bits: StoredBits): number {
  return Math.max(...planesOf(bits).map((plane) => 32 / plane));
}

/** Bytes of a cell: four columns. */
export function cellBytes(bits: StoredBits): number {
  return (cellColumns(bits) * bits) / 2;
}

/** Reads the one-byte codes of four k: part `part` of the cell at `address` + `offset`. */
export type CodeReader = (address: Local<"i32">, offset: number, part: number) => Expression<"v128">;

interface Reading {
  readonly align?: "right" | "left";
  readonly byEight?: boolean;
  /** Where codes of several quads share a byte: the lowest bit of those wanted. */
  readonly shift?: Local<"i32"> | number;
}

/**
 * A reader of codes of at most 8 bits, right-aligned in their bytes or left-aligned. Masks stay in registers: engines do
 * not move constants out of loops.
 */
export function codeReader(
  f: FunctionBuilder,
  bits: StoredBits,
  { align = "right", byEight = false, shift }: Reading = {},
): CodeReader {
  if (byEight) return bitReader(f, bits);
  if (shift !== undefined) {
    const own = f.let(i8x16.splat(2 ** bits - 1));
    return (address, offset, part) => {
      const stored = v128.load(address, offset + 16 * part);
      return v128.and(shift === 0 ? stored : i16x8.shr_u(stored, shift), own);
    };
  }
  let bit = align === "left" ? 8 - bits : 0;
  let start = 0;
  const pieces = planesOf(bits).map((width) => {
    const mask = width === 8 ? undefined : f.let(i8x16.splat(((2 ** width - 1) << bit) & 0xff));
    const piece = { width, at: bit, start, mask };
    bit += width;
    start += (cellColumns(bits) * width) / 2;
    return piece;
  });
  return (address, offset, part) => {
    const codes = pieces.map(({ width, at, start: from, mask }) => {
      const parts = 8 / width;
      const stored = v128.load(address, offset + from + 16 * Math.floor(part / parts));
      const down = (part % parts) * width - at;
      // Bits that cross from byte to byte are masked away.
      const moved = down > 0 ? i16x8.shr_u(stored, down) : down < 0 ? i16x8.shl(stored, -down) : stored;
      return mask ? v128.and(moved, mask) : moved;
    });
    return codes.reduce((low, high) => v128.or(low, high));
  };
}

/** Bits of eight k, a byte in every four: four of each column spread to bytes, and each but its own bit masked away. */
function bitReader(f: FunctionBuilder, bits: StoredBits): CodeReader {
  const masks = [0, 4].map((low) => f.let(v128.const(Array.from({ length: 16 }, (_, i) => 1 << (low + (i & 3))))));
  const columns = f.let(v128.const(Array.from({ length: 16 }, (_, i) => i & 12)));
  const one = f.let(i8x16.splat(1));
  return (address, offset, part) => {
    const bit = (plane: number) => {
      const spread = i8x16.swizzle(v128.load(address, offset + 16 * (bits * (part >> 1) + plane)), columns);
      return i8x16.min_u(v128.and(spread, masks[part & 1]), one);
    };
    return Array.from({ length: bits }, (_, plane) => bit(plane)).reduce((low, high, plane) =>
      v128.or(low, i16x8.shl(high, plane)),
    );
  };
}

type LaneArray = Uint8Array | Uint16Array | Uint32Array;

/** Packs `cells` cells of codes, read from `from` on, into the words from `at` on. */
export type CellPacker = (from: number, cells: number, words: Uint32Array, at: number) => void;

/**
 * A packer of codes, an array for each of four columns. "column major": byte j of a vector is column j / 4 and k = j mod 4;
 * "k major": k = j / 4 and column j mod 4.
 */
export function cellPacker(
  lanes: readonly LaneArray[],
  bits: StoredBits,
  order: "k major" | "column major",
): CellPacker {
  if (bits === 32) return (from, cells, words, at) => packWords(lanes, from, cells, words, at);
  if (bits === 16) return (from, cells, words, at) => packHalves(lanes, from, cells, words, at);
  const byColumn = order === "column major";
  const fours = byColumn ? fourBytes(lanes) : [];
  const [columns, stride] = [cellColumns(bits), cellBytes(bits) / 4];
  let [low, start] = [0, 0];
  const planes = planesOf(bits).map((width): Plane => {
    const plane = { low, start, width, columns, stride };
    low += width;
    start += (columns * width) / 8;
    return plane;
  });
  return (from, cells, words, at) => {
    for (const plane of planes) {
      if (byColumn) packByColumn(fours, plane, from / 4, cells, words, at);
      else packByK(lanes, plane, from, cells, words, at);
    }
  };
}

/** Bits [low, low + width) of codes, from word `start` of a cell on; `stride` words from cell to cell. */
interface Plane {
  readonly low: number;
  readonly start: number;
  readonly width: number;
  readonly columns: number;
  readonly stride: number;
}

type Lanes = readonly ArrayLike<number>[];

function packWords(lanes: Lanes, from: number, cells: number, words: Uint32Array, at: number): void {
  for (let lane = 0; lane < 4; lane++) {
    const codes = lanes[lane];
    for (let k = 0; k < cells; k++) words[at + 4 * k + lane] = codes[from + k];
  }
}

function packHalves([a, b, c, d]: Lanes, from: number, cells: number, words: Uint32Array, at: number): void {
  for (let i = 0, k = from; i < 4 * cells; i += 2, k++) {
    words[at + i] = a[k] | (b[k] << 16);
    words[at + i + 1] = c[k] | (d[k] << 16);
  }
}

/**
 * Packs codes by eights, as `codeReader` reads them `byEight`: bit p of column c and the eight k from 8 w on at
 * 16 (bits w + p) + 4 c from `at`.
 */
export function packEights(
  lanes: Lanes,
  from: number,
  bits: StoredBits,
  cells: number,
  bytes: Uint8Array,
  at: number,
): void {
  const end = from + cells * cellColumns(bits);
  for (let k = from, to = at; k < end; k += 8) {
    for (let plane = 0; plane < bits; plane++, to += 16) {
      lanes.forEach((codes, lane) => {
        let packed = 0;
        for (let i = 0; i < 8; i++) packed |= ((codes[k + i] >> plane) & 1) << i;
        bytes[to + 4 * lane] = packed;
      });
    }
  }
}

/**
 * A packer of codes that share bytes with those of other quads: those of so many columns from `from` on go to the words from `at`
 * on, into the bits of each byte from `low` on; the words are zero there.
 */
export function sharedPacker(lanes: readonly LaneArray[]) {
  const [a, b, c, d] = fourBytes(lanes);
  return (from: number, columns: number, words: Uint32Array, at: number, low: number): void => {
    const end = (from + columns) >> 2;
    for (let i = from >> 2, to = at; i < end; i++, to += 4) {
      words[to] |= a[i] << low;
      words[to + 1] |= b[i] << low;
      words[to + 2] |= c[i] << low;
      words[to + 3] |= d[i] << low;
    }
  };
}

/** Bytes of lanes, four k at a time. */
const fourBytes = (lanes: readonly LaneArray[]) =>
  lanes.map(({ buffer, byteOffset, length }) => new Uint32Array(buffer, byteOffset, length >> 2));

function packByK([a, b, c, d]: Lanes, plane: Plane, from: number, cells: number, words: Uint32Array, at: number): void {
  const { low, start, width, columns, stride } = plane;
  const mask = ((2 ** width - 1) * 0x01010101) | 0;
  const step = 32 / width;
  for (let cell = 0; cell < cells; cell++) {
    let to = at + start + cell * stride;
    const end = from + (cell + 1) * columns;
    for (let first = end - columns; first < end; first += step) {
      for (let i = 0; i < 4; i++) {
        let word = 0;
        for (let shift = 0, k = first + i; shift < 8; shift += width, k += 4) {
          const bytes = a[k] | (b[k] << 8) | (c[k] << 16) | (d[k] << 24);
          word |= ((bytes >> low) & mask) << shift;
        }
        words[to++] = word;
      }
    }
  }
}

/** `fours`: the bytes of each column four at a time, from four `from` on. */
function packByColumn(
  fours: readonly Uint32Array[],
  { low, start, width, columns, stride }: Plane,
  from: number,
  cells: number,
  words: Uint32Array,
  at: number,
): void {
  const mask = ((2 ** width - 1) * 0x01010101) | 0;
  const [step, whole] = [8 / width, columns / 4];
  for (let lane = 0; lane < 4; lane++) {
    const codes = fours[lane];
    for (let cell = 0; cell < cells; cell++) {
      let to = at + start + cell * stride + lane;
      const end = from + (cell + 1) * whole;
      for (let first = end - whole; first < end; first += step) {
        let word = 0;
        for (let shift = 0, k = first; shift < 8; shift += width, k++) word |= ((codes[k] >> low) & mask) << shift;
        words[to] = word;
        to += 4;
      }
    }
  }
}
