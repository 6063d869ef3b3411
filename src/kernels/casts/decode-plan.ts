/**
 * How a code becomes an f32 value, chosen from the parameters of a format:
 *
 * - `lookup`: at most 4 bits of anything: the bytes of the f32 values by byte shuffles of 16-entry tables;
 * - `minifloat`: the bits moved to where binary32 has them, and the exponent's bias changed: by a multiplication with a
 *   power of two, or by an addition and a table of the subnormal codes; special codes through the table of all values;
 * - `prefix`: the upper half of binary32; `shift`: the upper bits of binary32, more than half of them; `copy`: all;
 * - `integer`: widened and converted;
 * - `table`: at most 16 bits of anything by loads from a table;
 * - `reference`: the array path of the formats.
 */
import { bitsOfF32 } from "../../formats/binary64.js";
import { decode } from "../../formats/codec.js";
import type { MinifloatFormat, NumberFormat } from "../../formats/format.js";
import { minifloatLayout } from "../../formats/minifloat.js";
import { powerBits } from "./lanes.js";

export interface MinifloatDecode {
  readonly kind: "minifloat";
  readonly bits: number;
  readonly exponentBits: number;
  readonly significandBits: number;
  readonly signed: boolean;
  /** Bits of the f32 that moved bits are multiplied with. */
  readonly factor: number;
  /**
   * Upper halves of the f32 values of subnormal codes, where there are at most 16, all are normal in binary32, and few
   * exponents let them be frequent: multiplying some subnormal numbers among others is slow.
   */
  readonly subnormals?: readonly number[];
  /** Magnitude codes beyond this are special; undefined where all are finite. */
  readonly maxMagnitude?: number;
  /** The code of negative zero means NaN. */
  readonly nanAtNegativeZero: boolean;
}

export interface IntegerDecode {
  readonly kind: "integer";
  readonly bits: number;
  readonly signed: boolean;
  readonly offset: number;
  readonly fractionBits: number;
}

export type LaneDecode =
  | { readonly kind: "lookup"; readonly bits: number; readonly values: readonly number[] }
  | MinifloatDecode
  | IntegerDecode
  | { readonly kind: "prefix"; readonly bits: 16 }
  | { readonly kind: "shift"; readonly bits: number; readonly by: number }
  | { readonly kind: "copy"; readonly bits: 32 }
  | { readonly kind: "table"; readonly bits: number };
export type DecodePlan = LaneDecode | { readonly kind: "reference"; readonly bits: number; readonly why: string };

export function planDecode(format: NumberFormat): DecodePlan {
  const { bits } = format;
  if (bits <= 4) {
    const values = Array.from({ length: 2 ** bits }, (_, code) => Math.fround(decode(format, code)));
    return { kind: "lookup", bits, values };
  }
  const direct = format.kind === "minifloat" ? (planPrefix(format) ?? planMinifloat(format)) : undefined;
  if (direct) return direct;
  if (format.kind === "integer" && bits <= 16 && Math.abs(format.fractionBits ?? 0) <= 64) {
    const { signed, offset = 0, fractionBits = 0 } = format;
    return { kind: "integer", bits, signed: signed && format.offset === undefined, offset, fractionBits };
  }
  if (bits <= 16) return { kind: "table", bits };
  return { kind: "reference", bits, why: "too many codes for a table" };
}

function planPrefix(format: MinifloatFormat): LaneDecode | undefined {
  const { exponentBits, significandBits, bias, signed, nonFinite, subnormals } = format;
  if (exponentBits !== 8 || bias !== 127 || !signed || nonFinite !== "ieee" || !subnormals) return undefined;
  if (significandBits === 23) return { kind: "copy", bits: 32 };
  if (significandBits === 7) return { kind: "prefix", bits: 16 };
  return significandBits > 7 ? { kind: "shift", bits: format.bits, by: 23 - significandBits } : undefined;
}

function planMinifloat(format: MinifloatFormat): LaneDecode | undefined {
  const { bits, exponentBits, significandBits, bias, signed, subnormals } = format;
  if (bits > 16 || exponentBits < 1 || exponentBits > 7 || !subnormals || bias > 127 || bias < 1) return undefined;
  if (bits <= 8 && significandBits > 7) return undefined;
  // The largest magnitude must stay a normal f32 after the move.
  if (2 ** exponentBits - 1 - bias > 127) return undefined;
  const { maxMagnitude, hasNegativeZero } = minifloatLayout(format);
  const allFinite = maxMagnitude === 2 ** (exponentBits + significandBits) - 1;
  const tabulated = bits <= 8 && significandBits <= 4 && exponentBits <= 4 && bias + significandBits <= 127;
  return {
    kind: "minifloat",
    bits,
    exponentBits,
    significandBits,
    signed,
    factor: powerBits(127 - bias),
    ...(tabulated && { subnormals: subnormalHalves(format) }),
    ...(allFinite ? {} : { maxMagnitude }),
    nanAtNegativeZero: signed && !hasNegativeZero,
  };
}

/** Upper halves of the f32 values of the codes below the least normal one. */
function subnormalHalves({ significandBits, bias }: MinifloatFormat): number[] {
  const unit = 2 ** (1 - bias - significandBits);
  return Array.from({ length: 2 ** significandBits }, (_, code) => bitsOfF32(code * unit) >>> 16);
}
