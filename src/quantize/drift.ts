/**
 * Making up for errors that come in from before. In a model that is quantized layer by layer, a linear map gets inputs x that
 * have moved away from the original model's x0. What comes nearest to the original outputs is then not W x but W* x,
 *
 *     W* = argmin E||W x0 - W* x||^2 = W + W D H^-1,   H = E[x x^T],   D = E[(x0 - x) x^T],
 *
 * and W* is what should be rounded. How far to go there is a share: on few tokens all of it would be fitting noise.
 *
 * Source: Arai and Ichikawa 2025, "Quantization Error Propagation", arXiv 2504.09629.
 */
import { plainProducts, transposed } from "../kernels/index.js";
import type { LayerRunner, LinearGroup, LoadedLayer } from "../models/index.js";
import { columnsOf } from "../tensor/index.js";
import { dampedInverseFactor } from "./damping.js";
import type { PreparationJob, QuantizationJob } from "./method.js";

/** share D (H + damping mean(diag H) I)^-1, transposed; undefined where nothing has moved. */
export function driftMap(
  { statistics, products = plainProducts }: PreparationJob,
  share: number,
  damping: number,
): Float32Array | undefined {
  if (share === 0 || !statistics?.drift) return undefined;
  const { columns, drift } = statistics;
  const { factor } = dampedInverseFactor(statistics, damping);
  const lower = transposed(new Float32Array(factor), columns);
  const inverse = products.multiply(lower, lower, columns);
  return products.multiply(inverse, new Float32Array(drift), columns).map((x) => share * x);
}

/** W* = W + W M of the rows in hand, for the map M that driftMap gives; the values themselves without one. */
export function againstDrift({ values, shape, products = plainProducts }: QuantizationJob, map?: Float32Array) {
  if (!map) return values;
  const change = products.multiply(values, map, columnsOf(shape));
  return values.map((w, i) => w + change[i]);
}

/** The inputs of a group of linear maps, [tokens, columns] of every window. */
interface Inputs {
  readonly columns: number;
  readonly windows: Float32Array[];
}

/** The original model's way through the layers, one of them at a time, beside the quantized model's. */
export class OriginalPath {
  private hidden: readonly Float32Array[];
  /** Of the layer passed last, by the groups' first roles. */
  private inputs: ReadonlyMap<string, Inputs> = new Map();

  constructor(hidden: readonly Float32Array[]) {
    this.hidden = hidden;
  }

  /** Through the next layer, as the original model has it. */
  pass(layer: LoadedLayer, groups: readonly LinearGroup[]): void {
    const { inputs, outputs } = inputsOf(layer, this.hidden, groups);
    this.hidden = outputs;
    this.inputs = inputs;
  }

  /** E[(x0 - x) x^T] of one input, by its group's first role, x being what the same layer makes of other states. */
  driftSum({ products }: LayerRunner, role: string, columns: number): DriftSum {
    const drift = new Float64Array(columns * columns);
    const { windows = [] } = this.inputs.get(role) ?? {};
    const tokens = windows.reduce((sum, x) => sum + x.length, 0) / columns;
    let seen = 0;
    return {
      add(x) {
        const apart = windows[seen++].map((x0, at) => x0 - x[at]);
        const product = products.multiply(transposed(apart, columns), transposed(x, columns), x.length / columns);
        for (let at = 0; at < drift.length; at++) drift[at] += product[at] / tokens;
      },
      result: () => drift,
    };
  }
}

export interface DriftSum {
  /** Adds the inputs of the next window, [tokens, columns]. */
  add(x: Float32Array): void;
  /** Once all windows have been added. */
  result(): Float64Array;
}

/** The inputs of all windows by the groups' first roles, and the states after the layer. */
function inputsOf(layer: LoadedLayer, hidden: readonly Float32Array[], groups: readonly LinearGroup[]) {
  const inputs = new Map<string, Inputs>();
  const firsts = new Set(groups.map(({ roles }) => roles[0]));
  const outputs = hidden.map((states) =>
    layer.run(states, (role, input, tokens) => {
      if (!firsts.has(role)) return;
      const known = inputs.get(role) ?? { columns: input.length / tokens, windows: [] };
      known.windows.push(input.data().slice());
      inputs.set(role, known);
    }),
  );
  return { inputs, outputs };
}
