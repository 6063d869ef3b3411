import type { NumericKind } from "../../errors.js";
import type { Explanation } from "./explanation.js";

/** The numbers themselves are the problem. They are never clamped or replaced in silence. */
export const NUMERIC: Readonly<Record<NumericKind, Explanation>> = {
  "numbers-failed": {
    title: "arithmetic that cannot go on",
    meaning: "A number is not usable, in a way that has no kind of its own.",
    causes: ["values far outside what models have"],
    remedies: ["read the line after why:"],
  },
  "non-finite-weights": {
    title: "weights that are not finite",
    meaning: "A weight is NaN or infinite, and the scheme holds finite numbers only.",
    causes: ["training that diverged", "an overflow when the model was converted to f16", "a damaged file"],
    remedies: ["take the model in bf16 or f32", "download it again"],
  },
  "non-finite-logits": {
    title: "logits that are not finite",
    meaning: "The model's output is NaN or infinite, so that there is no likelihood to measure or sample from.",
    causes: ["a scheme whose range the weights exceed", "weights that are not finite"],
    remedies: ["a scheme with more bits or finer scales", "bitloom eval of the original model tells which it is"],
  },
  "number-out-of-range": {
    title: "a number outside the range of its format",
    meaning: "The format has neither this value nor an infinity or NaN to say so, and saturation was not asked for.",
    causes: ["a cast without scales to a small format", "NaN or infinity into a format without", "f64 beyond f32"],
    remedies: ["a format with a wider exponent", "a scheme with scales", "--overflow saturate, where that is meant"],
  },
  "singular-matrix": {
    title: "a matrix that cannot be factorised",
    meaning: "The second moments of the activations are not positive definite, even after damping.",
    causes: ["too little calibration text", "inputs that are always zero or always the same"],
    remedies: ["a longer --calibrate text", "more damping: --set damping=0.1", "--method mse, which needs none"],
  },
  "quality-limit": {
    title: "a quality limit was missed",
    meaning: "The result is printed; the exit code says that it is worse than the limit allows.",
    causes: ["a scheme with too few bits for this model"],
    remedies: ["a scheme with more bits", "--method gptq or --transform awq", "a higher limit"],
  },
};
