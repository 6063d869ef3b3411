/**
 * Decoding and encoding of value lists. Encoding looks in the ascending list of distinct values; "even" and "odd" speak
 * of the rank in that list, counted from the value nearest to zero outwards on each side.
 */
import { InputError, NumericError } from "../errors.js";
import type { EncodeOptions } from "./codec.js";
import type { CodebookFormat } from "./format.js";
import { roundsUp } from "./rounding.js";

interface Sorted {
  /** Distinct finite values, ascending. */
  readonly values: Float64Array;
  /** The lowest code of each. */
  readonly codes: Uint32Array;
  readonly nan?: number;
}

const sortedLists = new WeakMap<CodebookFormat, Sorted>();

function sorted(format: CodebookFormat): Sorted {
  let list = sortedLists.get(format);
  if (!list) {
    const lowest = new Map<number, number>();
    format.values.forEach((value, code) => {
      // -0 and 0 are one value of the list; the lower code stands for both.
      const key = value === 0 ? 0 : value;
      if (Number.isFinite(value) && !lowest.has(key)) lowest.set(key, code);
    });
    if (lowest.size === 0) throw new InputError(`codebook ${format.name} holds no finite value`);
    const entries = [...lowest].sort(([a], [b]) => a - b);
    const nan = format.values.findIndex((value) => Number.isNaN(value));
    list = {
      values: Float64Array.from(entries, ([value]) => value),
      codes: Uint32Array.from(entries, ([, code]) => code),
      nan: nan < 0 ? undefined : nan,
    };
    sortedLists.set(format, list);
  }
  return list;
}

/** The value of a code. */
export function decodeCodebook(format: CodebookFormat, code: number): number {
  return code < format.values.length ? format.values[code] : Number.NaN;
}

/** The code of the neighbour of `value` that the rounding mode picks. */
export function encodeCodebook(format: CodebookFormat, value: number, options: EncodeOptions): number {
  const { values, codes, nan } = sorted(format);
  if (Number.isNaN(value)) {
    if (nan !== undefined) return nan;
    if (options.nan === "max") return codes[codes.length - 1];
    if (options.nan === "zero") return encodeCodebook(format, 0, {});
    throw new NumericError(`${format.name} has no NaN`, {
      kind: "number-out-of-range",
      try: 'the option nan: "zero" or "max"',
    });
  }
  const last = values.length - 1;
  if (value < values[0] || value > values[last])
    return beyond(format, value, codes[value < values[0] ? 0 : last], options);
  const high = lowerBound(values, value);
  if (values[high] === value) return codes[high];
  // Which neighbour is nearer to zero decides what "up" means for the magnitude; across zero the lower one is taken.
  const [near, far] = value < 0 && values[high] <= 0 ? [high, high - 1] : [high - 1, high];
  const nu = fraction(value, values[near], values[far]);
  const rank = Math.abs(near - lowerBound(values, 0));
  const up = roundsUp(options.rounding ?? "nearest-even", nu, rank % 2 === 1, far < near, options.random);
  return codes[up ? far : near];
}

/** How far `value` lies from `near` to `far`, with 1/2 exactly at the midpoint. */
function fraction(value: number, near: number, far: number): number {
  const middle = near / 2 + far / 2;
  if (value === middle) return 0.5;
  const nu = (value - near) / (far - near);
  const pastMiddle = far > near ? value > middle : value < middle;
  if (pastMiddle) return Math.min(Math.max(nu, 0.5 + 2 ** -53), 1 - 2 ** -53);
  return Math.min(Math.max(nu, Number.MIN_VALUE), 0.5 - 2 ** -54);
}

function beyond(format: CodebookFormat, value: number, end: number, options: EncodeOptions): number {
  const overflow = options.overflow ?? format.overflow ?? "saturate";
  if (overflow !== "error" && overflow !== "nan" && overflow !== "wrap") return end;
  throw new NumericError(`${value} is out of range for ${format.name}`, {
    kind: "number-out-of-range",
    try: 'overflow "saturate"',
  });
}

/** The first index whose value is at least `x`; values.length if there is none. */
function lowerBound(values: Float64Array, x: number): number {
  let low = 0;
  let high = values.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (values[middle] < x) low = middle + 1;
    else high = middle;
  }
  return low;
}
