import { FileError } from "../../errors.js";
import { schemes } from "../../formats/index.js";
import type { StepKind } from "./step.js";

/** `{"kind": "round", "scheme": NAME}`: every row to the values that a scheme makes of it, scales found anew for each row. */
export const round: StepKind = {
  name: "round",
  summary: "activations rounded to a scheme; every token finds its own scales",
  source: "dynamic quantization per token or per group: Yao et al. 2022 (ZeroQuant), arXiv 2206.01861, section 3.1",
  essential: false,
  prepare(backend, { scheme: name }, { role, columns }) {
    const scheme = typeof name === "string" ? schemes.find(name) : undefined;
    if (!scheme) {
      throw new FileError("an input step rounds to a scheme that is not known", {
        kind: "bad-config",
        where: role,
        why: `got ${JSON.stringify(name)}, wanted a scheme's name`,
      });
    }
    return {
      run: (out, x, batch) => backend.round(out, x, scheme, batch, columns),
      dispose() {},
    };
  },
};
