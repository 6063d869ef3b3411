/**
 * How other files and engines put codes of a few bits into bytes, by name. Bitloom's planes use `lsb`; the rest is for reading
 * and writing foreign data. Every layout holds a row of `count` codes without a byte to each code.
 */
import { InputError } from "../errors.js";
import { type Codes, codeArray, packCodes, rowBytes, unpackCodes } from "../formats/packing.js";
import { type Registry, registry } from "../registry.js";

export interface BitLayout {
  readonly name: string;
  readonly summary: string;
  /** Where it is met. */
  readonly usedBy: string;
  /** Bytes of a row; an InputError for widths that the layout does not have. */
  bytes(bits: number, count: number): number;
  pack(codes: Codes, bits: number): Uint8Array;
  unpack(packed: Uint8Array, bits: number, count: number): Codes;
}

type Place = (index: number, bits: number, count: number) => readonly Field[];
/** Bits [from, from + width) of a code lie at bit `at` of the row. */
interface Field {
  readonly from: number;
  readonly width: number;
  readonly at: number;
}

/** A layout from the place of every code. */
function placed(
  head: Pick<BitLayout, "name" | "summary" | "usedBy">,
  widths: readonly number[],
  bytes: (bits: number, count: number) => number,
  place: Place,
): BitLayout {
  const checked = (bits: number, count: number) => {
    if (!widths.includes(bits)) {
      throw new InputError(`layout ${head.name} has no codes of ${bits} bits`, { why: `it has ${widths.join(", ")}` });
    }
    return bytes(bits, count);
  };
  return {
    ...head,
    bytes: checked,
    pack(codes, bits) {
      const out = new Uint8Array(checked(bits, codes.length));
      codes.forEach((code, i) => {
        for (const field of place(i, bits, codes.length)) writeBits(out, field, code);
      });
      return out;
    },
    unpack(packed, bits, count) {
      if (packed.length < checked(bits, count)) {
        throw new InputError(`${packed.length} bytes are too few for ${count} codes of ${bits} bits as ${head.name}`);
      }
      const codes = codeArray(bits, count);
      for (let i = 0; i < count; i++) for (const field of place(i, bits, count)) codes[i] |= readBits(packed, field);
      return codes;
    },
  };
}

function writeBits(out: Uint8Array, { from, width, at }: Field, code: number): void {
  for (let b = 0; b < width; b++) out[(at + b) >> 3] |= ((code >> (from + b)) & 1) << ((at + b) & 7);
}

function readBits(packed: Uint8Array, { from, width, at }: Field): number {
  let value = 0;
  for (let b = 0; b < width; b++) value |= ((packed[(at + b) >> 3] >> ((at + b) & 7)) & 1) << (from + b);
  return value;
}

const upTo8 = [1, 2, 3, 4, 5, 6, 7, 8];

const lsb: BitLayout = {
  name: "lsb",
  summary: "one stream, least significant bit first; codes may straddle bytes",
  usedBy: "Bitloom's planes, ONNX int4, safetensors F4",
  bytes: rowBytes,
  pack(codes, bits) {
    const out = new Uint8Array(rowBytes(bits, codes.length));
    packCodes(codes, codes.length, bits, out);
    return out;
  },
  unpack(packed, bits, count) {
    const codes = codeArray(bits, count);
    unpackCodes(packed, 0, bits, codes, count);
    return codes;
  },
};

/** Bit k of a big-endian stream is bit 7 - k mod 8 of its byte, so fields go bit by bit. */
const msb = placed(
  {
    name: "msb",
    summary: "one stream, most significant bit first; the first nibble is the high one",
    usedBy: "network order, older FP6 kernels",
  },
  upTo8,
  rowBytes,
  (i, bits) =>
    Array.from({ length: bits }, (_, b) => {
      const place = i * bits + (bits - 1 - b);
      return { from: b, width: 1, at: (place & ~7) + 7 - (place & 7) };
    }),
);

const words32 = placed(
  {
    name: "words32",
    summary: "as lsb, in whole 32-bit words; codes straddle them",
    usedBy: "compressed-tensors pack-quantized",
  },
  upTo8,
  (bits, count) => 4 * Math.ceil((bits * count) / 32),
  (i, bits) => [{ from: 0, width: bits, at: i * bits }],
);

const words32Padded = placed(
  {
    name: "words32-padded",
    summary: "floor(32 / bits) codes in each 32-bit word, the rest unused",
    usedBy: "older compressed-tensors, GPTQ with 2, 4 or 8 bits",
  },
  upTo8,
  (bits, count) => 4 * Math.ceil(count / Math.floor(32 / bits)),
  (i, bits) => {
    const each = Math.floor(32 / bits);
    return [{ from: 0, width: bits, at: 32 * Math.floor(i / each) + bits * (i % each) }];
  },
);

const ggufHalves = placed(
  {
    name: "gguf-halves",
    summary: "in blocks of 32 the low nibbles are codes 0..15, the high ones 16..31",
    usedBy: "GGUF Q4_0, Q4_1, IQ4_NL, MXFP4",
  },
  [4],
  (_bits, count) => 16 * Math.ceil(count / 32),
  (i) => [{ from: 0, width: 4, at: 128 * (i >> 5) + 8 * (i & 15) + (i & 16 ? 4 : 0) }],
);

const awq = placed(
  {
    name: "awq",
    summary: "eight nibbles in a 32-bit word in the order 0 2 4 6 1 3 5 7",
    usedBy: "AWQ GEMM checkpoints",
  },
  [4],
  (_bits, count) => 4 * Math.ceil(count / 8),
  (i) => [{ from: 0, width: 4, at: 32 * (i >> 3) + 4 * [0, 4, 1, 5, 2, 6, 3, 7][i & 7] }],
);

const segments42 = placed(
  {
    name: "segments-4-2",
    summary: "6-bit codes as a row of low nibbles, then a row of the upper two bits",
    usedBy: "FP6-LLM, GGUF Q6_K in spirit",
  },
  [6],
  (_bits, count) => rowBytes(4, count) + rowBytes(2, count),
  (i, _bits, count) => [
    { from: 0, width: 4, at: 4 * i },
    { from: 4, width: 2, at: 8 * rowBytes(4, count) + 2 * i },
  ],
);

const bitPlanes = placed(
  {
    name: "bit-planes",
    summary: "one row of bits for each bit of the codes, least significant plane first",
    usedBy: "bit-serial kernels, any-precision storage",
  },
  upTo8,
  (bits, count) => bits * rowBytes(1, count),
  (i, bits, count) =>
    Array.from({ length: bits }, (_, b) => ({ from: b, width: 1, at: 8 * b * rowBytes(1, count) + i })),
);

export const bitLayouts: Registry<BitLayout> = registry("bit layout", [
  lsb,
  msb,
  words32,
  words32Padded,
  ggufHalves,
  awq,
  segments42,
  bitPlanes,
]);

/** Codes in an lsb stream, from any bit on: a slice needs no byte boundary and copies nothing. */
export interface CodeView {
  readonly bytes: Uint8Array;
  readonly bits: number;
  /** Bit of `bytes` where code 0 begins. */
  readonly start: number;
  readonly count: number;
}

export const codeView = (bytes: Uint8Array, bits: number, count: number): CodeView => ({
  bytes,
  bits,
  start: 0,
  count,
});

/** Codes from .. to - 1 of a view, sharing its memory. */
export function sliceCodes(view: CodeView, from: number, to: number): CodeView {
  if (!(Number.isInteger(from) && Number.isInteger(to) && 0 <= from && from <= to && to <= view.count)) {
    throw new InputError(`codes ${from} to ${to} do not exist`, { why: `the view has ${view.count}` });
  }
  return { ...view, start: view.start + from * view.bits, count: to - from };
}

/** Code i of a view. */
export function codeAt({ bytes, bits, start, count }: CodeView, i: number): number {
  if (!(i >= 0 && i < count)) throw new InputError(`code ${i} does not exist`, { why: `the view has ${count}` });
  return readBits(bytes, { from: 0, width: bits, at: start + i * bits });
}
