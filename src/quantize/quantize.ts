/** A model file in, a smaller model file out: tensor by tensor, never more than one of them in memory. */
import type { Checkpoint, Container, Metadata, SideFile } from "../checkpoints/checkpoint.js";
import { containerFor, openCheckpoint } from "../checkpoints/index.js";
import { schemes } from "../formats/index.js";
import type { Scheme } from "../formats/scheme.js";
import {
  type Architecture,
  architectureOf,
  type DecoderConfig,
  modelSize,
  readVector,
  readWeight,
  withStoredRope,
} from "../models/index.js";
import { dequantize, gatherRows, type PackedTensor, quantize } from "../tensor/index.js";
import type { QuantizationMethod } from "./method.js";
import { methods } from "./methods.js";
import { outputFiles } from "./output.js";
import { type Override, type PlannedTensor, planTensors } from "./plan.js";

export interface QuantizeOptions {
  /** What to read; see openCheckpoint. */
  readonly input: string;
  /** A path ending in .gguf, or a folder. */
  readonly output: string;
  /** Scheme of all matrices that no override names. */
  readonly scheme: string;
  readonly method?: string;
  readonly overrides?: readonly Override[];
  readonly onProgress?: (progress: QuantizeProgress) => void;
  /** Stops between two tensors; nothing is left behind. */
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

export interface QuantizedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scheme: string;
  readonly bytes: number;
  /** sum (w - w')^2 / sum w^2 against the input's values; 0 for an all-zero tensor that stays so. */
  readonly relativeMse: number;
}

export interface QuantizeResult {
  readonly output: string;
  /** Bytes of the files that hold tensors. */
  readonly bytes: number;
  /** Bits of tensor data in the output for each number in it. */
  readonly bitsPerWeight: number;
  readonly seconds: number;
  readonly tensors: readonly QuantizedTensor[];
}

/** What would be written, found without reading any tensor. */
export interface QuantizePlan {
  readonly checkpoint: Checkpoint;
  readonly architecture: Architecture;
  readonly config: DecoderConfig;
  readonly container: Container;
  readonly method: QuantizationMethod;
  readonly tensors: readonly PlannedTensor[];
}

/** Opens the input and decides everything that can be decided before work starts. The caller closes the checkpoint. */
export async function planQuantization(options: QuantizeOptions): Promise<QuantizePlan> {
  const scheme = schemes.get(options.scheme);
  const method = methods.get(options.method ?? "rtn");
  const container = containerFor(options.output);
  const checkpoint = await openCheckpoint(options.input);
  try {
    const architecture = architectureOf(checkpoint);
    const parsed = architecture.parse(checkpoint);
    const config = await withStoredRope(checkpoint, parsed, architecture.weights(parsed));
    const { overrides } = options;
    const tensors = planTensors({ checkpoint, architecture, config, container, scheme, overrides });
    return { checkpoint, architecture, config, container, method, tensors };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

export async function quantizeModel(options: QuantizeOptions): Promise<QuantizeResult> {
  const begin = performance.now();
  const plan = await planQuantization(options);
  const { checkpoint, tensors } = plan;
  try {
    const { metadata, sideFiles } = await outputFiles(plan);
    const relativeMse = await writeTensors(plan, options, metadata, sideFiles);
    const output = await openCheckpoint(options.output);
    const { bytes, bitsPerWeight } = modelSize(output);
    const sizes = new Map(output.tensors.map((tensor) => [tensor.name, tensor.bytes]));
    await output.close();
    const seconds = (performance.now() - begin) / 1000;
    const rows = tensors.map(({ name, shape, scheme }, index) => {
      return { name, shape, scheme: scheme.name, bytes: sizes.get(name) ?? 0, relativeMse: relativeMse[index] };
    });
    return { output: options.output, bytes, bitsPerWeight, seconds, tensors: rows };
  } finally {
    await checkpoint.close();
  }
}

/** Produces and writes every planned tensor; their errors in order. */
async function writeTensors(
  plan: QuantizePlan,
  { input, output, onProgress, signal }: QuantizeOptions,
  metadata: Metadata,
  sideFiles: readonly SideFile[],
): Promise<number[]> {
  const { container, tensors } = plan;
  const relativeMse: number[] = [];
  const weights = (tensor: PlannedTensor) => tensor.shape.reduce((a, b) => a * b, 1);
  const totalWeights = tensors.reduce((sum, tensor) => sum + weights(tensor), 0);
  let doneWeights = 0;
  const report = (name: string, doneTensors: number) =>
    onProgress?.({ name, doneTensors, totalTensors: tensors.length, doneWeights, totalWeights });
  const content = {
    metadata,
    tensors,
    async produce(_: unknown, index: number): Promise<PackedTensor> {
      signal?.throwIfAborted();
      report(tensors[index].name, index);
      const { packed, error } = await produceTensor(plan, tensors[index]);
      relativeMse[index] = error;
      doneWeights += weights(tensors[index]);
      // Lets signals and timers in between two tensors.
      await new Promise((resolve) => setTimeout(resolve));
      signal?.throwIfAborted();
      return packed;
    },
  };
  await container.write(output, content, { inputs: [input], sideFiles });
  report("", tensors.length);
  return relativeMse;
}

/** One tensor in its target scheme and row order, with its relative squared error. */
async function produceTensor(
  { checkpoint, config, container, method }: QuantizePlan,
  { spec, source, scheme, shape }: PlannedTensor,
): Promise<{ packed: PackedTensor; error: number }> {
  if (!spec) return { packed: await checkpoint.read(source?.name ?? ""), error: 0 };
  if (!source) return exact(scheme, config.rope.factors ?? new Float32Array(), shape);
  if (shape.length === 1) {
    const values = (await readVector(checkpoint, spec)) ?? new Float32Array();
    const order = container.name === "gguf" ? spec.ggufRows : undefined;
    return exact(scheme, order ? Float32Array.from(order, (row) => values[row]) : values, shape);
  }
  const original = await readWeight(checkpoint, spec);
  if (!original) throw new Error(`${spec.role} was planned and is gone`);
  const { packed, error } = original.scheme.name === scheme.name ? { packed: original, error: 0 } : requantized();
  return { packed: container.name === "gguf" && spec.ggufRows ? gatherRows(packed, spec.ggufRows) : packed, error };

  function requantized() {
    const values = dequantize(original as PackedTensor);
    const result = method.quantize(scheme, values, shape);
    return { packed: result, error: relativeSquaredError(values, dequantize(result)) };
  }
}

function exact(scheme: Scheme, values: Float32Array, shape: readonly number[]) {
  const packed = quantize(scheme, values, shape);
  return { packed, error: relativeSquaredError(values, dequantize(packed)) };
}

/** sum (a - b)^2 / sum a^2; 0 if both are all zeros. */
export function relativeSquaredError(original: Float32Array, other: Float32Array): number {
  let [error, power] = [0, 0];
  for (let i = 0; i < original.length; i++) {
    error += (original[i] - other[i]) ** 2;
    power += original[i] ** 2;
  }
  return error === 0 ? 0 : error / power;
}
