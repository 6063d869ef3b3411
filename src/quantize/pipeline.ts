/**
 * The calibrated way through a model: embed the calibration windows, then layer by layer see the inputs of its linear maps,
 * transform, quantize, keep the finished layer on disk, and let the windows through to the next. In memory are the hidden
 * states of the windows, one layer and the statistics of its inputs.
 */
import { schemes } from "../formats/index.js";
import type { Backend } from "../kernels/index.js";
import {
  createLayerRunner,
  type LayerRunner,
  type LayerWeights,
  type LinearGroup,
  type LinearRecords,
  readVector,
  readWeight,
  readWeights,
} from "../models/index.js";
import { dequantize, type PackedTensor, quantize } from "../tensor/index.js";
import { type ArtifactStore, type FinishedTensor, hashOf } from "./artifacts.js";
import { calibrationWindows, observeHead, observeLayer } from "./calibration.js";
import { compensated } from "./compensated.js";
import { OriginalPath } from "./drift.js";
import { relativeSquaredError } from "./errors.js";
import { roundInput, roundingOf } from "./input-rounding.js";
import { quantizeTogether, type TogetherOutcome } from "./layer-methods.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { Quantizer } from "./read-recipe.js";
import { rescaleLayer } from "./rescale.js";
import { quantizeWeight } from "./row-blocks.js";
import type { RowsRunner } from "./row-threads.js";
import { type InputStatistics, needsAtLeast } from "./statistics.js";
import { reportOf } from "./tensor-report.js";

/** A part of the model that is finished and stored as a whole. */
export interface Unit {
  /** "embedding", "layers.3" or "head". */
  readonly name: string;
  readonly layer?: number;
  readonly tensors: readonly PlannedTensor[];
  readonly key: string;
}

export interface PipelineOptions {
  readonly plan: QuantizePlan;
  readonly backend: Backend;
  readonly ids: readonly number[];
  readonly store: ArtifactStore;
  readonly units: readonly Unit[];
  /** Where matrices are quantized. */
  readonly rows: RowsRunner;
  readonly onUnit: (unit: Unit, stage: string) => Promise<void>;
  /** A unit is in the store and those before it are, too. */
  readonly onStored?: (unit: Unit) => Promise<void>;
}

/** What the units of a run are made with. */
interface Tools {
  readonly plan: QuantizePlan;
  readonly runner: LayerRunner;
  readonly rows: RowsRunner;
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

/** Makes the units that the store lacks. */
export async function makeUnits(options: PipelineOptions): Promise<void> {
  const { plan, backend, store, units, rows, onUnit, onStored } = options;
  const { architecture, config, recipe } = plan;
  const missing: boolean[] = [];
  for (const unit of units) missing.push(!(await store.has(unit.key)));
  const last = missing.lastIndexOf(true);
  if (last < 0) return;
  const windows = calibrationWindows(options.ids, recipe.calibration, architecture.kind);
  const runner = createLayerRunner({ backend, architecture, config, window: recipe.calibration.window });
  const tools = { plan, runner, rows };
  try {
    let hidden: Float32Array[] | undefined;
    let original: OriginalPath | undefined;
    for (const [index, unit] of units.slice(0, last + 1).entries()) {
      if (unit.name === "embedding") {
        await onUnit(unit, "quantizing");
        if (missing[index]) await store.put(unit.key, await quantizeAll(tools, unit, await readAll(plan, unit)));
        await onStored?.(unit);
        continue;
      }
      if (!hidden) {
        hidden = runner.embed(await embeddingFor(options), windows);
        const followed = needsAtLeast(recipe.needs, "drift") && recipe.calibration.sequential !== "none";
        if (followed)
          original = new OriginalPath(runner.embed(await readRoles(plan, architecture.parts.before), windows));
      }
      if (original && unit.layer !== undefined) await passOriginal(plan, runner, unit, original);
      if (unit.layer === undefined) {
        await onUnit(unit, "calibrating");
        const before = await readRoles(plan, architecture.parts.head?.before ?? []);
        const statistics = observeHead(runner, before, hidden, recipe.needs);
        await onUnit(unit, "quantizing");
        const { finished, linears } = await makeMaps(tools, unit, await readAll(plan, unit), statistics);
        await store.put(unit.key, finished, linears);
      } else if (missing[index]) hidden = await makeLayer(options, tools, unit, hidden, original);
      else {
        await onUnit(unit, "passing");
        hidden = advance(
          runner,
          unit,
          await passingWeights(options, unit),
          hidden,
          await passingLinears(options, unit),
        );
      }
      await onStored?.(unit);
    }
  } finally {
    runner.dispose();
  }
}

/** Lets the original model's states through a layer as it was. */
async function passOriginal(plan: QuantizePlan, runner: LayerRunner, unit: Unit, original: OriginalPath) {
  const loaded = runner.load(unit.layer ?? 0, plainWeights(unit, await readAll(plan, unit)), plan.linears);
  try {
    original.pass(loaded, plan.architecture.parts.linears(plan.config));
  } finally {
    loaded.dispose();
  }
}

type Values = Map<string, Float32Array>;

/** The weights of a unit as f32 numbers, by role. */
async function readAll({ checkpoint }: QuantizePlan, unit: Unit): Promise<Values> {
  const values: Values = new Map();
  for (const { spec } of unit.tensors) {
    if (!spec) continue;
    const packed = spec.shape.length > 1 ? await readWeight(checkpoint, spec) : undefined;
    const numbers = packed ? dequantize(packed) : await readVector(checkpoint, spec);
    if (numbers) values.set(spec.role, numbers);
  }
  return values;
}

function readRoles({ checkpoint, architecture, config }: QuantizePlan, roles: readonly string[]) {
  const specs = architecture.weights(config).filter(({ role }) => roles.includes(role));
  return readWeights(checkpoint, specs);
}

/** What embeds the windows: the quantized table if it is finished before the layers, else the original. */
async function embeddingFor({ plan, units, store }: PipelineOptions): Promise<LayerWeights> {
  const { architecture, recipe } = plan;
  const weights = await readRoles(plan, architecture.parts.before);
  const unit = units.find(({ name }) => name === "embedding");
  if (!unit || recipe.calibration.sequential === "none") return weights;
  const [{ packed }] = await store.get(unit.key, "embedding");
  return weights.set("embedding", packed);
}

/** The layer that the windows pass through when it has been made before. */
async function passingWeights({ plan, store }: PipelineOptions, unit: Unit): Promise<LayerWeights> {
  const original = plan.recipe.calibration.sequential === "none";
  const weights = new Map<string, PackedTensor | Float32Array>();
  if (original) return plainWeights(unit, await readAll(plan, unit));
  for (const { role, packed } of await store.get(unit.key)) {
    weights.set(role, packed.shape.length > 1 ? packed : dequantize(packed));
  }
  return weights;
}

/** What its linear maps do besides multiplying. */
async function passingLinears({ plan, store }: PipelineOptions, unit: Unit): Promise<LinearRecords> {
  const original = plan.recipe.calibration.sequential === "none";
  return original ? plan.linears : { ...plan.linears, ...(await store.linears(unit.key)) };
}

function plainWeights(unit: Unit, values: Values): Map<string, PackedTensor | Float32Array> {
  const weights = new Map<string, PackedTensor | Float32Array>();
  for (const { spec } of unit.tensors) {
    const numbers = spec && values.get(spec.role);
    if (spec && numbers) weights.set(spec.role, spec.shape.length > 1 ? plain(numbers, spec.shape) : numbers);
  }
  return weights;
}

function advance(
  runner: LayerRunner,
  unit: Unit,
  weights: LayerWeights,
  hidden: readonly Float32Array[],
  linears: LinearRecords,
): Float32Array[] {
  const loaded = runner.load(unit.layer ?? 0, weights, linears);
  try {
    return hidden.map((states) => loaded.run(states));
  } finally {
    loaded.dispose();
  }
}

/** Calibrates, transforms and quantizes one layer; the hidden states after it. */
async function makeLayer(
  options: PipelineOptions,
  { runner, rows }: Tools,
  unit: Unit,
  hidden: readonly Float32Array[],
  original?: OriginalPath,
): Promise<Float32Array[]> {
  const { plan: whole, backend, store, onUnit } = options;
  const { architecture, config, recipe } = whole;
  const groups = architecture.parts.linears(config);
  const values = await readAll(whole, unit);
  await onUnit(unit, "calibrating");
  const weights = plainWeights(unit, values);
  const first = observe(runner, unit, weights, hidden, groups, whole, original);
  const statistics = new Map(first.statistics);
  if (recipe.transforms.length > 0) await onUnit(unit, "transforming");
  const { notes, linears: rescaled } = rescaleLayer({
    plan: whole,
    backend,
    runner,
    name: unit.name,
    values,
    statistics,
  });
  const plan = { ...whole, linears: { ...whole.linears, ...rescaled } };
  const tools = { plan, runner, rows };
  await onUnit(unit, "quantizing");
  const members = unit.tensors.filter((tensor) => !staysAsItIs(plan, tensor));
  const known = groups.flatMap(({ roles }) => {
    return roles.map((role) => [`${unit.name}.${role}`, statistics.get(roles[0]) as InputStatistics] as const);
  });
  const standing = { layer: unit.layer ?? 0, name: unit.name, tensors: members, values, hidden };
  const together = quantizeTogether(plan, runner, { ...standing, statistics: new Map(known) });
  const finished: FinishedTensor[] = [];
  const current = plainWeights(unit, values);
  let linears: LinearRecords = rescaled;
  const make = ({ roles }: LinearGroup) => {
    const own = roles.map((role) => `${unit.name}.${role}`);
    const maps = { ...unit, tensors: unit.tensors.filter(({ spec }) => spec && own.includes(spec.role)) };
    return makeMaps(tools, maps, values, statistics.get(roles[0]), notes, together);
  };
  const take = (made: MadeMaps) => {
    for (const tensor of made.finished) current.set(tensor.role, tensor.packed);
    finished.push(...made.finished);
    linears = { ...linears, ...made.linears };
  };
  if (recipe.calibration.sequential === "stages") {
    for (const [index, group] of groups.entries()) {
      if (index > 0) {
        const now = { ...plan, linears: { ...plan.linears, ...linears } };
        const again = observe(runner, unit, current, hidden, [group], now, original);
        statistics.set(group.roles[0], again.statistics.get(group.roles[0]) as InputStatistics);
      }
      take(await make(group));
    }
  } else for (const made of await Promise.all(groups.map(make))) take(made);
  const done = new Set(finished.map(({ role }) => role));
  const rest = unit.tensors.filter(({ spec }) => spec && !done.has(spec.role) && values.has(spec.role));
  finished.push(...(await quantizeAll(tools, { ...unit, tensors: rest }, values)));
  await store.put(unit.key, finished, linears);
  if (recipe.calibration.sequential === "none") return first.outputs;
  return advance(runner, unit, current, hidden, { ...plan.linears, ...linears });
}

/** Tensors that a method for whole layers has quantized already. */
type Together = ReadonlyMap<string, TogetherOutcome>;

type Notes = ReadonlyMap<string, Readonly<Record<string, number>>>;

interface MadeMaps {
  readonly finished: FinishedTensor[];
  readonly linears: LinearRecords;
}

/** Rounds the input that the maps of `unit` share, quantizes their matrices, and makes up for the errors. */
async function makeMaps(
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

function observe(
  runner: LayerRunner,
  unit: Unit,
  weights: LayerWeights,
  hidden: readonly Float32Array[],
  groups: readonly LinearGroup[],
  { recipe, linears, architecture, config }: QuantizePlan,
  original?: OriginalPath,
) {
  const last = architecture.parts.linears(config).at(-1)?.roles ?? [];
  const needed = recipe.calibration.sequential === "none" ? weights : withoutRows(weights, unit, last);
  const loaded = runner.load(unit.layer ?? 0, needed, linears);
  try {
    const seen = observeLayer(runner, loaded, hidden, groups, recipe.needs);
    if (!original) return seen;
    const drifts = original.drifts(runner, loaded, hidden, groups);
    const moved = [...seen.statistics].map(([role, one]) => [role, { ...one, drift: drifts.get(role) }] as const);
    return { ...seen, statistics: new Map(moved) };
  } finally {
    loaded.dispose();
  }
}

/** The last maps of a layer without any outputs: nothing that is observed comes after them, and their products take long. */
function withoutRows(weights: LayerWeights, unit: Unit, roles: readonly string[]): LayerWeights {
  const fewer = new Map(weights);
  for (const role of roles.map((one) => `${unit.name}.${one}`)) {
    const whole = weights.get(role);
    if (!whole || whole instanceof Float32Array) continue;
    fewer.set(role, plain(new Float32Array(), [0, whole.shape[1]]));
    fewer.delete(`${role}.bias`);
  }
  return fewer;
}

/** Numbers that lie in the scheme already are kept as they are, if nothing has moved them. */
const staysAsItIs = ({ recipe }: QuantizePlan, { source, scheme }: PlannedTensor): boolean =>
  source?.scheme?.name === scheme.name && recipe.transforms.length === 0;

/** Quantizes the tensors of a unit. */
async function quantizeAll(
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

const F32 = schemes.get("f32");

/** Numbers as a tensor of f32, in the same memory. */
const plain = (values: Float32Array, shape: readonly number[]): PackedTensor => ({
  scheme: F32,
  shape,
  planes: { codes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) },
});
