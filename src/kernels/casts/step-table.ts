/**
 * A rule that maps a block's amax to a scale code, as a table: within a cell of f32 numbers with the same upper bits the
 * code changes at most once. The rule is only asked, never repeated here.
 */
import { bitsOfF32, f32OfBits } from "../../formats/binary64.js";
import { encode } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import type { TwoLevelNumbers } from "../../formats/rule-steps.js";
import { type Ladder, magnitudeLadder } from "./encode-plan.js";
import { infinityBits } from "./lanes.js";

export interface StepTable {
  /** The cell of an amax is its bits >>> shift. */
  readonly shift: number;
  /** Two words a cell: the bits at which `high` takes over, and low code | high code << 8. */
  readonly words: Int32Array;
}

/**
 * The table of `codeOf`, which does not decrease, for magnitudes up to `most` (bits of an f32); undefined where a cell
 * would need two changes. Runs of cells between equal codes are filled without asking for each.
 */
export function stepTable(codeOf: (amax: number) => number, shift: number, most: number): StepTable | undefined {
  const words = new Int32Array(2 * (infinityBits >>> shift));
  const at = (bits: number) => codeOf(f32OfBits(bits));
  const size = 2 ** shift;
  const fill = (cell: number, threshold: number, low: number, high: number) => {
    words[2 * cell] = threshold;
    words[2 * cell + 1] = low | (high << 8);
  };
  /** Cells from .. to - 1, whose first number has the code `low` and whose last one `high`. */
  const walk = (from: number, to: number, low: number, high: number): boolean => {
    if (low === high) {
      for (let cell = from; cell < to; cell++) fill(cell, 0, low, low);
      return true;
    }
    if (to - from === 1) {
      const threshold = firstOther(at, from * size, to * size - 1, low);
      fill(from, threshold, low, high);
      return at(threshold) === high;
    }
    const middle = (from + to) >>> 1;
    return walk(from, middle, low, at(middle * size - 1)) && walk(middle, to, at(middle * size), high);
  };
  const cells = (most >>> shift) + 1;
  return walk(0, cells, at(0), at(cells * size - 1)) ? { shift, words } : undefined;
}

/** The least number in (below, above] whose code is not `low`, by halving. */
function firstOther(at: (bits: number) => number, first: number, last: number, low: number): number {
  let [below, above] = [first, last];
  while (above - below > 1) {
    const middle = (below + above) >>> 1;
    if (at(middle) === low) below = middle;
    else above = middle;
  }
  return above;
}

const saturate = { overflow: "saturate" } as const;
const ladders = new WeakMap<NumberFormat, Ladder | undefined>();

/**
 * From a block's amax to the code of its scale in `format`; undefined where the format refuses a scale. Fast, because a
 * table asks it thousands of times a tensor.
 */
export function blockScaleCoder(
  format: NumberFormat,
  numbers: TwoLevelNumbers,
): ((amax: number) => number) | undefined {
  const found = ladderOf(format);
  if (!found) return undefined;
  const { thresholds, codes } = found;
  const zeroCode = encode(format, numbers.zeroScale, saturate);
  return (amax) => {
    const scale = numbers.blockScale(amax);
    if (Number.isNaN(scale)) return encode(format, scale, saturate);
    const bits = bitsOfF32(scale);
    let [low, high] = [0, thresholds.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (thresholds[middle] <= bits) low = middle + 1;
      else high = middle;
    }
    return codes[low] || zeroCode;
  };
}

function ladderOf(format: NumberFormat): Ladder | undefined {
  if (!ladders.has(format)) ladders.set(format, magnitudeLadder(format, saturate));
  return ladders.get(format);
}
