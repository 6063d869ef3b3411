/** The grid that methods start from which choose levels only: the scheme's own, its scales searched before. */
import { choice, type ValuesOf } from "../options.js";
import { type Grid, ruleGrid } from "./grid.js";
import { importanceWeights } from "./imatrix.js";
import type { QuantizationJob } from "./method.js";
import { searchScales } from "./scale-search.js";

export const SCALE_OPTIONS = {
  scales: choice(
    "how scales are found: weighted by E[x^2], by MSE, or the scheme's rule",
    ["importance", "mse", "rule"],
    "importance",
  ),
  steps: { kind: "integer", summary: "scales tried for every group", default: 40, min: 1, max: 1000 },
} as const;

export function searchedGrid(job: QuantizationJob, { scales, steps }: ValuesOf<typeof SCALE_OPTIONS>): Grid {
  const grid = ruleGrid(job.scheme, job.values, job.shape);
  if (scales === "rule") return grid;
  const weigh = scales === "importance" ? importanceWeights(job, "squares") : undefined;
  searchScales(grid, job.values, { norm: 2, steps, weigh });
  return grid;
}
