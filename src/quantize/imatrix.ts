import { choice } from "../options.js";
import { quantize } from "../tensor/index.js";
import { hasGrid, nearestLevels, packGrid, ruleGrid } from "./grid.js";
import { method, type QuantizationJob } from "./method.js";
import { searchScales } from "./scale-search.js";

const FORMULAS = ["squares", "llama.cpp"] as const;
type Formula = (typeof FORMULAS)[number];

/**
 * How much an error of each weight of a row counts: h_j = E[x_j^2], which makes the weighted error that of the outputs if
 * input channels were independent; or, as llama.cpp has it, h_j sqrt(mean(w^2) + w_j^2), which cares more for large
 * weights. Without statistics h_j = 1.
 */
export function importanceWeights(job: QuantizationJob, formula: Formula) {
  const { values, shape, statistics } = job;
  const columns = shape[shape.length - 1];
  return (row: number, weights: Float64Array) => {
    const w = values.subarray(row * columns, (row + 1) * columns);
    for (let j = 0; j < columns; j++) weights[j] = statistics?.meanSquare[j] ?? 1;
    if (formula === "squares") return;
    const power = w.reduce((sum, x) => sum + x * x, 0) / columns;
    for (let j = 0; j < columns; j++) weights[j] *= Math.sqrt(power + w[j] * w[j]);
  };
}

/** Round to nearest with scales searched for the error weighted by how strong each input channel is. */
export const imatrix = method({
  name: "imatrix",
  summary: "round to nearest, scales searched for the error weighted by the mean square of each input channel",
  source: "llama.cpp, tools/imatrix and ggml-quants.c (quantize_*_impl with quant_weights)",
  options: {
    weights: choice("how an error counts: E[x^2], or that times sqrt(mean w^2 + w^2)", FORMULAS, "llama.cpp"),
    steps: { kind: "integer", summary: "scales tried for every group", default: 40, min: 1, max: 1000 },
  },
  rowwise: true,
  needs: () => "squares",
  objective:
    ({ weights: formula }) =>
    (job, other) => {
      const weigh = importanceWeights(job, formula);
      const columns = job.shape[job.shape.length - 1];
      const h = new Float64Array(columns);
      let sum = 0;
      for (let i = 0; i < other.length; i++) {
        if (i % columns === 0) weigh(i / columns, h);
        sum += h[i % columns] * (job.values[i] - other[i]) ** 2;
      }
      return sum;
    },
  quantize(job, { weights: formula, steps }) {
    const { scheme, values, shape } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const grid = ruleGrid(scheme, values, shape);
    searchScales(grid, values, { norm: 2, steps, weigh: importanceWeights(job, formula) });
    return { packed: packGrid(grid, nearestLevels(grid, values)) };
  },
});
