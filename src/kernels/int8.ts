/**
 * Matmul on integers: activations are rounded to A = 8 bits or fewer, one scale for each block, and multiplied with weights
 * whose values are small integers times a unit. Sums within a block are exact integers, so every engine, every instruction
 * set and every number of threads gives the same bits. For each output, with blocks g in order and f32 rounding after
 * every operation:
 *
 *     d[g] = amax(x[g]) / L,  q[k] = nearest-even(x[k] * (L / amax)),  L = 2^(A - 1) - 1: 127 for int8, 1 for int2
 *     (q[k] = 0 where amax is at most 2^-100, so that L / amax stays finite)
 *     int1:  d[g] = mean |x[g]|,  q[k] = -1 where x[k] < 0, else 1
 *
 *     I = sum q[k] i[k],  X = sum q[k]
 *     y += I * (S[g] unit d[g])                       no offset
 *     y += I * (S[g] unit d[g]);  y += (X d[g]) M[g]  offset "min"
 *     y += (I - Z X) * (S[g] unit d[g])               offset "zeroPoint"
 *
 * One bit and the mean: Rastegari et al. 2016 (XNOR-Net), arXiv:1603.05279, section 3.1, where it is shown that no other number
 * times the signs is nearer to x. The mean is a sum in four lanes, as that of a norm.
 *
 * The blocks are those of the weights; where a whole row shares one scale (or has none), blocks of 128 columns.
 */
import { UnsupportedError } from "../errors.js";
import type { NumberFormat } from "../formats/format.js";
import type { Scheme } from "../formats/scheme.js";
import { decodeTable } from "../formats/table.js";
import type { Activations } from "./backend.js";
import type { WeightRows } from "./weight-rows.js";

/** Bits of a rounded activation; undefined where activations are not rounded. */
export function activationBits(activations: Activations): number | undefined {
  if (activations === "f32") return undefined;
  return activations === "int8-rounded" ? 8 : Number(activations.slice("int".length));
}

/** The largest rounded activation of so many bits. */
export const largestLevel = (bits: number): number => Math.max(1, 2 ** (bits - 1) - 1);

/** Columns of a block where the weights do not say. */
export const wholeRowBlock = 128;

/** The largest block whose sums stay exact in f32: 1040 * 127 * 127 < 2^24. */
const largestBlock = 1040;

/** Blocks whose largest magnitude is not above this are rounded to zero. */
export const smallestAmax = 2 ** -100;

/** Columns that share one activation scale. */
export function activationBlock({ blockColumns, blocks }: WeightRows): number {
  return blocks <= 1 && blockColumns > wholeRowBlock ? wholeRowBlock : blockColumns;
}

export interface IntegerValues {
  /** value(code) = integers[code] * unit, |integers[code]| <= 128. */
  readonly integers: Int16Array;
  readonly unit: number;
  /** The largest error of a value as a share of the largest value; 0 where the values are those of the format. */
  readonly error: number;
}

/**
 * The values of a format as int8 times a power of two: every integer format of at most 8 bits, FP4 (halves), ternary.
 * Codes that mean nothing (NaN) count as 0. undefined where that is not exact (NF4, float8).
 */
export function integerValues(format: NumberFormat): IntegerValues | undefined {
  if (format.bits > 8) return undefined;
  const values = decodeTable(format).map((v) => (Number.isNaN(v) ? 0 : v));
  for (let unit = 1; unit >= 2 ** -10; unit /= 2) {
    const integers = Int16Array.from(values, (v) => v / unit);
    const exact = values.every((v, code) => integers[code] === v / unit && Math.abs(v / unit) <= 128);
    if (exact) return { integers, unit, error: 0 };
  }
  return undefined;
}

/** Whether "int8-rounded" rounds the blocks of such weights (rounded-rows.ts): 5 to 8 bits that are no integers, no offsets. */
export const roundsByBlocks = ({ element, offset }: Scheme): boolean =>
  element.bits > 4 && element.bits <= 8 && !offset && !integerValues(element);

/**
 * The values of a codebook of at most 4 bits (NF4), rounded to 127ths of the largest. undefined for other formats: those of
 * float8 span too much to be rounded alike in all blocks.
 */
export function roundedValues(format: NumberFormat): IntegerValues | undefined {
  if (format.bits > 4) return undefined;
  const values = decodeTable(format);
  const largest = values.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
  if (!(largest > 0 && Number.isFinite(largest))) return undefined;
  const unit = Math.fround(largest / 127);
  const integers = Int16Array.from(values, (v) => Math.round(v / unit));
  const error = values.reduce((most, v, code) => Math.max(most, Math.abs(v - integers[code] * unit)), 0) / largest;
  return { integers, unit, error };
}

/**
 * The integer values of a weight that is to meet int8 activations; UnsupportedError with the reason otherwise. With
 * "int8-rounded" codebooks whose values are no integers are rounded; weights of more bits come rounded (rounded-rows.ts).
 */
export function demandIntegers(weight: WeightRows, activations: Activations): IntegerValues {
  const { scheme, blockColumns } = weight;
  const exact = integerValues(scheme.element);
  const rounded = exact ? undefined : roundedValues(scheme.element);
  const roundable = rounded !== undefined || roundsByBlocks(scheme);
  const found = exact ?? (activations === "int8-rounded" ? rounded : undefined);
  const refuse = (why: string) =>
    new UnsupportedError(`${scheme.name} weights cannot be multiplied with ${activations} activations`, {
      where: "loadMatrix",
      why,
      try: `activations "f32", which every scheme supports${roundable ? ', or "int8-rounded", which rounds the values' : ""}`,
    });
  if (!found) throw refuse(`the values of ${scheme.element.name} are not int8 multiples of one unit`);
  if (usesNothing(weight)) throw refuse("some codes mean nothing (NaN)");
  if (activationBlock(weight) > largestBlock) {
    throw refuse(`sums over blocks of ${blockColumns} columns are not exact in f32 (at most ${largestBlock})`);
  }
  return found;
}

/** Whether codes are in use that stand for no number. */
function usesNothing(weight: WeightRows): boolean {
  const nothing = Uint8Array.from(decodeTable(weight.scheme.element), (v) => (Number.isNaN(v) ? 1 : 0));
  if (!nothing.includes(1)) return false;
  for (let row = 0; row < weight.rows; row++) {
    weight.read(row);
    if (weight.codes.some((code) => nothing[code] === 1)) return true;
  }
  return false;
}

/** UnsupportedError unless every zero point of the row in hand is a small integer in the element's unit. */
export function demandIntegerZeroPoints({ scheme, offsets }: WeightRows, unit: number): void {
  if (scheme.offset?.kind !== "zeroPoint" || !offsets) return;
  const bad = offsets.find((z) => !Number.isInteger(z / unit) || Math.abs(z / unit) > 255);
  if (bad === undefined) return;
  throw new UnsupportedError(`${scheme.name} weights cannot be multiplied with int8 activations`, {
    where: "loadMatrix",
    why: `a zero point is ${bad}, which is no small integer`,
    try: 'activations "f32"',
  });
}
