/** A plan tried out on the first layer in a folder of its own, and how long that took. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, backends, createBackend, productsOn } from "../kernels/index.js";
import { openArtifacts } from "./artifacts.js";
import { calibrationOf, keysOf, rehearseUnit } from "./calibrated-run.js";
import { makeUnits } from "./pipeline.js";
import { precheck } from "./precheck.js";
import type { QuantizeOptions } from "./quantize.js";
import { planQuantization, type QuantizePlan } from "./quantize-plan.js";
import type { Rehearsal } from "./rehearsal.js";
import { openRunner } from "./row-blocks.js";
import type { Unit } from "./units.js";

/** A plan whose first layer has been through everything that awaits the others. */
export interface TriedPlan {
  readonly plan: QuantizePlan;
  readonly rehearsal: Rehearsal;
  /** What the first layer took; with calibration only. */
  readonly layerSeconds?: LayerSeconds;
}

/** Seconds of seeing a layer's inputs and of passing it, for one window each, of its transforms, and of choosing its codes. */
export interface LayerSeconds {
  readonly calibrating: number;
  readonly transforming: number;
  readonly quantizing: number;
  readonly passing: number;
}

/** Plans, and does the first layer (with few windows of text) in a folder that is removed again. */
export async function tryQuantization(options: QuantizeOptions): Promise<TriedPlan> {
  const plan = await planQuantization(options);
  try {
    await precheck(plan, options, plan.calibrated ? 1 : 0);
    const backend = await createBackend(options.backend ?? backends.names[0], { threads: options.threads });
    try {
      if (plan.calibrated) return await tryCalibrated(plan, options, backend);
      const tensors = plan.tensors.filter(({ spec }) => spec?.role.startsWith("layers.0."));
      const ids = Array.from({ length: Math.min(64, plan.config.context) }, (_, i) => i % plan.config.vocabularySize);
      return { plan, rehearsal: await rehearseUnit(plan, backend, { layer: 0, tensors }, undefined, ids) };
    } finally {
      await backend.dispose();
    }
  } finally {
    await plan.checkpoint.close();
  }
}

/** Windows that the first layer sees: what is done once for all of them counts for each. */
const WINDOWS = 4;
/** A layer that takes less is done twice. */
const FEW_SECONDS = 10;
const NONE: LayerSeconds = { calibrating: 0, transforming: 0, quantizing: 0, passing: 0 };

async function tryCalibrated(plan: QuantizePlan, options: QuantizeOptions, backend: Backend): Promise<TriedPlan> {
  const { ids, text, units } = await calibrationOf(plan, options);
  const windows = Math.min(WINDOWS, plan.recipe.calibration.windows);
  const short = { ...plan, recipe: { ...plan.recipe, calibration: { ...plan.recipe.calibration, windows } } };
  const first = units.findIndex(({ layer }) => layer !== undefined);
  const wanted = units[first];
  // An untied embedding is quantized before the layers and feeds them.
  const needed = units.slice(0, first + 1);
  const folder = await mkdtemp(join(tmpdir(), "bitloom-plan-"));
  const rows = await openRunner(options.threads, productsOn(backend));
  try {
    const store = await openArtifacts(folder);
    const seconds = { ...NONE };
    let [now, since]: [keyof LayerSeconds | undefined, number] = [undefined, 0];
    const enter = (stage: keyof LayerSeconds | undefined) => {
      if (now) seconds[now] += (performance.now() - since) / 1000;
      [now, since] = [stage, performance.now()];
    };
    const onUnit = async (unit: Unit, stage: string) => {
      options.signal?.throwIfAborted();
      enter(unit.name === wanted.name ? (stage as keyof LayerSeconds) : undefined);
    };
    const setting = { plan: short, backend, ids, store, rows, onUnit };
    let tried = needed;
    const begin = performance.now();
    await makeUnits({ ...setting, units: tried });
    enter(undefined);
    // What runs for the first time is compiled on the way: nothing to many seconds, much to a few.
    if (performance.now() - begin < FEW_SECONDS * 1000) {
      tried = needed.map((unit) => ({ ...unit, key: `${unit.key}-again` }));
      Object.assign(seconds, NONE);
      await makeUnits({ ...setting, units: tried });
      enter(undefined);
    }
    const rehearsal = await rehearseUnit(short, backend, wanted, { store, keys: keysOf(tried), text }, ids);
    const { calibrating, passing } = seconds;
    const layerSeconds = { ...seconds, calibrating: calibrating / windows, passing: passing / windows };
    return { plan, rehearsal, layerSeconds };
  } finally {
    await rows.close();
    await rm(folder, { recursive: true, force: true });
  }
}
