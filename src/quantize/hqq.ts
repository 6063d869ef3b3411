/**
 * Half-quadratic quantization: no data, a robust norm. Outliers should not pull a group's grid, so the error is measured
 * with |e|^p, p < 1. Splitting e = e' + rest turns that into two steps in turn: e' by generalised soft thresholding,
 * the group's offset by a closed-form mean. Errors are counted in steps of the group's scale, so that the threshold means the
 * same for every tensor; the paper thresholds the weights' own units.
 *
 * The paper leaves the scale at (max - min) / steps. At 3 bits that is where most of the error comes from, and a p-norm is no
 * guide to a better one: below p = 1 it is least where small weights become exactly 0 and large ones pay for it. So the scale is
 * searched for the least squared error first, and kept if the p-norm is no larger than under the scheme's own rule. Where
 * a scheme has no offsets, that is all there is to do.
 */
import { quantize } from "../tensor/index.js";
import { type Grid, hasGrid, nearestLevels, packGrid, ruleGrid, setCode } from "./grid.js";
import { GroupPass } from "./group-pass.js";
import { method, powerError } from "./method.js";
import { searchScales } from "./scale-search.js";

export const hqq = method({
  name: "hqq",
  summary: "scales by search, then offsets by half-quadratic splitting of a p-norm, no data",
  source: "Badri and Shaji 2023, Half-Quadratic Quantization; the search for scales is this library's",
  options: {
    norm: { kind: "number", summary: "the p of |w - w'|^p", default: 0.7, min: 0.1, max: 1 },
    beta: { kind: "number", summary: "strength of the quadratic term at the start", default: 10, min: 0.001 },
    kappa: { kind: "number", summary: "its growth each iteration", default: 1.01, min: 1, max: 10 },
    iterations: { kind: "integer", summary: "at most so many", default: 20, min: 1, max: 1000 },
    steps: { kind: "integer", summary: "scales tried for every group", default: 16, min: 1, max: 1000 },
  },
  rowwise: true,
  needs: () => "nothing",
  objective: ({ norm }) => powerError(norm),
  quantize({ scheme, values, shape }, options) {
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    const { rows, columns, size, groups, scales, offsets } = grid;
    const rule = { scales: scales.codes.slice(), offsets: offsets?.codes.slice() };
    searchScales(grid, values, { norm: 2, steps: options.steps });
    const pass = new GroupPass(grid.levels, options.norm);
    for (let k = 0; k < rows * groups; k++) {
      if (scales.values[k] === 0) continue;
      const first = Math.floor(k / groups) * columns;
      const start = first + (k % groups) * size;
      pass.take(values.subarray(start, Math.min(start + size, first + columns)));
      const ruled = { scale: rule.scales[k], offset: rule.offsets?.[k] ?? 0 };
      const searched = { scale: scales.codes[k], offset: offsets?.codes[k] ?? 0 };
      const found = improveOffset(grid, k, cheaper(grid, k, ruled, searched, pass, options.beta), pass, options);
      setCode(scales, k, found.scale);
      if (offsets) setCode(offsets, k, found.offset);
    }
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});

interface Settings {
  readonly beta: number;
  readonly kappa: number;
  readonly iterations: number;
}

/** Codes of a group's scale and offset. */
interface Codes {
  readonly scale: number;
  readonly offset: number;
}

interface Priced extends Codes {
  /** The p-norm of the group's error. */
  readonly cost: number;
}

/** Iterations with hardly any gain that end the work on a group. (The paper stops at the first, over a whole tensor.) */
const PATIENCE = 3;

/** Smaller gains than a thousandth are no longer worth an iteration. */
const GAIN = 1e-3;

/** Gains within the error of tabulated powers are none at all. */
const ERROR = 1e-5;

/** S and M of w = S v + M, whatever the scheme's own form of it. */
function lineOf({ scales, offsets, offsetKind }: Grid, k: number, { scale, offset }: Codes): readonly [number, number] {
  const s = scales.toValue(scale, k);
  if (!offsets) return [s, 0];
  const o = offsets.toValue(offset, k);
  return [s, offsetKind === "min" ? o : -s * o];
}

/** What was searched, unless it costs more than the scheme's own rule. */
function cheaper(grid: Grid, k: number, ruled: Codes, searched: Codes, pass: GroupPass, beta: number): Priced {
  const [mine, other] = [searched, ruled].map((codes) => {
    pass.run(...lineOf(grid, k, codes), beta);
    return pass.cost;
  });
  return mine < other * (1 - ERROR) ? { ...searched, cost: mine } : { ...ruled, cost: other };
}

/** The offset of the least p-norm that the iterations meet, the scale as it was. */
function improveOffset(
  grid: Grid,
  k: number,
  start: Priced,
  pass: GroupPass,
  { beta, kappa, iterations }: Settings,
): Priced {
  const { offsets, offsetKind } = grid;
  if (!offsets) return start;
  let [s, m] = lineOf(grid, k, start);
  let best = start;
  let last = start.offset;
  let idle = 0;
  pass.run(s, m, beta);
  for (let iteration = 0, b = beta * kappa; iteration < iterations && best.cost > 0; iteration++, b *= kappa) {
    const { shift } = pass;
    const offset = offsets.toCode(offsetKind === "min" ? shift : -shift / s, k);
    if (offset === last) break;
    last = offset;
    [s, m] = lineOf(grid, k, { scale: start.scale, offset });
    pass.run(s, m, b);
    const before = best.cost;
    if (pass.cost < before * (1 - ERROR)) best = { scale: start.scale, offset, cost: pass.cost };
    if (pass.cost > before * (1 - GAIN) && ++idle === PATIENCE) break;
  }
  return best;
}
