/**
 * The calibrated way through a model: embed the calibration windows, then layer by layer see the inputs of its linear maps,
 * transform, quantize, keep the finished layer on disk, and let the windows through to the next. In memory are the hidden
 * states of the windows, one layer and the statistics of its inputs.
 */
import type { Backend } from "../kernels/index.js";
import {
  createLayerRunner,
  type LayerRunner,
  type LayerWeights,
  type LinearRecords,
  readWeights,
} from "../models/index.js";
import { dequantize, type PackedTensor } from "../tensor/index.js";
import type { ArtifactStore } from "./artifacts.js";
import { calibrationWindows, observeHead } from "./calibration.js";
import { OriginalPath } from "./drift.js";
import { plainWeights, readAll } from "./layer-weights.js";
import { makeMaps, quantizeAll } from "./linear-maps.js";
import { makeLayer } from "./make-layer.js";
import type { QuantizePlan } from "./quantize-plan.js";
import type { RowsRunner } from "./row-threads.js";
import { needsAtLeast } from "./statistics.js";
import type { Unit } from "./units.js";

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
      } else if (missing[index]) {
        const onStage = (stage: string) => onUnit(unit, stage);
        const made = await makeLayer({ tools, backend, unit, hidden, original, onStage });
        await store.put(unit.key, made.finished, made.linears);
        hidden = made.hidden;
      } else {
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
