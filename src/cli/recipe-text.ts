/** What `--explain` and `plan` say of a recipe: its steps in JSON and in words. */
import type { ExplainedPlan, RecipeStep } from "../quantize/index.js";
import { anything, closed, count, list, string } from "./schema.js";
import { printable, type Style } from "./terminal.js";

/** The fields of ExplainedPlan in JSON. */
export const EXPLAINED = {
  recipe: anything("with all its defaults; --recipe takes it from a file"),
  steps: list(
    closed({
      step: count("place in the recipe, from 1"),
      summary: string(),
      source: string("paper or code"),
      json: anything("the step with all its defaults"),
      needs: string("what must be known of the activations"),
      tensors: list(string(), "names in the output"),
      why: string("why those"),
    }),
  ),
  kept: list(string(), "tensors that stay as they are"),
};

const FEW = 3;
const namesText = (names: readonly string[]) =>
  names.length === 0
    ? "no tensor"
    : `${names.length} tensor${names.length > 1 ? "s" : ""}: ${names.slice(0, FEW).map(printable).join(", ")}${names.length > FEW ? ", ..." : ""}`;

/** A step in one line: "quantize gptq, scheme q4_0". */
const titleOf = (step: RecipeStep) =>
  Object.entries(step)
    .filter(([key]) => key !== "tensors" && key !== "options")
    .map(([key, value]) => `${key} ${value}`)
    .join(", ");

const optionsText = (step: RecipeStep) =>
  Object.entries(("options" in step && step.options) || {})
    .map(([key, value]) => `${key}=${value}`)
    .join(" ");

/** A step and all that it says in one line: "quantize gptq, scheme q4_0, tensors .*, damping=0.05 ...". */
export function settingsText(step: RecipeStep): string {
  const tensors = "tensors" in step ? `on ${step.tensors}` : "";
  return [titleOf(step), tensors, optionsText(step)].filter((text) => text !== "").join("  ");
}

/** Steps in words. */
export function explanationText({ steps, kept }: Pick<ExplainedPlan, "steps" | "kept">, style: Style): string {
  const blocks = steps.map(({ step, summary, source, json, needs, tensors, why }) => {
    const settings = optionsText(json);
    return [
      `${style.bold(`step ${step}: ${titleOf(json)}`)}  ${summary}`,
      ...(settings === "" ? [] : [`  with ${settings}`]),
      `  on ${namesText(tensors)}`,
      `  because ${why}`,
      `  needs ${needs === "nothing" ? needs : `${needs} of the activations`}; after ${source}`,
    ].join("\n");
  });
  const rest = kept.length > 0 ? [`${style.bold("kept as they are")}  ${namesText(kept)}`] : [];
  return `${[...blocks, ...rest].join("\n\n")}\n`;
}
