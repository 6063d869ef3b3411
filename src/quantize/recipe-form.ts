/** The form of a recipe: what keys a JSON value must have to be one, and the same as a JSON Schema for editors. */
import { InputError } from "../errors.js";
import { optionsSchema } from "../options.js";
import { activationMethods } from "./activations/index.js";
import { compensations } from "./compensations.js";
import type { QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import { DEFAULT_CALIBRATION, type Recipe, SEQUENTIAL } from "./recipe.js";
import { transforms } from "./transforms.js";

/** Keys that a step must have, its kind first. */
const FORMS = [["quantize", "scheme"], ["activations", "scheme"], ["compensate"], ["cache"], ["transform"]] as const;
/** Keys that any step may have which is about tensors. */
const COMMON = ["tensors", "options"] as const;

/** The value as a recipe, if it has the form of one; names and patterns are not looked at. */
export function checkedForm(value: unknown, where: string): Recipe {
  const wrong = (why: string) =>
    new InputError("this is no recipe", { kind: "wrong-recipe", where, why, try: "docs/schemas/recipe.json" });
  if (!isRecord(value)) throw wrong("wanted a JSON object");
  const extra = Object.keys(value).find((key) => !["$schema", "recipe", "seed", "calibration", "steps"].includes(key));
  if (extra !== undefined) throw wrong(`it has a key "${extra}"`);
  if (value.recipe !== 1) throw wrong(`"recipe" is ${JSON.stringify(value.recipe)}, wanted 1, the version of the form`);
  if (!Array.isArray(value.steps)) throw wrong('wanted a list "steps"');
  value.steps.forEach((step: unknown, index) => {
    const name = `step ${index + 1}`;
    if (!isRecord(step)) throw wrong(`${name} is no object`);
    const allowed = FORMS.find(([kind]) => kind in step);
    if (!allowed) throw wrong(`${name} has none of the keys ${FORMS.map(([kind]) => kind).join(", ")}`);
    const missing = allowed.find((key) => typeof step[key] !== "string");
    if (missing !== undefined) throw wrong(`${name}: "${missing}" is no text`);
    const known: readonly string[] = "cache" in step ? allowed : [...allowed, ...COMMON];
    const other = Object.keys(step).find((key) => !known.includes(key));
    if (other !== undefined) throw wrong(`${name} has a key "${other}", wanted ${known.join(", ")}`);
    if (step.tensors !== undefined && typeof step.tensors !== "string") throw wrong(`${name}: tensors is no text`);
    if (step.options !== undefined && !isRecord(step.options)) throw wrong(`${name}: options is no object`);
  });
  return value as unknown as Recipe;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** JSON Schema (draft 2020-12) of a recipe, derived from the registries. */
export function recipeSchema(): Record<string, unknown> {
  const tensors = {
    type: "string",
    format: "regex",
    description: "over a tensor's name or role; absent: every matrix",
  };
  const step = (kind: string, one: { name: string; options: QuantizationMethod["options"] }, more: object) => ({
    type: "object",
    properties: { [kind]: { const: one.name }, tensors, ...more, options: optionsSchema(one.options) },
    required: [kind, ...Object.keys(more)],
    additionalProperties: false,
  });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: "Bitloom recipe",
    type: "object",
    properties: {
      $schema: { type: "string" },
      recipe: { const: 1, description: "version of this form" },
      seed: { type: "integer", minimum: 0, default: 0 },
      calibration: {
        type: "object",
        properties: {
          windows: { type: "integer", minimum: 1, default: DEFAULT_CALIBRATION.windows },
          window: { type: "integer", minimum: 2, default: DEFAULT_CALIBRATION.window },
          sequential: { enum: SEQUENTIAL, default: DEFAULT_CALIBRATION.sequential },
        },
        additionalProperties: false,
      },
      steps: {
        type: "array",
        items: {
          oneOf: [
            ...methods.entries.map((one) => step("quantize", one, { scheme: { type: "string" } })),
            ...transforms.entries.map((one) => step("transform", one, {})),
            ...activationMethods.entries.map((one) => step("activations", one, { scheme: { type: "string" } })),
            ...compensations.entries.map((one) => step("compensate", one, {})),
            {
              type: "object",
              properties: {
                cache: { type: "string", description: "a scheme, or keys=SCHEME:AXIS,values=...,window=N" },
              },
              required: ["cache"],
              additionalProperties: false,
            },
          ],
        },
      },
    },
    required: ["recipe", "steps"],
    additionalProperties: false,
  };
}
