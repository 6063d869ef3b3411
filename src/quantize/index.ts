/** Moving trained weights into low-precision schemes. */
export { activationMethods } from "./activations/index.js";
export { compensations } from "./compensations.js";
export { methodsPage, type QualityRow } from "./document.js";
export { type EncoderQualityRow, encodersSection } from "./encoder-document.js";
export { relativeSquaredError } from "./errors.js";
export { type ExplainedPlan, type ExplainedStep, explainPlan } from "./explain.js";
export { type CollectOptions, collectImportance, type Importance, readImatrix, writeImatrix } from "./imatrix-file.js";
export type { QuantizationJob, QuantizationMethod, QuantizationOutcome } from "./method.js";
export { methods } from "./methods.js";
export { RECIPE_KEY } from "./output.js";
export { type Override, type PlannedTensor, parseOverride } from "./plan.js";
export {
  planQuantization,
  type QuantizedTensor,
  type QuantizeOptions,
  type QuantizePlan,
  type QuantizeProgress,
  type QuantizeResult,
  quantizeModel,
  recipeOf,
} from "./quantize.js";
export {
  type CalibrationSettings,
  DEFAULT_CALIBRATION,
  type Recipe,
  type RecipeStep,
  readRecipe,
  recipeSchema,
} from "./recipe.js";
export type { Rehearsal } from "./rehearsal.js";
export { type QuantizeSpeedRow, quantizeSpeedSection } from "./speed-document.js";
export { type InputStatistics, type Needs, needsAtLeast } from "./statistics.js";
export { transforms } from "./transforms.js";
export { type TriedPlan, tryQuantization } from "./trial.js";
