/**
 * A rule that maps a block's amax to a scale code, as a table: within a cell of f32 numbers with the same upper bits the
 * code changes at most once. The rule is only asked, never repeated here.
 */
import { f32OfBits } from "../../formats/binary64.js";
import { infinityBits } from "./lanes.js";

export interface StepTable {
  /** The cell of an amax is its bits >>> shift. */
  readonly shift: number;
  /** Two words a cell: the bits at which `high` takes over, and low code | high code << 8. */
  readonly words: Int32Array;
}

/**
 * The table of `codeOf` for magnitudes up to `most` (bits of an f32), or undefined where a cell would need two changes.
 */
export function stepTable(codeOf: (amax: number) => number, shift: number, most: number): StepTable | undefined {
  const cells = infinityBits >>> shift;
  const words = new Int32Array(2 * cells);
  const at = (bits: number) => codeOf(f32OfBits(bits));
  for (let cell = 0; cell <= Math.min(cells - 1, most >>> shift); cell++) {
    const first = cell << shift;
    const last = first + 2 ** shift - 1;
    const low = at(first);
    const high = at(last);
    let threshold = first;
    if (low !== high) {
      threshold = firstOther(at, first, last, low);
      if (at(threshold) !== high) return undefined;
    }
    words[2 * cell] = threshold;
    words[2 * cell + 1] = low | (high << 8);
  }
  return { shift, words };
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
