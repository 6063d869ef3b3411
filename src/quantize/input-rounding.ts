/**
 * The activation steps of a recipe, done to the inputs of linear maps one after another: which steps each map's input goes
 * through from now on, and what that changes for its weights and for what is known of the input.
 */
import { schemes } from "../formats/index.js";
import type { LinearRecord, LinearRecords } from "../models/index.js";
import { quantize } from "../tensor/index.js";
import type { FinishedTensor } from "./artifacts.js";
import { scaleColumns } from "./fold.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { ChosenActivation } from "./read-recipe.js";
import { type InputStatistics, scaledStatistics } from "./statistics.js";

/** What one input's maps do from now on. */
export interface RoundedInput {
  readonly records: LinearRecords;
  /** Of the input as the weights see it. */
  readonly statistics?: InputStatistics;
  /** The columns kept apart, by role. */
  readonly beside: readonly FinishedTensor[];
  readonly notes?: Readonly<Record<string, number>>;
}

/** The first activation step of the recipe that takes all these maps. */
export function roundingOf(
  { recipe }: Pick<QuantizePlan, "recipe">,
  maps: readonly PlannedTensor[],
): ChosenActivation | undefined {
  const takes = ({ pattern }: ChosenActivation) =>
    maps.every(({ name, spec }) => pattern.test(name) || pattern.test(spec?.role ?? ""));
  return maps.length > 0 ? recipe.activations.find(takes) : undefined;
}

/** What the recipe's activation steps say of every linear map, where no step looks at activations. */
export function roundedInputs(plan: Omit<QuantizePlan, "calibrated">): LinearRecords {
  const { architecture, config, tensors } = plan;
  const groups = Array.from({ length: config.layers }, (_, layer) =>
    architecture.parts.linears(config).map(({ roles }) => roles.map((role) => `layers.${layer}.${role}`)),
  ).flat();
  const head = architecture.parts.head?.role(config);
  const records: Record<string, LinearRecord> = { ...plan.linears };
  for (const roles of head === undefined ? groups : [...groups, [head]]) {
    const maps = tensors.filter(({ spec }) => spec && roles.includes(spec.role));
    Object.assign(records, roundInput(plan, maps, new Map(), undefined)?.records);
  }
  return records;
}

/**
 * Decides how the input of `maps` is rounded; undefined if no step takes them. `values`, by role, change where the method
 * scales columns or keeps them apart.
 */
export function roundInput(
  plan: Pick<QuantizePlan, "recipe" | "linears" | "architecture">,
  maps: readonly PlannedTensor[],
  values: Map<string, Float32Array>,
  statistics: InputStatistics | undefined,
): RoundedInput | undefined {
  const chosen = roundingOf(plan, maps);
  if (!chosen) return undefined;
  const [, columns] = maps[0].shape;
  const isTable = maps.some(({ spec }) => plan.architecture.parts.before.includes(spec?.role ?? ""));
  const outcome = chosen.method.choose({ scheme: chosen.scheme, columns, isTable, statistics }, chosen.options);
  const { input, scales, apart = [], notes } = outcome;
  const beside: FinishedTensor[] = [];
  const records: Record<string, LinearRecord> = {};
  for (const { spec } of maps) {
    const role = spec?.role ?? "";
    const before = plan.linears[role];
    records[role] = { ...before, input: [...(before?.input ?? []), ...input], ...(apart.length > 0 && { apart }) };
    const numbers = values.get(role);
    if (!numbers) continue;
    const scaled = scales ? scaleColumns(numbers, scales) : numbers;
    if (apart.length > 0) beside.push(columnsApart(role, scaled, columns, apart));
    values.set(role, apart.length > 0 ? withoutColumns(scaled, columns, apart) : scaled);
  }
  const seen = scales && statistics ? scaledStatistics(statistics, scales) : statistics;
  return { records, statistics: seen && withoutChannels(seen, apart), beside, notes };
}

/** Columns in 16 bits, as LLM.int8 keeps them. */
function columnsApart(role: string, values: Float32Array, columns: number, apart: readonly number[]): FinishedTensor {
  const rows = values.length / columns;
  const kept = Float32Array.from(
    { length: rows * apart.length },
    (_, i) => values[Math.floor(i / apart.length) * columns + apart[i % apart.length]],
  );
  const packed = quantize(kept, [rows, apart.length], schemes.get("bf16"));
  return { role: `${role}.apart`, packed, report: { relativeMse: 0, notes: { columns: apart.length } } };
}

function withoutColumns(values: Float32Array, columns: number, apart: readonly number[]): Float32Array {
  const rest = values.slice();
  for (let row = 0; row < rest.length; row += columns) for (const column of apart) rest[row + column] = 0;
  return rest;
}

/** Statistics of an input whose channels `apart` are 0. */
export function withoutChannels(statistics: InputStatistics, apart: readonly number[]): InputStatistics {
  if (apart.length === 0) return statistics;
  const away = new Float64Array(statistics.columns).fill(1);
  for (const column of apart) away[column] = Number.POSITIVE_INFINITY;
  return scaledStatistics(statistics, away);
}
