import type { Metadata, SideFile } from "../checkpoints/checkpoint.js";
import { openCheckpoint } from "../checkpoints/index.js";
import { modelSize } from "../models/index.js";
import { type PackedTensor, packedBytes } from "../tensor/index.js";
import type { TensorReport } from "./artifacts.js";
import { calibratedParts } from "./calibrated-run.js";
import { outputFiles } from "./output.js";
import type { PlannedTensor } from "./plan.js";
import { type Parts, produceTensor } from "./produce.js";
import { planQuantization, type QuantizePlan } from "./quantize-plan.js";
import type { Rehearsal } from "./rehearsal.js";
import { BLOCK_WEIGHTS, openRunner } from "./row-blocks.js";
import { settledPlan } from "./settled.js";
import type { ShortForm } from "./short-form.js";
import { startedAhead } from "./started-ahead.js";
import { type KeptParts, openWork } from "./work.js";

export interface QuantizeOptions extends ShortForm {
  /** What to read; see openCheckpoint. */
  readonly input: string;
  /** A path ending in .gguf, or a folder. */
  readonly output: string;
  /** Text to calibrate with; asked for only by methods that need it. */
  readonly calibrationText?: () => Promise<string>;
  /** An importance matrix (imatrix-file.ts) in place of calibration, for methods that need mean squares only. */
  readonly imatrix?: string;
  /** What runs the model for calibration. Default: the first one registered. */
  readonly backend?: string;
  /** Of that backend, and threads that quantize. Default 1. The output's bytes do not depend on it. */
  readonly threads?: number;
  /** A folder in which finished parts of calibrated runs stay, for runs that share some; else they are removed at the end. */
  readonly parts?: string;
  /** Everything is decided and no work has begun. */
  readonly onPlan?: (plan: QuantizePlan) => void;
  readonly onProgress?: (progress: QuantizeProgress) => void;
  /** With calibration: the hash of the text's ids, as `Making` records it. */
  readonly onCalibrationText?: (hash: string) => void;
  /** With calibration: how many of the model's parts (layers, embedding, head) earlier runs have finished. */
  readonly onParts?: (present: number, total: number) => void;
  /** With calibration: the first layer is finished and has been tried out. */
  readonly onRehearsal?: (rehearsal: Rehearsal) => void;
  /** With calibration: the run ends unfinished, and this is what the next one takes up. */
  readonly onKept?: (kept: KeptParts) => void;
  /** A tensor is finished; waits for what it returns before the next. */
  readonly onTensor?: (tensor: QuantizedTensor) => void | Promise<void>;
  /** Stops between two tensors; nothing is left behind but, with calibration, the finished parts for the next run. */
  readonly signal?: AbortSignal;
}

export interface QuantizeProgress {
  /** The tensor in work. */
  readonly name: string;
  readonly doneTensors: number;
  readonly totalTensors: number;
  readonly doneWeights: number;
  readonly totalWeights: number;
}

/** relativeMse is against the input's values (after transforms, if there are any). */
export interface QuantizedTensor extends TensorReport {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scheme: string;
  readonly bytes: number;
}

export interface QuantizeResult {
  readonly output: string;
  /** Bytes of the files that hold tensors. */
  readonly bytes: number;
  /** Bits of tensor data in the output for each number in it. */
  readonly bitsPerWeight: number;
  readonly seconds: number;
  /** With calibration: how many of the model's parts (layers, embedding, head) earlier runs had finished. */
  readonly takenUp?: number;
  readonly tensors: readonly QuantizedTensor[];
}

export async function quantizeModel(options: QuantizeOptions): Promise<QuantizeResult> {
  const begin = performance.now();
  const plan = await planQuantization(options);
  const { checkpoint } = plan;
  options.onPlan?.(plan);
  const work = plan.calibrated ? await openWork(options.output, options.parts) : undefined;
  let finished = false;
  try {
    let takenUp: number | undefined;
    const onParts = (present: number, total: number) => {
      takenUp = present;
      options.onParts?.(present, total);
    };
    const parts = work && (await calibratedParts(plan, { ...options, onParts }, work));
    const settled = parts ? await settledPlan(plan, parts) : plan;
    const { tensors } = settled;
    const { metadata, sideFiles } = await outputFiles(settled, parts?.text);
    const reports = await writeTensors(settled, options, metadata, sideFiles, parts);
    finished = true;
    const output = await openCheckpoint(options.output);
    const { bytes, bitsPerWeight } = modelSize(output);
    const sizes = new Map(output.tensors.map((tensor) => [tensor.name, tensor.bytes]));
    await output.close();
    const seconds = (performance.now() - begin) / 1000;
    const rows = tensors.map(({ name, shape, scheme }, index) => {
      return { name, shape, scheme: scheme.name, bytes: sizes.get(name) ?? 0, ...reports[index] };
    });
    return { output: options.output, bytes, bitsPerWeight, seconds, takenUp, tensors: rows };
  } finally {
    const kept = await work?.close(finished);
    if (kept) options.onKept?.(kept);
    await checkpoint.close();
  }
}

const weightsOf = (tensor: PlannedTensor) => tensor.shape.reduce((a, b) => a * b, 1);

/** Produces and writes every planned tensor; their errors in order. */
async function writeTensors(
  plan: QuantizePlan,
  { input, output, onProgress, onTensor, signal, threads = 1 }: QuantizeOptions,
  metadata: Metadata,
  sideFiles: readonly SideFile[],
  parts: Parts | undefined,
): Promise<TensorReport[]> {
  const { container, tensors } = plan;
  const reports: TensorReport[] = [];
  const totalWeights = tensors.reduce((sum, tensor) => sum + weightsOf(tensor), 0);
  let doneWeights = parts ? totalWeights : 0;
  const report = (name: string, doneTensors: number) =>
    onProgress?.({ name, doneTensors, totalTensors: tensors.length, doneWeights, totalWeights });
  const runner = await openRunner(parts ? 1 : threads);
  const take = startedAhead(
    tensors.length,
    (index) => produceTensor(plan, tensors[index], parts, runner),
    (index) => weightsOf(tensors[index]),
    threads === 1 ? 0 : threads * BLOCK_WEIGHTS,
  );
  const content = {
    metadata,
    tensors,
    async produce(_: unknown, index: number): Promise<PackedTensor> {
      signal?.throwIfAborted();
      report(tensors[index].name, index);
      const { packed, report: found } = await take(index);
      reports[index] = found;
      const { name, shape, scheme } = tensors[index];
      await onTensor?.({ name, shape, scheme: scheme.name, bytes: packedBytes(packed), ...found });
      if (!parts) doneWeights += weightsOf(tensors[index]);
      // Lets signals and timers in between two tensors.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      return packed;
    },
  };
  try {
    await container.write(output, content, { inputs: [input], sideFiles });
  } finally {
    await runner.close();
  }
  report("", tensors.length);
  return reports;
}
