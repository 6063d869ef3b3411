/** The values that an element format can take, in order, and the nearest of them to a number. */
import { decodeTable, type NumberFormat } from "../formats/index.js";

export interface Levels {
  /** Distinct finite values, ascending. */
  readonly values: Float64Array;
  /** The lowest code of each. */
  readonly codes: Uint16Array;
  /** Distance of neighbours where it is the same everywhere, else 0. */
  readonly step: number;
  /** Where rounding goes from values[i] to values[i + 1]. */
  readonly middles: Float64Array;
  /** Whether -v is a level for every level v. */
  readonly symmetric: boolean;
}

const known = new WeakMap<NumberFormat, Levels>();

/** The levels of a format of at most 16 bits. */
export function levelsOf(format: NumberFormat): Levels {
  let levels = known.get(format);
  if (!levels) {
    levels = makeLevels(format);
    known.set(format, levels);
  }
  return levels;
}

function makeLevels(format: NumberFormat): Levels {
  const lowest = new Map<number, number>();
  const unit = format.kind === "integer" ? 2 ** (format.fractionBits ?? 0) : 1;
  decodeTable(format).forEach((value, code) => {
    if (!Number.isFinite(value)) return;
    // An integer format may bar codes at the ends of its range.
    if (format.kind === "integer" && (value * unit < format.min || value * unit > format.max)) return;
    const key = value === 0 ? 0 : value;
    if (!lowest.has(key)) lowest.set(key, code);
  });
  const entries = [...lowest].sort(([a], [b]) => a - b);
  const values = Float64Array.from(entries, ([value]) => value);
  const step = values.length > 1 ? values[1] - values[0] : 0;
  const even = values.every((value, i) => i === 0 || value - values[i - 1] === step);
  return {
    values,
    codes: Uint16Array.from(entries, ([, code]) => code),
    step: even ? step : 0,
    middles: values.slice(1).map((value, i) => (value + values[i]) / 2),
    symmetric: values.every((value, i) => value === -values[values.length - 1 - i]),
  };
}

/** The index of the level nearest to x; of two at the same distance the higher. */
export function nearestLevel({ values, step, middles }: Levels, x: number): number {
  if (step > 0) {
    const index = Math.round((x - values[0]) / step);
    return index < 0 ? 0 : index >= values.length ? values.length - 1 : index;
  }
  let low = 0;
  let high = middles.length;
  while (low < high) {
    const half = (low + high) >>> 1;
    if (middles[half] <= x) low = half + 1;
    else high = half;
  }
  return low;
}
