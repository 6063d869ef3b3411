/**
 * Prototypes of two ways to multiply weights of one bit, timed beside the backend's (lookup-sums.ts, count-bits.ts). Weights
 * are 0 or 1 here and activations integers; a bias and scales come on top in the same way for all.
 *
 * - **Lookup tables** (T-MAC, Wei et al. 2024, arXiv:2407.00088, section 3): four weights are an index into the 16 sums that
 *   four activations can make, one byte shuffle serves 16 rows. Sums of int8 have 10 bits; they are kept as 6 low bits, of which
 *   four fit a byte when added, and 4 high bits with sign, of which 16 do. So the integers are exact.
 * - **Counting bits**: activations are rounded to A bits and held as A planes of bits; sum w x = sum over planes p of
 *   2^p popcount(w and x_p).
 */
import type { FunctionBuilder } from "../kernels/wasm/emitter.js";
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from "../kernels/wasm/instructions.js";

const zero = v128.const(new Uint8Array(16));

/** Where a product finds its operands and how large it is. */
export interface OneBitPlaces {
  readonly rows: number;
  readonly columns: number;
  /** Tables of `lookupTables`, or planes of activations, each plane `columns` bits. */
  readonly x: number;
  readonly weights: number;
  readonly out: number;
}

/** Columns that share a scale. */
export const lookupBlock = 128;

/** For every four activations 16 low parts and 16 high parts of the sums that weights of one bit can choose. */
export function lookupTables(x: Int8Array): Uint8Array {
  const tables = new Uint8Array(8 * x.length);
  for (let k = 0; k < x.length; k += 4) {
    for (let index = 0; index < 16; index++) {
      let sum = 0;
      for (let bit = 0; bit < 4; bit++) if ((index >> bit) & 1) sum += x[k + bit];
      tables[8 * k + index] = sum & 63;
      tables[8 * k + 16 + index] = sum >> 6;
    }
  }
  return tables;
}

/**
 * Rows in groups of 16, one byte of a vector each: its low half holds the weights of four k, its high half of the next
 * four. Two groups, far apart, are walked at once. Scales, f32, stand for each block of 128 k of a group at `scales`: those of its rows
 * 0 2 .. 14, then 1 3 .. 15, in which order `out` gets the results.
 */
export function emitLookup(
  f: FunctionBuilder,
  { rows, columns, x, weights, out, scales }: OneBitPlaces & { readonly scales: number },
  relaxed: boolean,
): void {
  const pick = relaxed ? i8x16.relaxed_swizzle : i8x16.swizzle;
  const [pairs, blocks] = [rows / 32, columns / lookupBlock];
  const [pair, at] = f.locals("i32", 2);
  const [lowTable, highTable, index] = f.locals("v128", 3);
  const mask = f.let(i8x16.splat(15));
  f.for(pair, 0, pairs, 1, () => {
    const groups = [0, 1].map((half) => ({
      address: f.let(i32.add(weights + half * pairs * columns * 2, i32.mul(pair, columns * 2))),
      scale: f.let(i32.add(scales + half * pairs * blocks * 64, i32.mul(pair, blocks * 64))),
      out: f.let(i32.add(out + half * pairs * 64, i32.mul(pair, 64))),
      totals: [0, 1, 2, 3].map(() => f.let(zero)),
      low: f.local("v128"),
      high: f.local("v128"),
      // Of even and odd rows; the low parts of even rows with those of odd rows 256 times, which the end takes away.
      sums: { low: f.locals("v128", 2), high: f.locals("v128", 2) },
    }));
    f.set(at, x);
    f.repeat(f.local("i32"), blocks, () => {
      for (const { sums } of groups) for (const sum of [...sums.low, ...sums.high]) f.set(sum, zero);
      for (let lookup = 0; lookup < lookupBlock / 4; lookup++) {
        f.set(lowTable, v128.load(at, 32 * lookup));
        f.set(highTable, v128.load(at, 32 * lookup + 16));
        for (const { address, low, high, sums } of groups) {
          const stored = v128.load(address, 16 * Math.floor(lookup / 2));
          f.set(index, v128.and(lookup % 2 === 0 ? stored : i16x8.shr_u(stored, 4), mask));
          f.set(low, lookup % 4 === 0 ? pick(lowTable, index) : i8x16.add(low, pick(lowTable, index)));
          f.set(high, lookup % 16 === 0 ? pick(highTable, index) : i8x16.add(high, pick(highTable, index)));
          if (lookup % 4 === 3) {
            f.set(sums.low[0], i16x8.add(sums.low[0], low));
            f.set(sums.low[1], i16x8.add(sums.low[1], i16x8.shr_u(low, 8)));
          }
          if (lookup % 16 === 15) {
            f.set(sums.high[0], i16x8.add(sums.high[0], i16x8.shr_s(i16x8.shl(high, 8), 8)));
            f.set(sums.high[1], i16x8.add(sums.high[1], i16x8.shr_s(high, 8)));
          }
        }
      }
      for (const { address, scale, totals, sums } of groups) {
        const even = i16x8.sub(sums.low[0], i16x8.shl(sums.low[1], 8));
        f.set(sums.low[0], i16x8.add(even, i16x8.shl(sums.high[0], 6)));
        f.set(sums.low[1], i16x8.add(sums.low[1], i16x8.shl(sums.high[1], 6)));
        totals.forEach((total, i) => {
          const half = sums.low[i >> 1];
          const wide = i % 2 === 0 ? i32x4.extend_low_i16x8_s(half) : i32x4.extend_high_i16x8_s(half);
          f.set(total, f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(wide), v128.load(scale, 16 * i))));
        });
        f.advance(address, lookupBlock * 2);
        f.advance(scale, 64);
      }
      f.advance(at, lookupBlock * 8);
    });
    for (const { out, totals } of groups) {
      totals.forEach((total, i) => {
        f.emit(v128.store(out, total, 16 * i));
      });
    }
  });
}

/** Rows of bits, `bits` planes of activations (unsigned), one scale a row, so that counts are widened once in 16 vectors. */
export function emitPopcount(f: FunctionBuilder, { rows, columns, x, weights, out }: OneBitPlaces, bits: number): void {
  const together = bits <= 2 ? 4 : bits <= 4 ? 2 : 1;
  const [row, at, word] = f.locals("i32", 3);
  const plane = f.local("v128");
  const walked = Array.from({ length: together }, () => ({
    address: f.local("i32"),
    counts: f.locals("v128", bits),
    stored: f.local("v128"),
    total: f.local("v128"),
  }));
  f.for(row, 0, rows, together, () => {
    walked.forEach(({ address, total }, i) => {
      f.set(address, i32.add(weights + (i * columns) / 8, i32.mul(row, columns / 8)));
      f.set(total, zero);
    });
    f.for(at, x, x + columns / 8, 256, () => {
      for (const { counts } of walked) for (const count of counts) f.set(count, zero);
      f.for(word, 0, 256, 32, () => {
        for (const part of [0, 16]) {
          for (const { address, stored } of walked) f.set(stored, v128.load(address, part));
          for (let p = 0; p < bits; p++) {
            f.set(plane, v128.load(i32.add(at, word), (p * columns) / 8 + part));
            for (const { counts, stored } of walked) {
              f.set(counts[p], i8x16.add(counts[p], i8x16.popcnt(v128.and(stored, plane))));
            }
          }
        }
        for (const { address } of walked) f.advance(address, 32);
      });
      for (const { counts, total } of walked) {
        counts.forEach((count, p) => {
          const wide = i32x4.extadd_pairwise_i16x8_u(i16x8.extadd_pairwise_i8x16_u(count));
          f.set(total, i32x4.add(total, i32x4.shl(wide, p)));
        });
      }
    });
    walked.forEach(({ total }, i) => {
      const lane = (l: number) => i32x4.extract_lane(total, l);
      f.emit(i32.store(i32.shl(row, 2), i32.add(i32.add(lane(0), lane(1)), i32.add(lane(2), lane(3))), out + 4 * i));
    });
  });
}
