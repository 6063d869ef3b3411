/**
 * The rescalings of a recipe, done to one layer: channels of an input are shifted and divided, x' = (x - z) / s, and the layer
 * computes what it did before. What reads the input takes W diag(s) and the bias b + W z; what makes it is divided, or, where
 * nothing before can be, the input itself as it comes.
 */
import type { Backend } from "../kernels/index.js";
import {
  type LayerRunner,
  type LinearGroup,
  type LinearRecord,
  type LinearRecords,
  type StepRecord,
  stepKinds,
} from "../models/index.js";
import { dequantize, quantize } from "../tensor/index.js";
import { divideRows, scaleColumns } from "./fold.js";
import { roundingOf } from "./input-rounding.js";
import type { PlannedTensor } from "./plan.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { ChosenActivation, ChosenTransform } from "./read-recipe.js";
import { type InputStatistics, scaledStatistics, shiftedStatistics } from "./statistics.js";
import type { Consumer, TransformJob, TransformOutcome } from "./transform.js";

export interface LayerAtHand {
  readonly plan: QuantizePlan;
  readonly backend: Backend;
  readonly runner: LayerRunner;
  /** Before the roles of its weights: "layers.3". */
  readonly name: string;
  /** By full role; changed by the rescalings. */
  readonly values: Map<string, Float32Array>;
  /** Of every input, by the first role that reads it; changed with it. */
  readonly statistics: Map<string, InputStatistics>;
}

export interface Rescaled {
  /** What the transforms noted, by role. */
  readonly notes: ReadonlyMap<string, Readonly<Record<string, number>>>;
  /** Maps whose inputs are rescaled as they come. */
  readonly linears: LinearRecords;
}

/** Does every rescaling of the recipe to every input that its pattern takes. */
export function rescaleLayer(layer: LayerAtHand): Rescaled {
  const { plan, name, values, statistics } = layer;
  const { architecture, config, recipe } = plan;
  const notes = new Map<string, Readonly<Record<string, number>>>();
  const linears: Record<string, LinearRecord> = {};
  for (const chosen of recipe.transforms) {
    for (const group of architecture.parts.linears(config)) {
      const known = statistics.get(group.roles[0]);
      const maps = mapsOf(plan, name, group);
      const online = chosen.transform.online?.(chosen.options) ?? false;
      if (!known || !maps.every((map) => fits(chosen.pattern, map)) || !(group.producer || online)) continue;
      const outcome = chosenFor(layer, chosen, group, maps, known);
      if (!outcome) continue;
      const { scales, shift } = outcome;
      for (const { spec } of maps) {
        const role = spec?.role ?? "";
        changeReader(values, role, outcome);
        notes.set(role, { ...notes.get(role), ...outcome.notes });
        if (group.producer) continue;
        const { input = [], ...rest } = linears[role] ?? plan.linears[role] ?? {};
        linears[role] = { ...rest, input: [...input, scaleStep(outcome)] };
      }
      if (group.producer) changeProducer(values, `${name}.${group.producer.role}`, outcome);
      statistics.set(group.roles[0], scaledStatistics(shift ? shiftedStatistics(known, shift) : known, scales));
    }
  }
  return { notes, linears };
}

const fits = (pattern: RegExp, { name, spec }: PlannedTensor): boolean =>
  pattern.test(name) || pattern.test(spec?.role ?? "");

function mapsOf({ tensors }: QuantizePlan, name: string, { roles }: LinearGroup): readonly PlannedTensor[] {
  const full = roles.map((role) => `${name}.${role}`);
  return tensors.filter(({ spec }) => spec && full.includes(spec.role));
}

/** x' = (x - z) / s of an outcome. */
function scaleStep({ scales, shift }: TransformOutcome): StepRecord {
  const factors = Array.from(scales, (s) => Math.fround(1 / s));
  return { kind: "scale", factors, ...(shift && { shifts: Array.from(shift, Math.fround) }) };
}

/** W diag(s), and b + W z. */
function changeReader(values: Map<string, Float32Array>, role: string, { scales, shift }: TransformOutcome): void {
  const weight = values.get(role) as Float32Array;
  const [columns, bias] = [scales.length, values.get(`${role}.bias`)];
  if (shift && bias) {
    const moved = bias.map((b, row) => {
      let sum = b;
      for (let j = 0; j < columns; j++) sum += weight[row * columns + j] * shift[j];
      return sum;
    });
    values.set(`${role}.bias`, moved);
  }
  values.set(role, scaleColumns(weight, scales));
}

/** The rows, or the gain, divided by s; the bias (b - z) / s. */
function changeProducer(values: Map<string, Float32Array>, role: string, { scales, shift }: TransformOutcome): void {
  const [weight, bias] = [values.get(role), values.get(`${role}.bias`)];
  if (weight) values.set(role, divideRows(weight, scales));
  if (bias) values.set(`${role}.bias`, divideRows(shift ? bias.map((b, i) => b - shift[i]) : bias, scales));
}

function chosenFor(
  layer: LayerAtHand,
  { transform, options }: ChosenTransform,
  { producer }: LinearGroup,
  maps: readonly PlannedTensor[],
  statistics: InputStatistics,
): TransformOutcome | undefined {
  const { name, values, runner } = layer;
  const consumers = maps.map(({ spec, scheme, shape }): Consumer => {
    const role = spec?.role ?? "";
    const rounded = (numbers: Float32Array) => dequantize(quantize(numbers, shape, scheme));
    return { role, shape, values: values.get(role) as Float32Array, rounded };
  });
  const passes = !producer || (producer.shifts && values.has(`${name}.${producer.role}.bias`));
  const job: TransformJob = {
    consumers,
    statistics,
    canShift: passes && consumers.every(({ role }) => values.has(`${role}.bias`)),
    outputError: (errors) => squaredOutput(runner, errors, statistics),
    roundingError: roundingError(layer, maps, consumers, statistics),
  };
  return transform.choose(job, options);
}

/** E||E x||^2: trace of E H E^T, the product with H on the backend. */
function squaredOutput({ products }: LayerRunner, errors: Float32Array, statistics: InputStatistics): number {
  const { hessian, columns, meanSquare } = statistics;
  let sum = 0;
  if (!hessian) {
    for (let i = 0; i < errors.length; i++) sum += errors[i] * errors[i] * meanSquare[i % columns];
    return sum;
  }
  const product = products.multiply(errors, new Float32Array(hessian), columns);
  for (let i = 0; i < errors.length; i++) sum += errors[i] * product[i];
  return sum;
}

/** Rows of the sample that candidates are judged on. */
const JUDGES = 192;

/**
 * ||Q(X') Q(W')^T - (X - z) W^T||^2 of all consumers, on a sample, with inputs and weights rounded as the recipe says: the bias
 * takes z W^T over, so that this is what rounding changes in the outputs.
 */
function roundingError(
  { plan, backend, runner }: LayerAtHand,
  maps: readonly PlannedTensor[],
  consumers: readonly Consumer[],
  before: InputStatistics,
) {
  const { columns } = before;
  const activations = roundingOf(plan, maps);
  const { multiply } = runner.products;
  const sampleOf = ({ sample }: InputStatistics) => {
    if (!sample) throw new Error("candidates are judged on a sample of the input");
    return someRows(sample, columns);
  };
  let shifted: { readonly by?: Float64Array; readonly wanted: readonly Float32Array[] } | undefined;
  const outputsFor = (shift: Float64Array | undefined) => {
    if (shifted && shifted.by === shift) return shifted.wanted;
    const x = sampleOf(shift ? shiftedStatistics(before, shift) : before);
    const wanted = consumers.map(({ values }) => multiply(x, values, columns));
    shifted = { by: shift, wanted };
    return wanted;
  };
  return ({ scales, shift }: TransformOutcome): number => {
    const now = scaledStatistics(shift ? shiftedStatistics(before, shift) : before, scales);
    const rounded = throughSteps(backend, activations ? stepsOf(activations, now) : [], sampleOf(now), columns);
    const outputs = outputsFor(shift);
    return consumers.reduce((sum, { values, rounded: roundWeight }, k) => {
      const got = multiply(rounded, roundWeight(scaleColumns(values, scales)), columns);
      const wanted = outputs[k];
      for (let i = 0; i < got.length; i++) sum += (got[i] - wanted[i]) ** 2;
      return sum;
    }, 0);
  };
}

/** Steps that change nothing of the weights, as those of a table. */
const stepsOf = ({ method, scheme, options }: ChosenActivation, statistics: InputStatistics): readonly StepRecord[] =>
  method.choose({ scheme, columns: statistics.columns, isTable: true, statistics }, options).input;

function someRows(sample: Float32Array, columns: number): Float32Array {
  const rows = sample.length / columns;
  const step = Math.max(1, Math.floor(rows / JUDGES));
  const out: Float32Array[] = [];
  for (let row = 0; row < rows && out.length < JUDGES; row += step) {
    out.push(sample.subarray(row * columns, (row + 1) * columns));
  }
  const joined = new Float32Array(out.length * columns);
  out.forEach((row, i) => {
    joined.set(row, i * columns);
  });
  return joined;
}

function throughSteps(backend: Backend, steps: readonly StepRecord[], x: Float32Array, columns: number): Float32Array {
  if (steps.length === 0) return x;
  const buffer = backend.upload(x);
  for (const record of steps) {
    const step = stepKinds.get(record.kind).prepare(backend, record, { role: "a sample", columns });
    step.run(buffer, buffer, x.length / columns);
    step.dispose();
  }
  const out = buffer.data().slice(0, x.length);
  backend.free(buffer);
  return out;
}
