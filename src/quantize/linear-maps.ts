/** The linear maps that share an input, quantized: the input's rounding, the matrices, and what makes up for their errors. */
import type { LayerRunner, LinearRecords } from "../models/index.js";
import { readWeight } from "../models/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import type { FinishedTensor } from "./artifacts.js";
import { compensated } from "./compensated.js";
import { relativeSquaredError } from "./errors.js";
import { roundInput } from "./input-rounding.js";
import type { TogetherOutcome } from "./layer-methods.js";
import { plain, type Values } from "./layer-weights.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import { quantizeWeight } from "./row-blocks.js";
import type { RowsRunner } from "./row-threads.js";
import type { InputStatistics } from "./statistics.js";
import { reportOf } from "./tensor-report.js";
import type { Unit } from "./units.js";

/** What the units of a run are made with. */
export interface Tools {
  readonly plan: QuantizePlan;
  readonly runner: LayerRunner;
  /** Where matrices are quantized. */
  readonly rows: RowsRunner;
}

/** Tensors that a method for whole layers has quantized already. */
export type Together = ReadonlyMap<string, TogetherOutcome>;

/** By role. */
export type Notes = ReadonlyMap<string, Readonly<Record<string, number>>>;

export interface MadeMaps {
  readonly finished: FinishedTensor[];
  readonly linears: LinearRecords;
}

/** Rounds the input that the maps of `unit` share, quantizes their matrices, and makes up for the errors. */
export async function makeMaps(
  tools: Tools,
  unit: Unit,
  values: Values,
  statistics: InputStatistics | undefined,
  notes: Notes = new Map(),
  together: Together = new Map(),
): Promise<MadeMaps> {
  const { plan, runner } = tools;
  const before = new Map(values);
  const rounded = roundInput(plan, unit.tensors, values, statistics);
  const known = rounded ? rounded.statistics : statistics;
  const roles = unit.tensors.map(({ spec }) => spec?.role ?? "");
  const moved = new Set(roles.filter((role) => values.get(role) !== before.get(role)));
  const byRole = known && new Map(roles.map((role) => [role, known]));
  const noted: Notes = new Map(roles.map((role) => [role, { ...notes.get(role), ...rounded?.notes }]));
  const made = await quantizeAll(tools, unit, values, byRole, noted, moved, together);
  const pairs = compensated(plan, unit.tensors, made, values, known, runner.products);
  const linears = { ...rounded?.records };
  for (const { role, rank } of pairs) linears[role] = { ...plan.linears[role], ...linears[role], rank };
  const beside = [...(rounded?.beside ?? []), ...pairs.flatMap(({ tensors }) => tensors)];
  return { finished: [...made, ...beside], linears };
}

/** Numbers that lie in the scheme already are kept as they are, if nothing has moved them. */
export const staysAsItIs = ({ recipe }: QuantizePlan, { source, scheme }: PlannedTensor): boolean =>
  source?.scheme?.name === scheme.name && recipe.transforms.length === 0;

/** Quantizes the tensors of a unit. */
export async function quantizeAll(
  { plan, rows }: Tools,
  unit: Unit,
  values: Values,
  statistics: ReadonlyMap<string, InputStatistics> = new Map(),
  notes: Notes = new Map(),
  moved: ReadonlySet<string> = new Set(),
  together: Together = new Map(),
): Promise<FinishedTensor[]> {
  const { checkpoint, recipe } = plan;
  const { seed } = recipe;
  const finished = unit.tensors.map(async (tensor): Promise<FinishedTensor[]> => {
    const { spec, scheme, shape, quantizer } = tensor;
    const role = spec?.role ?? "";
    const numbers = values.get(role);
    if (!spec || !numbers) return [];
    const stays = !moved.has(role) && staysAsItIs(plan, tensor);
    const original = stays && shape.length > 1 ? await readWeight(checkpoint, spec) : undefined;
    if (original || !quantizer) {
      const packed = original ?? quantize(numbers, shape, scheme);
      return [{ role, packed, report: { relativeMse: relativeSquaredError(numbers, dequantize(packed)) } }];
    }
    const job = { scheme, statistics: statistics.get(role), seed };
    const made = moved.has(role) ? undefined : together.get(role);
    if (made) {
      const noted = { ...made, notes: { ...notes.get(role), ...made.notes } };
      const report = reportOf({ ...job, values: numbers, shape }, noted, quantizer.method.name, made.seconds);
      return [{ role, packed: made.packed, report }];
    }
    const weight = { ...job, quantizer, original: plain(numbers, shape), notes: notes.get(role) };
    return [{ role, ...(await quantizeWeight(rows, weight)) }];
  });
  return (await Promise.all(finished)).flat();
}
