import { FileError } from "../../errors.js";
import { isNumbers, type StepKind } from "./step.js";

/** `{"kind": "scale", "factors": [f, ...]}`: channel j times f_j, where the weights' column j was divided by it. */
export const scale: StepKind = {
  name: "scale",
  summary: "channels of activations multiplied by factors, as the columns of their weights were divided by them",
  source: "Xiao et al. 2022 (SmoothQuant), arXiv 2211.10438, equation 3, done when the model runs",
  essential: true,
  prepare(_, { factors }, { role, columns }) {
    if (!isNumbers(factors) || factors.length !== columns) {
      throw new FileError("an input step scales channels by a wrong number of factors", {
        kind: "bad-config",
        where: role,
        why: `wanted ${columns} numbers`,
      });
    }
    const f = Float32Array.from(factors);
    return {
      run(out, x, batch) {
        const [to, from] = [out.data(), x.data()];
        for (let row = 0; row < batch * columns; row += columns) {
          for (let j = 0; j < columns; j++) to[row + j] = from[row + j] * f[j];
        }
      },
      dispose() {},
    };
  },
};
