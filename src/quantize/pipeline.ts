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
import { relativeSquaredError } from "./errors.js";
import { divideRows, scaleColumns } from "./fold.js";
import { roundInput } from "./input-rounding.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize.js";
import { type InputStatistics, scaledStatistics } from "./statistics.js";
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
  readonly onUnit: (unit: Unit, stage: string) => Promise<void>;
}

/** The units of a plan with the names of their artifacts. `base` stands for input, text and version. */
export function unitsOf({ tensors, architecture, config, recipe }: QuantizePlan, base: string): readonly Unit[] {
  const { seed, calibration, json } = recipe;
  const others = json.steps.filter((step) => !("quantize" in step));
  const units: Unit[] = [];
  const add = (name: string, members: readonly PlannedTensor[], layer?: number) => {
    const before = calibration.sequential === "none" ? "" : (units.at(-1)?.key ?? "");
    const members_ = members.map(({ spec, scheme, quantizer }) => [spec?.role, scheme.name, quantizer?.json]);
    const key = hashOf([base, seed, calibration, others, recipe.needs, name, members_, before]);
    if (members.length > 0) units.push({ name, layer, tensors: members, key });
  };
  const roleOf = (tensor: PlannedTensor) => tensor.spec?.role ?? "";
  const only = (role: string) => tensors.filter((tensor) => roleOf(tensor) === role && tensor.quantizer);
  const head = architecture.parts.head?.role(config);
  if (head !== "embedding") add("embedding", only("embedding"));
  for (let layer = 0; layer < config.layers; layer++) {
    const inside = tensors.filter((tensor) => roleOf(tensor).startsWith(`layers.${layer}.`));
    add(`layers.${layer}`, inside, layer);
  }
  if (head !== undefined) add("head", only(head));
  return units;
}

/** Makes the units that the store lacks. */
export async function makeUnits(options: PipelineOptions): Promise<void> {
  const { plan, backend, store, units, onUnit } = options;
  const { architecture, config, recipe } = plan;
  const missing: boolean[] = [];
  for (const unit of units) missing.push(!(await store.has(unit.key)));
  const last = missing.lastIndexOf(true);
  if (last < 0) return;
  const windows = calibrationWindows(options.ids, recipe.calibration);
  const runner = createLayerRunner({ backend, architecture, config, window: recipe.calibration.window });
  try {
    let hidden: Float32Array[] | undefined;
    for (const [index, unit] of units.slice(0, last + 1).entries()) {
      if (unit.name === "embedding") {
        await onUnit(unit, "quantizing");
        if (missing[index]) await store.put(unit.key, await quantizeAll(plan, runner, unit, await readAll(plan, unit)));
        continue;
      }
      hidden ??= runner.embed(await embeddingFor(options), windows);
      if (unit.layer === undefined) {
        await onUnit(unit, "calibrating");
        const before = await readRoles(plan, architecture.parts.head?.before ?? []);
        const statistics = observeHead(runner, before, hidden, recipe.needs);
        await onUnit(unit, "quantizing");
        const { finished, linears } = await makeMaps(plan, runner, unit, await readAll(plan, unit), statistics);
        await store.put(unit.key, finished, linears);
      } else if (missing[index]) hidden = await makeLayer(options, runner, unit, hidden);
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
    }
  } finally {
    runner.dispose();
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
  runner: LayerRunner,
  unit: Unit,
  hidden: readonly Float32Array[],
): Promise<Float32Array[]> {
  const { plan, store, onUnit } = options;
  const { architecture, config, recipe } = plan;
  const groups = architecture.parts.linears(config);
  const values = await readAll(plan, unit);
  await onUnit(unit, "calibrating");
  const weights = plainWeights(unit, values);
  const first = observe(runner, unit, weights, hidden, groups, plan);
  const statistics = new Map(first.statistics);
  const notes = applyTransforms(plan, runner, unit, values, statistics, groups);
  await onUnit(unit, "quantizing");
  const finished: FinishedTensor[] = [];
  const current = plainWeights(unit, values);
  let linears: LinearRecords = {};
  for (const [index, group] of groups.entries()) {
    if (recipe.calibration.sequential === "stages" && index > 0) {
      const now = { ...plan, linears: { ...plan.linears, ...linears } };
      const again = observe(runner, unit, current, hidden, [group], now);
      statistics.set(group.roles[0], again.statistics.get(group.roles[0]) as InputStatistics);
    }
    const roles = group.roles.map((role) => `${unit.name}.${role}`);
    const maps = { ...unit, tensors: unit.tensors.filter(({ spec }) => spec && roles.includes(spec.role)) };
    const made = await makeMaps(plan, runner, maps, values, statistics.get(group.roles[0]), notes);
    for (const tensor of made.finished) current.set(tensor.role, tensor.packed);
    finished.push(...made.finished);
    linears = { ...linears, ...made.linears };
  }
  const done = new Set(finished.map(({ role }) => role));
  const rest = unit.tensors.filter(({ spec }) => spec && !done.has(spec.role) && values.has(spec.role));
  finished.push(...(await quantizeAll(plan, runner, { ...unit, tensors: rest }, values)));
  await store.put(unit.key, finished, linears);
  if (recipe.calibration.sequential === "none") return first.outputs;
  return advance(runner, unit, current, hidden, { ...plan.linears, ...linears });
}

type Notes = ReadonlyMap<string, Readonly<Record<string, number>>>;

/** Rounds the input that the maps of `unit` share, quantizes their matrices, and makes up for the errors. */
async function makeMaps(
  plan: QuantizePlan,
  runner: LayerRunner,
  unit: Unit,
  values: Values,
  statistics: InputStatistics | undefined,
  notes: Notes = new Map(),
): Promise<{ readonly finished: FinishedTensor[]; readonly linears: LinearRecords }> {
  const before = new Map(values);
  const rounded = roundInput(plan, unit.tensors, values, statistics);
  const known = rounded ? rounded.statistics : statistics;
  const roles = unit.tensors.map(({ spec }) => spec?.role ?? "");
  const moved = new Set(roles.filter((role) => values.get(role) !== before.get(role)));
  const byRole = known && new Map(roles.map((role) => [role, known]));
  const noted: Notes = new Map(roles.map((role) => [role, { ...notes.get(role), ...rounded?.notes }]));
  const made = await quantizeAll(plan, runner, unit, values, byRole, noted, moved);
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
  { recipe, linears }: QuantizePlan,
) {
  const loaded = runner.load(unit.layer ?? 0, weights, linears);
  try {
    return observeLayer(runner, loaded, hidden, groups, recipe.needs);
  } finally {
    loaded.dispose();
  }
}

/** Folds every transform of the recipe into `values` and the statistics; what they noted, by role. */
function applyTransforms(
  { recipe, tensors }: QuantizePlan,
  runner: LayerRunner,
  unit: Unit,
  values: Values,
  statistics: Map<string, InputStatistics>,
  groups: readonly LinearGroup[],
): Map<string, Record<string, number>> {
  const notes = new Map<string, Record<string, number>>();
  const plannedAs = (role: string) => tensors.find(({ spec }) => spec?.role === role) as PlannedTensor;
  for (const { transform, pattern, options } of recipe.transforms) {
    for (const { roles, producer } of groups) {
      const known = statistics.get(roles[0]);
      const full = roles.map((role) => `${unit.name}.${role}`);
      if (!producer || !known || !full.every((role) => fits(pattern, plannedAs(role)))) continue;
      const consumers = full.map((role) => {
        const { scheme, shape } = plannedAs(role);
        const rounded = (numbers: Float32Array) => dequantize(quantize(numbers, shape, scheme));
        return { role, shape, values: values.get(role) as Float32Array, rounded };
      });
      const outputError = (errors: Float32Array) => backendError(runner, errors, known);
      const outcome = transform.choose({ consumers, statistics: known, outputError }, options);
      if (!outcome) continue;
      const { scales } = outcome;
      for (const { role, values: numbers } of consumers) {
        values.set(role, scaleColumns(numbers, scales));
        notes.set(role, { ...notes.get(role), ...outcome.notes });
      }
      for (const role of [`${unit.name}.${producer.role}`, `${unit.name}.${producer.role}.bias`]) {
        const numbers = values.get(role);
        if (numbers) values.set(role, divideRows(numbers, scales));
      }
      statistics.set(roles[0], scaledStatistics(known, scales));
    }
  }
  return notes;
}

const fits = (pattern: RegExp, { name, spec }: PlannedTensor): boolean =>
  pattern.test(name) || pattern.test(spec?.role ?? "");

/** E||E x||^2: trace of E H E^T, the product with H on the backend. */
function backendError(runner: LayerRunner, errors: Float32Array, statistics: InputStatistics): number {
  const { hessian, columns, meanSquare } = statistics;
  let sum = 0;
  if (!hessian) {
    for (let i = 0; i < errors.length; i++) sum += errors[i] * errors[i] * meanSquare[i % columns];
    return sum;
  }
  const product = runner.products.multiply(errors, Float32Array.from(hessian), columns);
  for (let i = 0; i < errors.length; i++) sum += errors[i] * product[i];
  return sum;
}

/** Quantizes the tensors of a unit, one after another. */
async function quantizeAll(
  { checkpoint, recipe }: QuantizePlan,
  { products }: LayerRunner,
  unit: Unit,
  values: Values,
  statistics: ReadonlyMap<string, InputStatistics> = new Map(),
  notes: Notes = new Map(),
  moved: ReadonlySet<string> = new Set(),
): Promise<FinishedTensor[]> {
  const finished: FinishedTensor[] = [];
  for (const { spec, scheme, shape, source, quantizer } of unit.tensors) {
    const role = spec?.role ?? "";
    const numbers = values.get(role);
    if (!spec || !numbers) continue;
    // Numbers that lie in the scheme already are kept as they are, if nothing has moved them.
    const isStill = recipe.transforms.length === 0 && !moved.has(role);
    const isThere = source?.scheme?.name === scheme.name && isStill;
    const original = isThere && shape.length > 1 ? await readWeight(checkpoint, spec) : undefined;
    if (original || !quantizer) {
      const packed = original ?? quantize(numbers, shape, scheme);
      finished.push({ role, packed, report: { relativeMse: relativeSquaredError(numbers, dequantize(packed)) } });
      continue;
    }
    const begin = performance.now();
    const known = statistics.get(role);
    const job = { scheme, values: numbers, shape, statistics: known, seed: recipe.seed, products };
    const outcome = quantizer.method.quantize(job, quantizer.options);
    const seconds = (performance.now() - begin) / 1000;
    const noted = { ...outcome, notes: { ...notes.get(role), ...outcome.notes } };
    const report = reportOf(job, noted, quantizer.method.name, seconds);
    finished.push({ role, packed: outcome.packed, report });
  }
  return finished;
}

const F32 = schemes.get("f32");

const plain = (values: Float32Array, shape: readonly number[]): PackedTensor => quantize(values, shape, F32);
