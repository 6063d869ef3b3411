/** Methods that quantize the linear maps of a layer together: what they are given, and where they can work. */
import { UnsupportedError } from "../errors.js";
import type { Architecture, LayerNumbers, LayerRunner } from "../models/index.js";
import type { LayerJob, QuantizationJob, QuantizationOutcome } from "./method.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Quantizer, ReadRecipe } from "./read-recipe.js";
import type { InputStatistics } from "./statistics.js";

/** An UnsupportedError if a method would differentiate layers of an architecture that cannot. */
export function checkLayerMethods({ quantizers }: ReadRecipe, architecture: Architecture): void {
  const found = quantizers.find(({ method }) => method.quantizeLayer);
  if (!found || architecture.parts.trace) return;
  throw new UnsupportedError(`${found.method.name} does not work on ${architecture.name} models`, {
    kind: "unsupported-feature",
    why: "it learns from the gradients of a layer, which nobody has written for this architecture yet",
    try: "the method adaround or gptq",
  });
}

/** A layer as it stands: numbers and input statistics by full role, hidden states before it. */
export interface StandingLayer {
  readonly layer: number;
  /** Before the roles of its weights: "layers.3". */
  readonly name: string;
  readonly tensors: readonly PlannedTensor[];
  readonly values: ReadonlyMap<string, Float32Array>;
  readonly statistics: ReadonlyMap<string, InputStatistics>;
  readonly hidden: readonly Float32Array[];
}

export interface TogetherOutcome extends QuantizationOutcome {
  /** The tensor's share of the time. */
  readonly seconds: number;
}

/** What methods for whole layers make of their tensors, by full role; empty where the recipe has none. */
export function quantizeTogether(
  { architecture, config, recipe }: QuantizePlan,
  { products, width }: LayerRunner,
  { layer, name, tensors, values, statistics, hidden }: StandingLayer,
): Map<string, TogetherOutcome> {
  const made = new Map<string, TogetherOutcome>();
  const inner = (role: string) => role.slice(name.length + 1);
  const numbers: LayerNumbers = new Map([...values].map(([role, one]) => [inner(role), one]));
  const trace: LayerJob["trace"] = (on, replaced, states, tokens) => {
    if (!architecture.parts.trace)
      throw new Error("checkLayerMethods let a layer through that cannot be differentiated");
    return architecture.parts.trace(on, config, new Map([...numbers, ...replaced]), states, tokens);
  };
  for (const [{ method, options }, group] of byStep(tensors)) {
    const members = new Map<string, QuantizationJob>();
    for (const { spec, scheme, shape } of group) {
      const one = spec && values.get(spec.role);
      if (!one) continue;
      const job = { scheme, values: one, shape, statistics: statistics.get(spec.role), seed: recipe.seed, products };
      members.set(inner(spec.role), job);
    }
    const begin = performance.now();
    const outcomes = method.quantizeLayer?.({ layer, members, hidden, width, trace, seed: recipe.seed }, options);
    const seconds = (performance.now() - begin) / 1000 / members.size;
    for (const [role, outcome] of outcomes ?? []) made.set(`${name}.${role}`, { ...outcome, seconds });
  }
  return made;
}

/** Tensors of steps with the same method for whole layers and the same options; schemes may differ. */
function byStep(tensors: readonly PlannedTensor[]): Map<Quantizer, PlannedTensor[]> {
  const keys = new Map<string, Quantizer>();
  const groups = new Map<Quantizer, PlannedTensor[]>();
  for (const tensor of tensors) {
    const { quantizer } = tensor;
    if (!quantizer?.method.quantizeLayer || tensor.shape.length < 2) continue;
    const key = JSON.stringify([quantizer.method.name, quantizer.options]);
    const first = keys.get(key) ?? quantizer;
    keys.set(key, first);
    groups.set(first, [...(groups.get(first) ?? []), tensor]);
  }
  return groups;
}
