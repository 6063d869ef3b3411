/** Recipes from files: JSON, or a model that says how it was made. */
import { containers, openCheckpoint } from "../checkpoints/index.js";
import { InputError } from "../errors.js";
import { makingOf, type Recipe, readRecipe } from "../quantize/index.js";
import { readText } from "./model-path.js";

export interface RecordedRecipe {
  readonly recipe: Recipe;
  /** Hash of the ids of the text that the model's calibration used. */
  readonly calibrationText?: string;
}

/** The recipe in a file of JSON, or the one that a model was made with; an InputError names what is wrong with it. */
export async function readRecipeFile(file: string): Promise<RecordedRecipe> {
  for (const container of containers.entries) if (await container.detect(file)) return recipeOfModel(file);
  const content = await readText(file);
  try {
    return { recipe: readRecipe(JSON.parse(content), file).json };
  } catch (cause) {
    if (!(cause instanceof SyntaxError)) throw cause;
    throw new InputError("the recipe is not JSON", { kind: "wrong-recipe", where: file, why: cause.message, cause });
  }
}

async function recipeOfModel(file: string): Promise<RecordedRecipe> {
  const model = await openCheckpoint(file);
  try {
    const making = makingOf(model);
    if (making) return { recipe: readRecipe(making.recipe, file).json, calibrationText: making.calibrationText };
    throw new InputError("the model does not say how it was made", {
      kind: "wrong-recipe",
      where: file,
      why: "only models that Bitloom wrote carry their recipe",
    });
  } finally {
    await model.close();
  }
}
