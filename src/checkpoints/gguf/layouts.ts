/**
 * The blocks of GGUF's tensor types, field by field.
 * Source: ggml src/ggml-common.h (structs) and src/ggml-quants.c (`dequantize_row_*`).
 */
import { bitPlaces, negatedHalf, nibbles, pieces, same, struct } from "./blocks.js";

const codes = (bits: number, count: number) => ({ plane: "codes", bits, count }) as const;
const scales = (bits: number, count: number) => ({ plane: "scales", bits, count }) as const;
const offsets = (bits: number, count: number) => ({ plane: "offsets", bits, count }) as const;

/** u8 qh[4], whose bit j is the fifth bit of element j, and u8 qs[16] as in 4-bit blocks. */
const fiveBits = bitPlaces(20, [codes(5, 32)], (_, j) => [
  [4 + (j & 15), j < 16 ? 0 : 4, 4, 0],
  [j >> 3, j & 7, 1, 4],
]);

/** Two bits at byte 32h + l, shift 2j, for element 128h + 32j + l. */
const quarter = (start: number, element: number) =>
  [start + 32 * (element >> 7) + (element & 31), 2 * ((element >> 5) & 3)] as const;

const twoBits = bitPlaces(64, [codes(2, 256)], (_, i) => [[...quarter(0, i), 2, 0]]);

/** u8 hmask[32], whose bits are the third bits, and u8 qs[64]. */
const threeBits = bitPlaces(96, [codes(3, 256)], (_, i) => [
  [...quarter(32, i), 2, 0],
  [i & 31, i >> 5, 1, 2],
]);

/** u8 qh[32], whose bits are the fifth bits, and u8 qs[128] in groups of 64 with two nibbles a byte. */
const fiveBitsOf256 = bitPlaces(160, [codes(5, 256)], (_, i) => [
  [32 + 32 * (i >> 6) + (i & 31), i & 32 ? 4 : 0, 4, 0],
  [i & 31, i >> 5, 1, 4],
]);

/** u8 ql[128] and qh[64]: of each half of 128 elements the low nibbles of 64 bytes, then the high ones; two bits in qh. */
const sixBits = bitPlaces(192, [codes(6, 256)], (_, i) => [
  [64 * (i >> 7) + (i & 63), i & 64 ? 4 : 0, 4, 0],
  [...quarter(128, i), 2, 4],
]);

/** A byte for each group: scale in the low, minimum in the high nibble. */
const nibblePairs = bitPlaces(16, [scales(4, 16), offsets(4, 16)], (part, g) => [[g, 4 * part, 4, 0]]);

/** Sixteen 6-bit scales: low nibbles in 8 bytes, upper two bits in 4. */
const q3Scales = bitPlaces(12, [scales(6, 16)], (_, g) => [
  [g & 7, g < 8 ? 0 : 4, 4, 0],
  [8 + (g & 3), 2 * (g >> 2), 2, 4],
]);

/** Eight 6-bit scales and minima: the first four whole, of the others a nibble and the upper bits of the first. */
const q4Scales = bitPlaces(12, [scales(6, 8), offsets(6, 8)], (part, g) =>
  g < 4
    ? [[g + 4 * part, 0, 6, 0]]
    : [
        [g + 4, 4 * part, 4, 0],
        [g - 4 + 4 * part, 6, 2, 4],
      ],
);

/** u16 scales_h and u8 scales_l[4]: eight 6-bit scales. */
const iq4Scales = bitPlaces(6, [scales(6, 8)], (_, g) => [
  [2 + (g >> 1), 4 * (g & 1), 4, 0],
  [g >> 2, 2 * (g & 3), 2, 4],
]);

/** Runs of trits of TQ1_0: `count` trits a byte, trit n of byte m at element first + bytes * n + m. */
const TRIT_RUNS = [
  { byte: 0, bytes: 32, first: 0, count: 5 },
  { byte: 32, bytes: 16, first: 160, count: 5 },
  { byte: 48, bytes: 4, first: 240, count: 4 },
];

/** A byte is ceil(T * 256 / 243) for five trits as the number T, the first most significant; four are followed by a 0. */
const trits = pieces(
  52,
  [codes(2, 256)],
  (data, at, out) => {
    for (const { byte, bytes, first, count } of TRIT_RUNS) {
      for (let m = 0; m < bytes; m++) {
        let power = 1;
        for (let n = 0; n < count; n++, power *= 3) {
          out[first + bytes * n + m] = (((data[at + byte + m] * power) & 255) * 3) >> 8;
        }
      }
    }
  },
  (data, at, from) => {
    for (const { byte, bytes, first, count } of TRIT_RUNS) {
      for (let m = 0; m < bytes; m++) {
        let number = 0;
        for (let n = 0; n < 5; n++) number = number * 3 + (n < count ? from[first + bytes * n + m] : 0);
        data[at + byte + m] = Math.ceil((number * 256) / 243);
      }
    }
  },
);

export const f32 = struct(same("codes", 4));
export const f16 = struct(same("codes", 2));
export const bf16 = struct(same("codes", 2));
export const q4_0 = struct(same("scales", 2), nibbles(16, 1));
export const q4_1 = struct(same("scales", 2), same("offsets", 2), nibbles(16, 1));
export const q5_0 = struct(same("scales", 2), fiveBits);
export const q5_1 = struct(same("scales", 2), same("offsets", 2), fiveBits);
export const q8_0 = struct(same("scales", 2), same("codes", 32));
export const q2_k = struct(nibblePairs, twoBits, same("superScales", 2), negatedHalf("superOffsets"));
export const q3_k = struct(threeBits, q3Scales, same("superScales", 2));
export const q4_k = struct(same("superScales", 2), negatedHalf("superOffsets"), q4Scales, nibbles(32, 4));
export const q5_k = struct(same("superScales", 2), negatedHalf("superOffsets"), q4Scales, fiveBitsOf256);
export const q6_k = struct(sixBits, same("scales", 16), same("superScales", 2));
export const iq4_nl = struct(same("scales", 2), nibbles(16, 1));
export const iq4_xs = struct(same("superScales", 2), iq4Scales, nibbles(16, 8));
export const tq1_0 = struct(trits, same("scales", 2));
export const tq2_0 = struct(twoBits, same("scales", 2));
export const mxfp4 = struct(same("scales", 1), nibbles(16, 1));
/** Four groups of 16. The tensor's own scale, if it has one, is another tensor of the file (open.ts). */
export const nvfp4 = struct(same("scales", 4), nibbles(8, 4));
