/**
 * LLM-FP4 for weights: a 4-bit float has three splits into exponent and significand, and which one fits is for each matrix to
 * say. Every split of the scheme's element width is tried, scales searched in each, and the one kept whose error at the output
 * is least. The chosen scheme is the given one with another element; activations have a method of the same name.
 */
import { type MinifloatFormat, type Scheme, schemes } from "../formats/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import { splitsOf } from "./activations/llm-fp4.js";
import { hasGrid, nearestLevels, packGrid } from "./grid.js";
import { method, type QuantizationJob } from "./method.js";
import { SCALE_OPTIONS, searchedGrid } from "./searched-grid.js";
import { outputError } from "./statistics.js";

export const llmFp4Weights = method({
  name: "llm-fp4",
  summary: "floating point whose split into exponent and significand is searched for each matrix, with its scales",
  source: "Liu et al. 2023 (LLM-FP4), arXiv 2310.16836, section 3.2",
  options: SCALE_OPTIONS,
  choosesScheme: true,
  needs: () => "squares",
  objective: () => costOf,
  quantize(job, options) {
    const { scheme, values, shape } = job;
    if (!hasGrid(scheme)) return { packed: quantize(values, shape, scheme) };
    const tried = schemesOf(scheme).map((candidate) => {
      const grid = searchedGrid({ ...job, scheme: candidate }, options);
      const packed = packGrid(grid, nearestLevels(grid, values));
      return { packed, cost: costOf(job, dequantize(packed)) };
    });
    const { packed } = tried.reduce((best, one) => (one.cost < best.cost ? one : best));
    const { element } = packed.scheme;
    return { packed, ...(element.kind === "minifloat" && { notes: { exponentBits: element.exponentBits } }) };
  },
});

/** sum over elements of E[x_j^2] (w - w')^2; plain squares without statistics. */
function costOf({ values, statistics }: QuantizationJob, other: Float32Array): number {
  if (statistics) return outputError(values, other, { ...statistics, hessian: undefined });
  return values.reduce((sum, w, i) => sum + (w - other[i]) ** 2, 0);
}

/** The scheme, and those of the families that differ from it in the split of their element alone. */
function schemesOf(scheme: Scheme): readonly Scheme[] {
  const { element, name } = scheme;
  if (element.kind !== "minifloat" || !name.startsWith(`${element.name}-`)) return [scheme];
  const others = splitsOf(element as MinifloatFormat)
    .filter((format) => format !== element && format.nonFinite !== "ieee")
    .map((format) => schemes.find(format.name + name.slice(element.name.length)));
  return [scheme, ...others.filter((one): one is Scheme => one !== undefined)];
}
