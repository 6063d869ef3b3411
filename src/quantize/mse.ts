import { quantize } from "../tensor/index.js";
import { hasGrid, nearestLevels, packGrid, ruleGrid } from "./grid.js";
import { method, powerError } from "./method.js";
import { searchScales } from "./scale-search.js";

/** Round to nearest with the scale of every group searched for the least error of the weights. Needs no data. */
export const mse = method({
  name: "mse",
  summary: "round to nearest, scales searched for the least p-norm of the weight error",
  source: "Nagel et al. 2021, arXiv 2106.08295, section 3.1; the search of GPTQ's quantizer (p = 2.4)",
  options: {
    norm: { kind: "number", summary: "the p of |w - w'|^p", default: 2, min: 0.5, max: 8 },
    steps: { kind: "integer", summary: "scales tried for every group", default: 40, min: 1, max: 1000 },
  },
  rowwise: true,
  needs: () => "nothing",
  objective: ({ norm }) => powerError(norm),
  quantize({ scheme, values, shape }, { norm, steps }) {
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    searchScales(grid, values, { norm, steps });
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});
