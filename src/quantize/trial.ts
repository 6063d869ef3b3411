/** A plan tried out on the first layer in a folder of its own, and how long that took. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Backend, backends, createBackend, productsOn } from "../kernels/index.js";
import { openArtifacts } from "./artifacts.js";
import { calibrationOf, keysOf, rehearseUnit } from "./calibrated-run.js";
import { makeUnits, type Unit } from "./pipeline.js";
import type { QuantizeOptions } from "./quantize.js";
import { planQuantization, type QuantizePlan } from "./quantize-plan.js";
import type { Rehearsal } from "./rehearsal.js";
import { openRunner } from "./row-blocks.js";

/** A plan whose first layer has been through everything that awaits the others. */
export interface TriedPlan {
  readonly plan: QuantizePlan;
  readonly rehearsal: Rehearsal;
  /** Seconds of the first layer with one window of text: seeing its inputs, and choosing codes. With calibration only. */
  readonly layerSeconds?: { readonly calibrating: number; readonly quantizing: number };
}

/** Plans, and does the first layer (with one window of text) in a folder that is removed again. */
export async function tryQuantization(options: QuantizeOptions): Promise<TriedPlan> {
  const plan = await planQuantization(options);
  const backend = await createBackend(options.backend ?? backends.names[0], { threads: options.threads });
  const folder = await mkdtemp(join(tmpdir(), "bitloom-plan-"));
  try {
    if (plan.calibrated) return await tryCalibrated(plan, options, backend, folder);
    const tensors = plan.tensors.filter(({ spec }) => spec?.role.startsWith("layers.0."));
    const ids = Array.from({ length: Math.min(64, plan.config.context) }, (_, i) => i % plan.config.vocabularySize);
    return { plan, rehearsal: await rehearseUnit(plan, backend, { layer: 0, tensors }, undefined, ids) };
  } finally {
    await backend.dispose();
    await rm(folder, { recursive: true, force: true });
    await plan.checkpoint.close();
  }
}

async function tryCalibrated(
  plan: QuantizePlan,
  options: QuantizeOptions,
  backend: Backend,
  folder: string,
): Promise<TriedPlan> {
  const { ids, text, units } = await calibrationOf(plan, options);
  const short = { ...plan, recipe: { ...plan.recipe, calibration: { ...plan.recipe.calibration, windows: 1 } } };
  const first = units.findIndex(({ layer }) => layer !== undefined);
  const wanted = units[first];
  // An untied embedding is quantized before the layers and feeds them.
  const needed = units.slice(0, first + 1);
  const store = await openArtifacts(folder);
  const times = new Map<string, number>();
  const onUnit = async (unit: Unit, stage: string) => {
    options.signal?.throwIfAborted();
    if (unit === wanted) times.set(stage, performance.now());
  };
  const rows = await openRunner(options.threads, productsOn(backend));
  try {
    await makeUnits({ plan: short, backend, ids, store, units: needed, rows, onUnit });
  } finally {
    await rows.close();
  }
  const end = performance.now();
  const parts = { store, keys: keysOf(needed), text };
  const rehearsal = await rehearseUnit(short, backend, wanted, parts, ids);
  const quantizing = times.get("quantizing") ?? end;
  const calibrating = times.get("calibrating") ?? quantizing;
  const layerSeconds = { calibrating: (quantizing - calibrating) / 1000, quantizing: (end - quantizing) / 1000 };
  return { plan, rehearsal, layerSeconds };
}
