/** The parts of a calibrated run, each finished and stored as a whole, and the names under which runs find them again. */
import { hashOf } from "./artifacts.js";
import { roundingOf } from "./input-rounding.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Quantizer } from "./read-recipe.js";

/** A part of the model that is finished and stored as a whole. */
export interface Unit {
  /** "embedding", "layers.3" or "head". */
  readonly name: string;
  readonly layer?: number;
  readonly tensors: readonly PlannedTensor[];
  readonly key: string;
}

/**
 * The units of a plan with the names of their artifacts: hashes of all that decides what is in them, and nothing else, so that
 * another recipe takes up what it shares. `base` stands for input, text and version.
 */
export function unitsOf({ tensors, architecture, config, recipe }: QuantizePlan, base: string): readonly Unit[] {
  const { seed, calibration, needs, transforms, folds, activations, compensations } = recipe;
  const whole = [base, seed, calibration, needs, folds.map(({ json }) => json), transforms.length > 0];
  const units: Unit[] = [];
  const add = (name: string, members: readonly PlannedTensor[], layer?: number) => {
    const before = calibration.sequential === "none" ? "" : (units.at(-1)?.key ?? "");
    const decided = members.map((tensor) => {
      const { spec, scheme, quantizer, name: called } = tensor;
      const fits = ({ pattern }: Pick<Quantizer, "pattern">) => pattern.test(called) || pattern.test(spec?.role ?? "");
      const others = [...transforms, ...activations, ...compensations].filter(fits);
      return [spec?.role, scheme.name, ...[quantizer, ...others].map((step) => step && { ...step.json, tensors: "" })];
    });
    const key = hashOf([whole, name, decided, before]);
    if (members.length > 0) units.push({ name, layer, tensors: members, key });
  };
  const roleOf = (tensor: PlannedTensor) => tensor.spec?.role ?? "";
  const only = (role: string, taken: (tensor: PlannedTensor) => unknown) =>
    tensors.filter((tensor) => roleOf(tensor) === role && taken(tensor));
  const quantized = ({ quantizer }: PlannedTensor) => quantizer;
  const head = architecture.parts.head?.role(config);
  if (head !== "embedding") add("embedding", only("embedding", quantized));
  for (let layer = 0; layer < config.layers; layer++) {
    const inside = tensors.filter((tensor) => roleOf(tensor).startsWith(`layers.${layer}.`));
    add(`layers.${layer}`, inside, layer);
  }
  if (head !== undefined)
    add(
      "head",
      only(head, (tensor) => quantized(tensor) ?? roundingOf({ recipe }, [tensor])),
    );
  return units;
}
