/** A recipe in words: what every step does to which tensors, and why those. */
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Recipe, RecipeStep } from "./recipe.js";
import type { Needs } from "./statistics.js";

export interface ExplainedStep {
  /** Place in the recipe, from 1. */
  readonly step: number;
  /** What it does: "round to nearest under the scheme's own scale rule". */
  readonly summary: string;
  /** The paper or code that it follows. */
  readonly source: string;
  /** The step with all its defaults. */
  readonly json: RecipeStep;
  /** What must be known of the activations for it. */
  readonly needs: Needs;
  /** Names of the tensors that it takes. */
  readonly tensors: readonly string[];
  /** Why those, and what it cannot do. */
  readonly why: string;
}

export interface ExplainedPlan {
  /** With all defaults, as outputs carry it. */
  readonly recipe: Recipe;
  readonly steps: readonly ExplainedStep[];
  /** Tensors that no step takes, or that are in the wanted scheme already. */
  readonly kept: readonly string[];
}

const isKept = ({ quantizer, source, scheme }: PlannedTensor) => !quantizer || source?.scheme?.name === scheme.name;

export function explainPlan(plan: QuantizePlan): ExplainedPlan {
  const { recipe, tensors } = plan;
  const places = new Map<RecipeStep, number>(recipe.json.steps.map((json, index) => [json, index + 1]));
  const place = (json: RecipeStep) => places.get(json) ?? 0;
  const quantizing = recipe.quantizers.map((quantizer): ExplainedStep => {
    const { method, options, json } = quantizer;
    const taken = tensors.filter((one) => one.quantizer === quantizer && !isKept(one)).map(({ name }) => name);
    const others = recipe.quantizers.length > 1 ? " and no earlier step takes them" : "";
    const why = `matrices whose name or role fits ${json.tensors}${others}`;
    const { summary, source } = method;
    return { step: place(json), summary, source, json, needs: method.needs(options), tensors: taken, why };
  });
  const transforming = recipe.transforms.map(({ transform, options, json, pattern }): ExplainedStep => {
    const { summary, source } = transform;
    const fits = (role: string) =>
      tensors.filter(
        ({ name, spec }) => spec?.role.endsWith(`.${role}`) && (pattern.test(name) || pattern.test(spec.role)),
      );
    const groups = plan.architecture.parts.linears(plan.config);
    const taken = groups
      .flatMap(({ roles, producer }) => (producer ? roles.flatMap(fits) : []))
      .map(({ name }) => name);
    const out = groups.filter(({ producer }) => !producer).flatMap(({ roles }) => roles);
    const left = out.length > 0 ? `; not ${out.join(", ")}: nothing before them can take over the change` : "";
    const why = `maps whose input something before them can take a change of${left}`;
    return { step: place(json), summary, source, json, needs: transform.needs(options), tensors: taken, why };
  });
  const folding = recipe.folds.map(({ transform, options, json }): ExplainedStep => {
    const { summary, source } = transform;
    const why = "a change of basis of the whole model, made as its tensors are read";
    return { step: place(json), summary, source, json, needs: transform.needs(options), tensors: [], why };
  });
  const maps = tensors.filter(({ spec }) => spec && spec.shape.length === 2 && !spec.table);
  const firstOf = (steps: readonly { readonly pattern: RegExp }[], { name, spec }: PlannedTensor) =>
    steps.find(({ pattern }) => pattern.test(name) || pattern.test(spec?.role ?? ""));
  const rounding = recipe.activations.map((step): ExplainedStep => {
    const { method, options, json } = step;
    const { summary, source } = method;
    const taken = maps.filter((map) => firstOf(recipe.activations, map) === step).map(({ name }) => name);
    const why = "linear maps whose input they round, all maps that share an input together";
    return { step: place(json), summary, source, json, needs: method.needs(options), tensors: taken, why };
  });
  const compensating = recipe.compensations.map((step): ExplainedStep => {
    const { compensation, options, json } = step;
    const { summary, source } = compensation;
    const taken = maps.filter((map) => firstOf(recipe.compensations, map) === step).map(({ name }) => name);
    const why = `matrices whose name or role fits ${json.tensors}, once they are quantized`;
    return { step: place(json), summary, source, json, needs: compensation.needs(options), tensors: taken, why };
  });
  const caching = recipe.json.steps
    .filter((json) => "cache" in json)
    .map((json): ExplainedStep => {
      const summary = "keys and values of past positions are held packed when the output is run";
      const source = "Liu et al. 2024 (KIVI), arXiv 2402.02750";
      const why = "a cache has no tensors in the file; bitloom.cache in its metadata says how it is held";
      return { step: place(json), summary, source, json, needs: "nothing", tensors: [], why };
    });
  const steps = [...folding, ...transforming, ...quantizing, ...rounding, ...compensating, ...caching].sort(
    (a, b) => a.step - b.step,
  );
  return { recipe: recipe.json, steps, kept: tensors.filter(isKept).map(({ name }) => name) };
}
