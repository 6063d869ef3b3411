/**
 * The rule of GGUF's IQ4_NL and IQ4_XS: 16 non-linear levels, the scale of a group by search over 15 candidates with
 * weights x^2, operation for operation in f32 as ggml-quants.c's quantize_row_iq4_nl_impl (as llama-quantize calls it
 * without an importance matrix).
 */
import { iq4Nl } from "../codebooks.js";
import type { Codes } from "../packing.js";
import { extremeOf } from "./groups.js";
import { WEAK } from "./k-quants.js";
import type { GroupRange } from "./super-blocks.js";

const { abs, fround: f } = Math;
const { values: LEVELS } = iq4Nl;
const LAST = LEVELS.length - 1;
const TRIES = 7;

/** The first level above x, for every integer part of x - LEVELS[0]: levels are integers. */
const ABOVE = Uint8Array.from({ length: LEVELS[LAST] - LEVELS[0] }, (_, i) =>
  LEVELS.findIndex((level) => level > LEVELS[0] + i),
);

/** The index of the nearest level; of the upper one where both are equally near (best_index_int8). */
function nearestLevel(x: number): number {
  if (x <= LEVELS[0]) return 0;
  if (x >= LEVELS[LAST]) return LAST;
  const high = ABOVE[(x - LEVELS[0]) | 0];
  return f(x - LEVELS[high - 1]) < f(LEVELS[high] - x) ? high - 1 : high;
}

/** codes = nearest levels of x / scale; for a scale of 0 the level nearest to 0. */
export function encodeLevels(x: Float32Array, { start, end, at }: GroupRange, scale: number, codes: Codes): void {
  const inverse = scale === 0 ? 0 : f(1 / scale);
  for (let i = start; i < end; i++) codes[at + i - start] = nearestLevel(f(inverse * x[i]));
}

/** The scale of a group: of all candidates the one with the largest weighted fit. */
export function searchedScale(x: Float32Array, { start, end }: GroupRange): number {
  const extreme = extremeOf(x, start, end);
  if (abs(extreme) < WEAK) return 0;
  let [fit, square] = [0, 0];
  const measure = (inverse: number) => {
    let [a, b] = [0, 0];
    for (let i = start; i < end; i++) {
      const v = x[i];
      const q = LEVELS[nearestLevel(f(inverse * v))];
      const wq = f(f(v * v) * q);
      a = f(a + f(wq * v));
      b = f(b + f(wq * q));
    }
    fit = a;
    square = b;
  };
  measure(f(1 / f(-extreme / LEVELS[0])));
  let scale = square > 0 ? f(fit / square) : 0;
  let best = f(scale * fit);
  for (let t = -TRIES; t <= TRIES; t++) {
    measure(f((t + LEVELS[0]) / extreme));
    if (!(square > 0 && f(fit * fit) > f(best * square))) continue;
    scale = f(fit / square);
    best = f(scale * fit);
  }
  return scale;
}
