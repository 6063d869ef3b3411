/** What a format can represent, and the order of its values: the figures of a data sheet, computed from the record. */
import { decode, encode } from "./codec.js";
import type { NumberFormat } from "./format.js";
import { minifloatLayout } from "./minifloat.js";
import { decodeTable } from "./table.js";

/** The largest finite value of a format. */
export function maxFinite(format: NumberFormat): number {
  switch (format.kind) {
    case "minifloat":
      return decode(format, minifloatLayout(format).maxMagnitude);
    case "integer":
      return format.max / 2 ** (format.fractionBits ?? 0);
    case "posit":
      return decode(format, 2 ** (format.bits - 1) - 1);
    case "codebook":
      return extreme(format, (value, best) => value > best);
  }
}

/**
 * The value that a group's largest magnitude is scaled to: the largest value, except for posits, whose precision lies around 1
 * and falls off to both ends; there it is 2^es.
 */
export function scaleTarget(format: NumberFormat): number {
  return format.kind === "posit" ? 2 ** format.exponentBits : maxFinite(format);
}

/** The lowest finite value of a format. */
export function minFinite(format: NumberFormat): number {
  switch (format.kind) {
    case "minifloat": {
      const { signBit, maxMagnitude } = minifloatLayout(format);
      return decode(format, signBit > 0 ? signBit + maxMagnitude : 0);
    }
    case "integer":
      return format.min / 2 ** (format.fractionBits ?? 0);
    case "posit":
      return -maxFinite(format);
    case "codebook":
      return extreme(format, (value, best) => value < best);
  }
}

function extreme(format: NumberFormat, better: (value: number, best: number) => boolean): number {
  return decodeTable(format).reduce((best, value) => {
    if (!Number.isFinite(value)) return best;
    return Number.isNaN(best) || better(value, best) ? value : best;
  }, Number.NaN);
}

export interface Limits {
  readonly max: number;
  readonly min: number;
  /** Least positive value with a full significand; undefined where the idea does not apply. */
  readonly minNormal?: number;
  /** Least positive subnormal; undefined where there is none. */
  readonly minSubnormal?: number;
  /** Least positive value. */
  readonly minPositive: number;
  /** Step from 1 to the next value up, where 1 is a value. */
  readonly epsilon?: number;
  readonly hasZero: boolean;
  readonly hasNegativeZero: boolean;
  readonly hasInfinity: boolean;
  readonly hasNaN: boolean;
}

/** The key figures of a format whose values fit binary64. */
export function limits(format: NumberFormat): Limits {
  const one = decode(format, encode(format, 1, { overflow: "saturate" }));
  const special = specials(format);
  return {
    max: maxFinite(format),
    min: minFinite(format),
    ...normals(format),
    minPositive: decode(format, encode(format, Number.MIN_VALUE, { rounding: "up", overflow: "saturate" })),
    ...(one === 1 && maxFinite(format) > 1 && { epsilon: decode(format, nextUp(format, encode(format, 1))) - 1 }),
    ...special,
  };
}

function normals(format: NumberFormat): Pick<Limits, "minNormal" | "minSubnormal"> {
  if (format.kind !== "minifloat" || format.exponentBits === 0) return {};
  const subnormals = format.subnormals && format.significandBits > 0;
  const minNormal = decode(format, format.subnormals ? 2 ** format.significandBits : 0);
  return { minNormal, ...(subnormals && { minSubnormal: decode(format, 1) }) };
}

function specials(format: NumberFormat): Pick<Limits, "hasZero" | "hasNegativeZero" | "hasInfinity" | "hasNaN"> {
  if (format.kind === "minifloat") {
    const { hasZero, hasNegativeZero, infinity, nan } = minifloatLayout(format);
    return { hasZero, hasNegativeZero, hasInfinity: infinity !== undefined, hasNaN: nan !== undefined };
  }
  const values = format.kind === "codebook" ? format.values : [];
  return {
    hasZero: format.kind !== "codebook" || values.some((value) => value === 0),
    hasNegativeZero: values.some((value) => Object.is(value, -0)) && values.some((value) => Object.is(value, 0)),
    hasInfinity: false,
    hasNaN: format.kind === "posit" || values.some(Number.isNaN),
  };
}

/** The least binary64 number above x (finite). */
export function nextUp64(x: number): number {
  if (x === 0) return Number.MIN_VALUE;
  const view = new DataView(new ArrayBuffer(8));
  view.setFloat64(0, x);
  view.setBigInt64(0, view.getBigInt64(0) + (x > 0 ? 1n : -1n));
  return view.getFloat64(0);
}

/**
 * The code of the least value above that of `code` (IEEE 754 nextUp): infinity after the largest finite value where
 * there is one, else the largest value itself. NaN stays. Formats of at most 52 significant bits.
 */
export function nextUp(format: NumberFormat, code: number): number {
  const value = decode(format, code);
  if (Number.isNaN(value) || value === Infinity) return code;
  if (value === -Infinity) return encode(format, minFinite(format));
  return encode(format, nextUp64(value), { rounding: "up", overflow: "none" });
}

/** The code of the greatest value below that of `code`; the mirror image of nextUp. */
export function nextDown(format: NumberFormat, code: number): number {
  const value = decode(format, code);
  if (Number.isNaN(value) || value === -Infinity) return code;
  if (value === Infinity) return encode(format, maxFinite(format));
  if (value === minFinite(format) && !limits(format).hasInfinity) return code;
  return encode(format, -nextUp64(-value), { rounding: "down", overflow: "none" });
}

export type ValueClass = "nan" | "infinity" | "normal" | "subnormal" | "zero";

/** The class of a code, without its sign. Formats other than minifloats have no subnormals. */
export function classify(format: NumberFormat, code: number): ValueClass {
  const value = decode(format, code);
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return "infinity";
  if (value === 0) return "zero";
  const least = format.kind === "minifloat" ? (normals(format).minNormal ?? 0) : 0;
  return Math.abs(value) < least ? "subnormal" : "normal";
}

/** Orders codes: by value, -0 before 0, NaN after everything, equal values by code. Negative, zero or positive. */
export function totalOrder(format: NumberFormat, a: number, b: number): number {
  const [x, y] = [decode(format, a), decode(format, b)];
  if (Number.isNaN(x) || Number.isNaN(y)) return Number(Number.isNaN(x)) - Number(Number.isNaN(y)) || a - b;
  if (x !== y) return x < y ? -1 : 1;
  if (x === 0) return Number(Object.is(y, -0)) - Number(Object.is(x, -0)) || a - b;
  return a - b;
}
