import { FileError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { Buffer } from "../../kernels/backend.js";
import type { StepKind } from "./step.js";

/**
 * `{"kind": "round", "scheme": NAME}`: every row to the values that a scheme makes of it, scales found anew for each row.
 * With `"beyond": t`, numbers larger than t root mean squares of their row stay as they are and the scheme sees 0 there, so
 * that they do not widen the steps of the rest.
 */
export const round: StepKind = {
  name: "round",
  summary: "activations rounded to a scheme; every token finds its own scales, its outliers may stay as they are",
  source:
    "dynamic quantization per token or per group: Yao et al. 2022 (ZeroQuant), arXiv 2206.01861, section 3.1; " +
    "outliers apart: Dettmers et al. 2022 (LLM.int8), arXiv 2208.07339, section 3.2",
  essential: false,
  prepare(backend, { scheme: name, beyond }, { role, columns }) {
    const scheme = typeof name === "string" ? schemes.find(name) : undefined;
    if (!scheme) {
      throw new FileError("an input step rounds to a scheme that is not known", {
        kind: "bad-config",
        where: role,
        why: `got ${JSON.stringify(name)}, wanted a scheme's name`,
      });
    }
    if (beyond !== undefined && !(typeof beyond === "number" && beyond > 0)) {
      throw new FileError("an input step has a senseless bound for outliers", {
        kind: "bad-config",
        where: role,
        why: `got ${JSON.stringify(beyond)}, wanted a positive number of root mean squares`,
      });
    }
    const all = (out: Buffer, x: Buffer, batch: number) => backend.round(out, x, scheme, batch, columns);
    const butOutliers = (bound: number) => (out: Buffer, x: Buffer, batch: number) => {
      const [from, to] = [x.data(), out.data()];
      const outliers = outliersOf(from, bound, batch, columns);
      if (out !== x) to.set(from.subarray(0, batch * columns));
      for (const at of outliers.keys()) to[at] = 0;
      all(out, out, batch);
      const rounded = out.data();
      for (const [at, value] of outliers) rounded[at] = value;
    };
    return { run: beyond === undefined ? all : butOutliers(beyond), dispose() {} };
  },
};

/** The numbers of x, by place, that are larger than `bound` root mean squares of their row. */
function outliersOf(x: Float32Array, bound: number, batch: number, columns: number): Map<number, number> {
  const found = new Map<number, number>();
  for (let start = 0; start < batch * columns; start += columns) {
    const limit = bound * rootMeanSquare(x, start, columns);
    for (let at = start; at < start + columns; at++) if (Math.abs(x[at]) > limit) found.set(at, x[at]);
  }
  return found;
}

/** sqrt(mean of x_j^2) of the row of `columns` numbers at `start`. */
export function rootMeanSquare(x: Float32Array, start: number, columns: number): number {
  let sum = 0;
  for (let at = start; at < start + columns; at++) sum += x[at] * x[at];
  return Math.sqrt(sum / columns);
}
