/**
 * What only the work can tell, taken over into the plan before anything is written: schemes that methods have chosen, tensors
 * that stand beside weights, and the steps of linear maps.
 */
import { besideSpecs, type LinearRecord, nameIn } from "../models/index.js";
import type { PlannedTensor } from "./plan.js";
import type { Parts } from "./produce.js";
import type { QuantizePlan } from "./quantize-plan.js";

/** The plan as the finished parts have it; parts that are not there yet stay as planned. */
export async function settledPlan(plan: QuantizePlan, { store, keys }: Parts): Promise<QuantizePlan> {
  const linears: Record<string, LinearRecord> = { ...plan.linears };
  const found = new Map<string, Pick<PlannedTensor, "scheme" | "shape">>();
  for (const key of new Set(keys.values())) {
    if (!(await store.has(key))) continue;
    Object.assign(linears, await store.linears(key));
    for (const { role, scheme, shape } of await store.list(key)) found.set(role, { scheme, shape });
  }
  const tensors = plan.tensors.flatMap((planned) => {
    const { spec } = planned;
    if (!spec || spec.shape.length === 1) return [planned];
    const own = { ...planned, scheme: found.get(spec.role)?.scheme ?? planned.scheme };
    const beside = besideSpecs(spec, linears[spec.role] ?? {}).flatMap((part): PlannedTensor[] => {
      const [made, name] = [found.get(part.role), nameIn(plan.container.name, part)];
      return made && name !== undefined ? [{ name, spec: part, ...made }] : [];
    });
    return [own, ...beside];
  });
  return { ...plan, tensors, linears };
}
