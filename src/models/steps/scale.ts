import { FileError } from "../../errors.js";
import { isNumbers, type StepKind, type StepValue } from "./step.js";

/**
 * `{"kind": "scale", "factors": [f, ...], "shifts": [z, ...]}`: channel j becomes (x_j - z_j) f_j, where the weights' column j
 * was divided by f_j and their bias took over W z. Without shifts z is 0.
 */
export const scale: StepKind = {
  name: "scale",
  summary: "channels of activations shifted and multiplied by factors, as their weights were changed for it",
  source:
    "Xiao et al. 2022 (SmoothQuant), arXiv 2211.10438, equation 3; shifts: Wei et al. 2023 (Outlier Suppression+), " +
    "arXiv 2304.09145, equation 4; both done when the model runs",
  essential: true,
  prepare(_, { factors, shifts }, { role, columns }) {
    const fits = (value: StepValue | undefined): value is readonly number[] =>
      isNumbers(value) && value.length === columns;
    if (!fits(factors) || (shifts !== undefined && !fits(shifts))) {
      throw new FileError("an input step scales or shifts channels by a wrong number of numbers", {
        kind: "bad-config",
        where: role,
        why: `wanted ${columns} numbers`,
      });
    }
    const [f, z] = [Float32Array.from(factors), Float32Array.from(shifts ?? new Float32Array(columns))];
    return {
      run(out, x, batch) {
        const [to, from] = [out.data(), x.data()];
        for (let row = 0; row < batch * columns; row += columns) {
          for (let j = 0; j < columns; j++) to[row + j] = Math.fround(from[row + j] - z[j]) * f[j];
        }
      },
      dispose() {},
    };
  },
};
