/** Moving trained weights into low-precision schemes. */

export { activationMethods } from "./activations/index.js";
export { calibrationOf } from "./calibrated-run.js";
export { compensations } from "./compensations.js";
export { methodsPage, type QualityRow } from "./document.js";
export { type EncoderQualityRow, encodersSection } from "./encoder-document.js";
export { relativeSquaredError } from "./errors.js";
export { type ExplainedPlan, type ExplainedStep, explainPlan } from "./explain.js";
export { type CollectOptions, collectImportance, type Importance, readImatrix, writeImatrix } from "./imatrix-file.js";
export type { QuantizationJob, QuantizationMethod, QuantizationOutcome } from "./method.js";
export { methods } from "./methods.js";
export { type Making, makingOf, RECIPE_KEY } from "./output.js";
export { type Override, type PlannedTensor, parseOverride } from "./plan.js";
export {
  type QuantizedTensor,
  type QuantizeOptions,
  type QuantizeProgress,
  type QuantizeResult,
  quantizeModel,
} from "./quantize.js";
export { planQuantization, type QuantizePlan } from "./quantize-plan.js";
export { readRecipe } from "./read-recipe.js";
export { type CalibrationSettings, DEFAULT_CALIBRATION, type Recipe, type RecipeStep } from "./recipe.js";
export { recipeSchema } from "./recipe-form.js";
export type { Rehearsal } from "./rehearsal.js";
export { recipeOf } from "./short-form.js";
export { type QuantizeSpeedRow, quantizeSpeedSection } from "./speed-document.js";
export { type InputStatistics, type Needs, needsAtLeast } from "./statistics.js";
export { transforms } from "./transforms.js";
export { type LayerSeconds, type TriedPlan, tryQuantization } from "./trial.js";
export type { KeptParts } from "./work.js";
