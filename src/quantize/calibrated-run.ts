/** The run of a calibrated recipe: finished parts on disk, the first of them tried out, the others made after it. */
import { openTokenizer } from "../checkpoints/index.js";
import { InputError } from "../errors.js";
import { type Backend, backends, createBackend, productsOn } from "../kernels/index.js";
import { besideWeight } from "../models/index.js";
import { checkpointHash, hashOf } from "./artifacts.js";
import { calibrationWindows } from "./calibration.js";
import { calibrationIds } from "./calibration-text.js";
import { outputFiles } from "./output.js";
import { makeUnits } from "./pipeline.js";
import type { PlannedTensor } from "./plan.js";
import { precheck } from "./precheck.js";
import { type Parts, produceTensor } from "./produce.js";
import type { QuantizeOptions } from "./quantize.js";
import type { QuantizePlan } from "./quantize-plan.js";
import { type Rehearsal, rehearse } from "./rehearsal.js";
import { openRunner } from "./row-blocks.js";
import { settledPlan } from "./settled.js";
import { type Unit, unitsOf } from "./units.js";
import type { Work } from "./work.js";

const weightsOf = (tensor: PlannedTensor) => tensor.shape.reduce((a, b) => a * b, 1);

/** Changes whenever finished parts of older versions must not be taken up again. */
const FORM = 5;

/** Runs the calibrated pipeline, or what an earlier run has left of it; after the first layer it tries the rest of the way. */
export async function calibratedParts(plan: QuantizePlan, options: QuantizeOptions, work: Work): Promise<Parts> {
  const { tensors } = plan;
  const { onProgress, signal, threads } = options;
  const { ids, text, units } = await calibrationOf(plan, options);
  options.onCalibrationText?.(text);
  const { store } = work;
  await work.keepOnly(new Set(units.map(({ key }) => key)));
  const present = await Promise.all(units.map(({ key }) => store.has(key)));
  const missing = present.filter((there) => !there).length;
  await precheck(plan, options, missing / units.length);
  options.onParts?.(units.length - missing, units.length);
  const parts = { store, keys: keysOf(units), text };
  const backend = await createBackend(options.backend ?? backends.names[0], { threads });
  const total = tensors.reduce((sum, tensor) => sum + weightsOf(tensor), 0);
  const onUnit = async (unit: Unit, stage: string) => {
    signal?.throwIfAborted();
    const before = units.slice(0, units.indexOf(unit)).flatMap((one) => one.tensors);
    const doneWeights = before.reduce((sum, tensor) => sum + weightsOf(tensor), 0);
    const name = `${unit.name}, ${stage}`;
    onProgress?.({ name, doneTensors: before.length, totalTensors: tensors.length, doneWeights, totalWeights: total });
    await new Promise((resolve) => setTimeout(resolve));
    signal?.throwIfAborted();
  };
  let untried = units.find(({ layer }) => layer !== undefined);
  const onStored = async (unit: Unit) => {
    if (unit !== untried) return;
    untried = undefined;
    options.onRehearsal?.(await rehearseUnit(plan, backend, unit, parts, ids));
  };
  const rows = await openRunner(threads, productsOn(backend));
  try {
    await makeUnits({ plan, backend, ids, store, units, rows, onUnit, onStored });
    if (untried) await onStored(untried);
  } finally {
    await rows.close();
    await backend.dispose();
  }
  return parts;
}

/** The text's ids, a name for the text, and the parts of the run. */
export async function calibrationOf(plan: QuantizePlan, { calibrationText }: QuantizeOptions) {
  const { checkpoint, architecture, recipe } = plan;
  if (!calibrationText) {
    throw new InputError("the recipe needs a text to calibrate with", {
      kind: "no-calibration-text",
      why: `it needs ${recipe.needs} of the activations`,
      try: "--calibrate FILE",
    });
  }
  const content = await calibrationText();
  const window = architecture.kind === "encoder" ? recipe.calibration.window : undefined;
  const ids = await calibrationIds(await openTokenizer(checkpoint), content, window);
  calibrationWindows(ids, recipe.calibration, architecture.kind);
  const text = hashOf(ids);
  return { ids, text, units: unitsOf(plan, hashOf([await checkpointHash(checkpoint), text, FORM])) };
}

export const keysOf = (units: readonly Unit[]): ReadonlyMap<string, string> =>
  new Map(units.flatMap(({ tensors, key }) => tensors.map(({ spec }) => [spec?.role ?? "", key])));

export async function rehearseUnit(
  plan: QuantizePlan,
  backend: Backend,
  { layer = 0, tensors }: Pick<Unit, "layer" | "tensors">,
  parts: Parts | undefined,
  ids: readonly number[],
): Promise<Rehearsal> {
  const settled = parts ? await settledPlan(plan, parts) : plan;
  const own = new Set(tensors.map(({ spec }) => spec?.role));
  const members = settled.tensors.filter(({ spec }) => spec && own.has(besideWeight(spec.role) ?? spec.role));
  const files = await outputFiles(settled, parts?.text);
  const produce = async (planned: PlannedTensor) => (await produceTensor(settled, planned, parts)).packed;
  return rehearse({ plan, backend, layer, tensors, written: members, linears: settled.linears, files, produce, ids });
}
