/**
 * One layer of a calibrated run: what its linear maps read is observed, transforms change it, matrices are quantized group by
 * group, and the windows go through to the next layer.
 *
 * How often that takes a forward pass is up to `calibration.sequential`. "stages" halts all windows before each group of linear
 * maps, observes its input, quantizes it and goes on with what has become of it: one pass in all, unless a transform wants to see
 * the whole layer first. "layers" observes all inputs as the unquantized layer has them, then runs the quantized layer.
 */
import type { Backend } from "../kernels/index.js";
import type { HaltedText, LayerRunner, LayerWeights, LinearGroup, LinearRecords } from "../models/index.js";
import type { PackedTensor } from "../tensor/index.js";
import type { FinishedTensor } from "./artifacts.js";
import { observeLayer, observeStage } from "./calibration.js";
import type { OriginalPath } from "./drift.js";
import { quantizeTogether } from "./layer-methods.js";
import { plainWeights, readAll, stageWeights, withoutRows } from "./layer-weights.js";
import { type MadeMaps, makeMaps, quantizeAll, staysAsItIs, type Tools } from "./linear-maps.js";
import type { QuantizePlan } from "./quantize-plan.js";
import { rescaleLayer } from "./rescale.js";
import type { InputStatistics } from "./statistics.js";
import type { Unit } from "./units.js";

export interface LayerOptions {
  readonly tools: Tools;
  readonly backend: Backend;
  readonly unit: Unit;
  /** Of all windows before the layer; the memory may be taken for what comes after it. */
  readonly hidden: Float32Array[];
  readonly original?: OriginalPath;
  readonly onStage: (stage: string) => Promise<void>;
}

export interface MadeLayer {
  readonly finished: readonly FinishedTensor[];
  readonly linears: LinearRecords;
  /** The hidden states after the layer. */
  readonly hidden: Float32Array[];
}

export async function makeLayer(options: LayerOptions): Promise<MadeLayer> {
  const { tools, backend, unit, hidden, original, onStage } = options;
  const { plan: whole, runner } = tools;
  const { architecture, config, recipe } = whole;
  const { sequential } = recipe.calibration;
  const groups = architecture.parts.linears(config);
  const values = await readAll(whole, unit);
  await onStage("calibrating");
  const ahead = sequential !== "stages" || needsWholeLayer(whole, unit);
  const seen = ahead ? observe(whole, runner, unit, plainWeights(unit, values), hidden, original) : undefined;
  const statistics = new Map(seen?.statistics);
  if (recipe.transforms.length > 0) await onStage("transforming");
  const standing = { runner, name: unit.name, values, statistics };
  const { notes, linears: rescaled } = rescaleLayer({ plan: whole, backend, ...standing });
  const plan = { ...whole, linears: { ...whole.linears, ...rescaled } };
  await onStage("quantizing");
  const members = unit.tensors.filter((tensor) => !staysAsItIs(plan, tensor));
  const known = groups.flatMap(({ roles }) => {
    return roles.map((role) => [`${unit.name}.${role}`, statistics.get(roles[0]) as InputStatistics] as const);
  });
  const layer = { layer: unit.layer ?? 0, name: unit.name, tensors: members, values, hidden };
  const together = quantizeTogether(plan, runner, { ...layer, statistics: new Map(known) });
  const make = ({ roles }: LinearGroup, ofInput: InputStatistics | undefined) => {
    const own = roles.map((role) => `${unit.name}.${role}`);
    const maps = { ...unit, tensors: unit.tensors.filter(({ spec }) => spec && own.includes(spec.role)) };
    return makeMaps({ ...tools, plan }, maps, values, ofInput, notes, together);
  };
  const work = new LayerInWork(plan, runner, unit, plainWeights(unit, values), rescaled);
  let after: Float32Array[];
  if (sequential === "stages") after = await byStages(options, work, make);
  else {
    for (const made of await Promise.all(groups.map((group) => make(group, statistics.get(group.roles[0])))))
      work.take(made);
    if (sequential === "layers") await onStage("passing");
    after = sequential === "layers" || !seen ? work.run(hidden) : seen.outputs;
  }
  const done = new Set(work.finished.map(({ role }) => role));
  const rest = unit.tensors.filter(({ spec }) => spec && !done.has(spec.role) && values.has(spec.role));
  const others = await quantizeAll({ ...tools, plan }, { ...unit, tensors: rest }, values);
  return { finished: [...work.finished, ...others], linears: work.linears, hidden: after };
}

/** Whether something must know all inputs of the layer before any matrix is quantized. */
const needsWholeLayer = ({ recipe }: QuantizePlan, { tensors }: Unit): boolean =>
  recipe.transforms.length > 0 || tensors.some(({ quantizer }) => quantizer?.method.quantizeLayer);

/** A layer of which some maps have been quantized. */
class LayerInWork {
  readonly finished: FinishedTensor[] = [];
  linears: LinearRecords;
  private readonly plan: QuantizePlan;
  private readonly runner: LayerRunner;
  private readonly unit: Unit;
  private readonly weights: Map<string, PackedTensor | Float32Array>;

  constructor(plan: QuantizePlan, runner: LayerRunner, unit: Unit, weights: LayerWeights, linears: LinearRecords) {
    this.plan = plan;
    this.runner = runner;
    this.unit = unit;
    this.weights = new Map(weights);
    this.linears = linears;
  }

  /** Its maps from here on are these. */
  take(made: MadeMaps): void {
    for (const { role, packed } of made.finished) this.weights.set(role, packed);
    this.finished.push(...made.finished);
    this.linears = { ...this.linears, ...made.linears };
  }

  /** Loads the layer, or a stage of it. */
  load(stage?: number) {
    const { plan, runner, unit, weights, linears } = this;
    const groups = plan.architecture.parts.linears(plan.config);
    const wanted = stage === undefined ? weights : stageWeights(weights, unit, groups, stage);
    return runner.load(unit.layer ?? 0, wanted, { ...plan.linears, ...linears });
  }

  run(hidden: readonly Float32Array[]): Float32Array[] {
    const loaded = this.load();
    try {
      return hidden.map((states) => loaded.run(states));
    } finally {
      loaded.dispose();
    }
  }
}

/** Halts the windows before each group, observes and quantizes it; the hidden states after the layer. */
async function byStages(
  { tools: { plan, runner }, hidden, original, onStage }: LayerOptions,
  work: LayerInWork,
  make: (group: LinearGroup, statistics: InputStatistics) => Promise<MadeMaps>,
): Promise<Float32Array[]> {
  const { architecture, config, recipe } = plan;
  const texts = hidden.map((states): HaltedText => ({ hidden: states }));
  for (const [stage, group] of architecture.parts.linears(config).entries()) {
    if (stage > 0) await onStage("calibrating");
    const loaded = work.load(stage);
    let statistics: InputStatistics;
    try {
      statistics = observeStage(runner, loaded, stage, texts, recipe.needs, original);
    } finally {
      loaded.dispose();
    }
    if (stage > 0) await onStage("quantizing");
    work.take(await make(group, statistics));
  }
  await onStage("passing");
  const last = work.load(architecture.parts.stages.length - 1);
  try {
    for (const text of texts) last.runStage(architecture.parts.stages.length - 1, text);
  } finally {
    last.dispose();
  }
  return hidden;
}

/** The layer as it stands on all windows: what its maps read, and what comes out. */
function observe(
  { recipe, linears, architecture, config }: QuantizePlan,
  runner: LayerRunner,
  unit: Unit,
  weights: LayerWeights,
  hidden: readonly Float32Array[],
  original?: OriginalPath,
) {
  const groups = architecture.parts.linears(config);
  const last = groups.at(-1)?.roles ?? [];
  const needed = recipe.calibration.sequential === "none" ? weights : withoutRows(weights, unit, last);
  const loaded = runner.load(unit.layer ?? 0, needed, linears);
  try {
    return observeLayer(runner, loaded, hidden, groups, recipe.needs, original);
  } finally {
    loaded.dispose();
  }
}
