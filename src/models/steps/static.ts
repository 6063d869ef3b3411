import { FileError } from "../../errors.js";
import { formats } from "../../formats/index.js";
import { isNumbers, type StepKind } from "./step.js";

/** `{"kind": "static", "format": NAME, "scales": [S, ...]}`: S_j v(code) for the code nearest to x_j / S_j, one S or one for each channel. */
export const staticRound: StepKind = {
  name: "static",
  summary: "activations rounded to a number format with scales that calibration has fixed; what lies beyond is cut off",
  source: "static quantization of activations: Jacob et al. 2018, arXiv 1712.05877",
  essential: false,
  prepare(backend, { format: name, scales }, { role, columns }) {
    const format = typeof name === "string" ? formats.find(name) : undefined;
    const fits = isNumbers(scales) && (scales.length === 1 || scales.length === columns) && scales.every((s) => s > 0);
    if (!format || !fits) {
      throw new FileError("an input step rounds with senseless scales, or to a format that is not known", {
        kind: "bad-config",
        where: role,
        why: `format ${JSON.stringify(name)}, wanted a number format and 1 or ${columns} positive scales`,
      });
    }
    const held = backend.upload(Float32Array.from(scales));
    return {
      run: (out, x, batch) => backend.roundStatic(out, x, format, held, batch, columns),
      dispose: () => backend.free(held),
    };
  },
};
