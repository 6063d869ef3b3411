/**
 * How int8 kernels read stored codes as bytes and multiply them. byte = lookup[code] or the code itself,
 * value = (byte - bias) * unit.
 *
 * A code that stands high in its byte need not be moved down: masked where it is, its byte is 2^p times too large, which
 * a sum of its own for all codes that stand there can have shifted out once, at the block's end. Whether that saves
 * instructions depends on how many vectors a block has (`sumsOf`).
 */
import type { Activations } from "../backend.js";
import { activationBits, demandIntegers, largestLevel } from "../int8.js";
import type { WeightRows } from "../weight-rows.js";
import { cellBytes, type StoredBits, storedBits } from "./cells.js";
import type { Decode } from "./decode.js";
import type { RelaxedDot } from "./features.js";

export interface ByteDot {
  readonly bits: StoredBits;
  /** Bytes of each code where they are not the codes themselves. */
  readonly lookup?: readonly number[];
  /** Where byte = code * step, a power of two: codes may then be multiplied in place, without the lookup. */
  readonly step?: number;
  readonly bias: number;
  readonly unit: number;
  /** The largest rounded activation: 127 of int8. */
  readonly levels: number;
  /** Activations are signs, times the mean magnitude of their block. */
  readonly signs: boolean;
  /**
   * `relaxed`: four byte products at once by the relaxed dot, whose second operand is the weight; `plain`: i16 pairs.
   * Both are exact, so they give the same integers.
   */
  readonly arithmetic: "relaxed" | "plain";
  /** Sums of a block in a product of one row, each for codes that stand equally high in their bytes. */
  readonly sums: 1 | 2;
  /** Quads whose codes of one k share a byte (gemv-shared-bytes.ts). */
  readonly together: 1 | 2 | 4;
}

/**
 * The number of sums that takes the fewest instructions where rows do not share bytes: with two the codes of a vector are
 * shifted down half as often, and a block ends with one shift and one addition more. (Four would leave registers for two quads
 * at a time only, and be slower.)
 */
export function sumsOf({ bits, step, arithmetic, together }: ByteDot, blockCells: number): ByteDot["sums"] {
  if (step === undefined || arithmetic === "plain" || bits !== 2 || together > 1) return 1;
  const vectors = (blockCells * cellBytes(bits)) / 16;
  return vectors > 1 ? 2 : 1;
}

/** How many quads share bytes: as many codes as fill one, where bytes are multiplied as unsigned and are the codes times a step. */
function togetherOf(bits: number, step: number | undefined, relaxedDot: RelaxedDot): ByteDot["together"] {
  if (relaxedDot !== "unsigned" || step === undefined) return 1;
  return bits === 4 ? 2 : bits === 2 ? 4 : 1;
}

/**
 * Whether one row is multiplied by looking sums up (lookup-sums.ts): codes of one bit whose bytes are 0 and a power of two, and
 * of two bits where there is no relaxed dot: each bit costs half as much as a byte product of a whole code then.
 */
export function byLookup({ bits, step, arithmetic }: Pick<ByteDot, "bits" | "step" | "arithmetic">): boolean {
  return step !== undefined && (bits === 1 || (bits === 2 && arithmetic === "plain"));
}

/**
 * Bytes that fit 7 bits suit the relaxed dot of every host. Those that need 8 suit a host that reads the second operand
 * as unsigned (biased by 128) or as signed (as they are); otherwise products of 16-bit numbers do it.
 */
export function planInt8(
  weight: WeightRows,
  activations: Activations,
  relaxedDot: RelaxedDot,
): { decode: Decode; factor: 1; recode: Uint8Array; dot: ByteDot; why: string } {
  const format = weight.scheme.element;
  const { integers, unit, error } = demandIntegers(weight, activations);
  const activationsBits = activationBits(activations) ?? 8;
  const rounding = { levels: largestLevel(activationsBits), signs: activationsBits === 1 };
  const low = Math.min(...integers);
  const span = Math.max(...integers) - low;
  const wide = span > 127;
  const arithmetic: ByteDot["arithmetic"] =
    relaxedDot === "none" || (wide && relaxedDot === "7 bits") ? "plain" : "relaxed";
  const bias = wide && arithmetic === "relaxed" && relaxedDot === "signed" ? 0 : -low;
  if (format.bits <= 4) {
    const bits = format.bits as 1 | 2 | 3 | 4;
    const consecutive = span < 2 ** bits;
    const recode = Uint8Array.from(integers, (q, code) => (consecutive ? q + bias : code));
    const lookup = consecutive ? undefined : Array.from(integers, (q) => q + bias);
    const decode: Decode = { kind: "lookup", bits, values: valuesByStored(integers, recode, 2 ** bits) };
    const rounded =
      error === 0
        ? ""
        : ` rounded to ${integers.length} bytes (off by at most ${(100 * error).toFixed(2)} % of the largest)`;
    const step = stepOf(lookup);
    const together = togetherOf(bits, step, relaxedDot);
    const bytes = `${bits}-bit codes ${lookup ? "through a byte shuffle " : ""}to bytes${rounded}, ${dots(arithmetic)}`;
    const why = byLookup({ bits, step, arithmetic })
      ? `one row by lookup of sums of four activations, 16 rows side by side; more: ${bytes}`
      : together > 1
        ? `${bytes}; ${4 * together} rows share bytes`
        : bytes;
    return {
      decode,
      factor: 1,
      recode,
      dot: { bits, lookup, step, bias, unit, ...rounding, arithmetic, sums: 1, together },
      why,
    };
  }
  const bits = (span < 2 ** storedBits(format.bits) ? storedBits(format.bits) : 8) as 5 | 6 | 8;
  const recode = Uint8Array.from(integers, (q) => q + bias);
  const codes = weight.rounded
    ? `${weight.rounded.name} rounded to bytes (off by at most 0.40 % of the largest of a block)`
    : `${bits}-bit codes to bytes`;
  const why = `${codes}, ${dots(arithmetic)}`;
  const dot = { bits, step: 1, bias, unit, ...rounding, arithmetic, sums: 1, together: 1 } as const;
  if (low >= 0 || low + span < 128) {
    const decode: Decode = { kind: "integer", bits, signed: low < 0, bias: low < 0 ? bias : 0 };
    return { decode, factor: 1, recode, dot, why };
  }
  const decode: Decode = { kind: "table", bits: 8, values: valuesByStored(integers, recode, 256) };
  return { decode, factor: 1, recode, dot: { ...dot, bits: 8 }, why };
}

function stepOf(lookup: readonly number[] | undefined): number | undefined {
  if (!lookup) return 1;
  const step = lookup[1];
  return Math.log2(step) % 1 === 0 && lookup.every((byte, code) => byte === code * step) ? step : undefined;
}

const dots = (arithmetic: ByteDot["arithmetic"]) =>
  arithmetic === "relaxed" ? "four products at once by the relaxed dot" : "products of i16 pairs";

function valuesByStored(integers: Int16Array, recode: Uint8Array, count: number): number[] {
  const values = new Array<number>(count).fill(0);
  integers.forEach((q, code) => {
    values[recode[code]] = q;
  });
  return values;
}
