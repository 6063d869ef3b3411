/**
 * GGUF Q6_K: 6-bit codes, an int8 scale for 16 elements, an f16 scale for 256 (ggml-quants.c, quantize_row_q6_K_ref).
 * The rule searches 19 candidate scales for each 16 elements and takes the one with the least squared error weighted by
 * x^2 (make_qx_quants); sums are kept in binary64, so bytes may differ from a given build of ggml in near ties.
 */
import { f16 } from "../f16.js";
import { integer } from "../format.js";
import { int } from "../integers.js";
import { groupsPerRow, planeLayouts, planeWriter } from "../planes.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { extremeOf, finiteEncoder } from "./groups.js";

const { fround, max, min } = Math;
const HALF = 32;
const SUB = 16;
const SUPER = 256;
/** Groups weaker than this count as zero (GROUP_MAX_EPS). */
const WEAK = 1e-15;

/** Nearest integer, ties to even, for |x| < 2^51. */
const nearest = (x: number) => x + 6755399441055744 - 6755399441055744;
const level = (x: number) => max(-HALF, min(HALF - 1, nearest(x)));

/** The scale of one group of at most 16 elements, by search. */
function searchScale(values: Float32Array, start: number, end: number): number {
  const extreme = extremeOf(values, start, end);
  if (Math.abs(extreme) < WEAK) return 0;
  let scale = 0;
  let best = Number.NEGATIVE_INFINITY;
  for (const step of [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9]) {
    const inverse = -(HALF + 0.1 * step) / extreme;
    let cross = 0;
    let square = 0;
    for (let i = start; i < end; i++) {
      const x = values[i];
      const l = level(x * inverse);
      cross += x * x * x * l;
      square += x * x * l * l;
    }
    if (square > 0 && cross * cross > best * square) {
      scale = cross / square;
      best = scale * cross;
    }
  }
  return scale;
}

const quantize: SchemeRule = (scheme, values, rows, columns, planes) => {
  const layouts = planeLayouts(scheme, rows, columns);
  const codes = planeWriter(layouts.codes!, planes.codes);
  const scales = planeWriter(layouts.scales!, planes.scales!);
  const supers = planeWriter(layouts.superScales!, planes.superScales!);
  const superCode = finiteEncoder(f16, "super-block scale");
  const f16Values = decodeTable(f16);
  const perRow = groupsPerRow(SUB, columns);
  const found = new Float32Array(SUPER / SUB);
  for (let row = 0; row < rows; row++) {
    codes.row.fill(HALF);
    for (let block = 0; block * SUPER < columns; block++) {
      const first = (block * SUPER) / SUB;
      const count = min(found.length, perRow - first);
      const bounds = (g: number) => {
        const start = row * columns + (first + g) * SUB;
        return [start, min(start + SUB, (row + 1) * columns)] as const;
      };
      for (let g = 0; g < count; g++) found[g] = searchScale(values, ...bounds(g));
      const extreme = extremeOf(found, 0, count);
      if (Math.abs(extreme) < WEAK) {
        for (let g = 0; g < count; g++) scales.row[first + g] = 0;
        supers.row[block] = 0;
        continue;
      }
      const inverse = fround(-128 / extreme);
      supers.row[block] = superCode(fround(1 / inverse));
      const d = f16Values[supers.row[block]];
      for (let g = 0; g < count; g++) {
        const s = max(-128, min(127, nearest(fround(inverse * found[g]))));
        scales.row[first + g] = s;
        const step = fround(d * s);
        if (step === 0) continue;
        const [start, end] = bounds(g);
        for (let i = start; i < end; i++) codes.row[i - row * columns] = level(fround(values[i] / step)) + HALF;
      }
    }
    codes.next();
    scales.next();
    supers.next();
  }
};

/** w = (d * scale) * (code - 32). */
export const q6_k: Scheme = {
  name: "q6_k",
  summary: "GGUF Q6_K: 6 bits, int8 scale for 16, f16 scale for 256",
  source: "ggml, block_q6_K (ggml-common.h)",
  element: integer({
    name: "int6-offset32",
    bits: 6,
    signed: true,
    offset: HALF,
    summary: "integer -32 to 31, stored plus 32",
    source: "ggml",
  }),
  scale: { format: int(8), per: SUB, super: { format: f16, per: SUPER } },
  quantize,
};
