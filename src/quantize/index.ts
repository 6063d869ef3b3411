/** Moving trained weights into low-precision schemes. */
export type { Needs, QuantizationMethod } from "./method.js";
export { methods } from "./methods.js";
export { type Override, type PlannedTensor, parseOverride } from "./plan.js";
export {
  planQuantization,
  type QuantizedTensor,
  type QuantizeOptions,
  type QuantizePlan,
  type QuantizeProgress,
  type QuantizeResult,
  quantizeModel,
  relativeSquaredError,
} from "./quantize.js";
