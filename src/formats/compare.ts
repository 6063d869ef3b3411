/**
 * What formats do to the same data, each with the best known simple use of it: one scale for a group, charged in the bits.
 * Answers "which format at equal bits?" for a tensor or for a named distribution.
 */
import { randomUniform } from "../random.js";
import { encodeArray } from "./casts.js";
import type { NumberFormat } from "./format.js";
import { maxFinite, scaleTarget } from "./limits.js";
import { codeArray } from "./packing.js";
import { decodeTable } from "./table.js";

export interface Comparison {
  readonly format: string;
  /** Bits of an element and its share of the scale. */
  readonly bitsPerValue: number;
  /** sum (x - y)^2 / sum x^2. */
  readonly relativeMse: number;
  /** Signal to quantization noise ratio in decibels: -10 log10 relativeMse. */
  readonly sqnr: number;
  /** Shares of values beyond the range, of nonzero values that became 0, and of codes that occur. */
  readonly clipped: number;
  readonly zeroed: number;
  readonly rangeUse: number;
}

/** Quantizes groups of `per` values with an f32 scale amax / max (charged as 16 bits) and measures the result. */
export function compareFormats(list: readonly NumberFormat[], values: Float32Array, per = 32): Comparison[] {
  return list.map((format) => compareOne(format, values, per));
}

function compareOne(format: NumberFormat, values: Float32Array, per: number): Comparison {
  const max = maxFinite(format);
  const target = scaleTarget(format);
  const table = decodeTable(format);
  const scaled = new Float32Array(per);
  const codes = codeArray(format.bits, per);
  const seen = new Set<number>();
  let [error, power, clipped, zeroed] = [0, 0, 0, 0];
  for (let start = 0; start < values.length; start += per) {
    const count = Math.min(per, values.length - start);
    let amax = 0;
    for (let i = 0; i < count; i++) amax = Math.max(amax, Math.abs(values[start + i]));
    const scale = amax === 0 ? 1 : Math.fround(amax / target);
    for (let i = 0; i < count; i++) scaled[i] = values[start + i] / scale;
    encodeArray(format, scaled, codes, { overflow: "saturate" }, 0, count);
    for (let i = 0; i < count; i++) {
      const [x, v] = [values[start + i], table[codes[i]]];
      seen.add(codes[i]);
      error += (x - v * scale) ** 2;
      power += x * x;
      // amax / scale may exceed max by the rounding of the scale; that is no clipping.
      if (Math.abs(scaled[i]) > max * (1 + 2 ** -22)) clipped++;
      if (x !== 0 && v === 0) zeroed++;
    }
  }
  const relativeMse = power === 0 ? 0 : error / power;
  return {
    format: format.name,
    bitsPerValue: format.bits + 16 / per,
    relativeMse,
    sqnr: -10 * Math.log10(relativeMse),
    clipped: clipped / values.length,
    zeroed: zeroed / values.length,
    rangeUse: seen.size / 2 ** format.bits,
  };
}

/** Named sample distributions of unit scale, drawn with the shared generator. */
export const DISTRIBUTIONS = ["normal", "laplace", "student-t"] as const;
export type Distribution = (typeof DISTRIBUTIONS)[number];

/** `count` draws: normal by Box and Muller, Laplace by inversion, Student's t with 4 degrees of freedom (Bailey). */
export function sample(distribution: Distribution, count: number, seed = 1): Float32Array {
  const out = new Float32Array(count);
  for (let i = 0; i < count; i++) {
    const u = 1 - randomUniform(seed, 0, 2 * i);
    const v = randomUniform(seed, 0, 2 * i + 1);
    if (distribution === "laplace") out[i] = (v < 0.5 ? 1 : -1) * Math.log(u);
    else {
      const radius = distribution === "normal" ? -2 * Math.log(u) : 4 * (u ** -0.5 - 1);
      out[i] = Math.sqrt(radius) * Math.cos(2 * Math.PI * v);
    }
  }
  return out;
}
