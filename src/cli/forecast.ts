/**
 * What quantizing will take, before it is done. Sizes are exact. Memory and time are estimates: the first counts the arrays
 * that are alive at once (garbage comes on top); the second measures each method on a slice of random numbers or, with
 * calibration, scales up what the first layer took when the plan was tried out.
 */
import { type LayerSeconds, needsAtLeast, type PlannedTensor, type QuantizePlan } from "../quantize/index.js";
import { randomUniform } from "../random.js";
import { dequantize } from "../tensor/index.js";
import { tensorBytes } from "./tensor-bytes.js";

export interface Forecast {
  readonly scratchBytes: number;
  readonly estimatedSeconds: number | null;
  readonly estimatedPeakBytes: number | null;
}

/** What a thread holds before it has any work: V8's heap and the code of the methods, as measured with Node 20. */
const THREAD_BYTES = 36 * 2 ** 20;
const SLICE_WEIGHTS = 2 ** 16;
/** Schemes with tiles want whole ones. */
const TILE_ROWS = 32;

const weightsOf = ({ shape }: PlannedTensor) => shape.reduce((a, b) => a * b, 1);
const bytesOf = ({ scheme, shape }: PlannedTensor) => tensorBytes(scheme, shape);

export function forecast(plan: QuantizePlan, threads: number, layerSeconds?: LayerSeconds): Forecast {
  const { calibrated, recipe, tensors } = plan;
  const held = process.memoryUsage.rss() + (threads > 1 ? threads * THREAD_BYTES : 0);
  // With calibration finished tensors wait on disk, and only a layer that was tried tells how long the others take.
  if (calibrated) {
    const scratchBytes = tensors.reduce((sum, one) => sum + bytesOf(one), 0);
    const estimatedSeconds = layerSeconds ? calibratedSeconds(plan, layerSeconds) : null;
    return { scratchBytes, estimatedSeconds, estimatedPeakBytes: held + calibratedBytes(plan) };
  }
  const secondsPerWeight = new Map<string, number>();
  let estimatedSeconds = 0;
  for (const tensor of tensors.filter(isQuantized)) {
    const { method, options } = tensor.quantizer;
    const key = JSON.stringify([method.name, tensor.scheme.name, options]);
    const speed = secondsPerWeight.get(key) ?? measured(tensor, recipe.seed);
    secondsPerWeight.set(key, speed);
    estimatedSeconds += speed * weightsOf(tensor);
  }
  const estimatedPeakBytes = held + Math.max(0, ...tensors.map(workingBytes));
  return { scratchBytes: 0, estimatedSeconds, estimatedPeakBytes };
}

const layerOf = ({ spec }: PlannedTensor) => Number(/^layers\.(\d+)\./.exec(spec?.role ?? "")?.[1] ?? Number.NaN);

/**
 * Each layer's inputs are seen and its outputs computed window by window; codes are chosen once. What is not in a layer counts by
 * its weights, times the columns that each step of a method with a Hessian works on.
 */
function calibratedSeconds({ tensors, recipe, config }: QuantizePlan, seconds: LayerSeconds) {
  const { windows } = recipe.calibration;
  const steps = needsAtLeast(recipe.needs, "hessian") ? ({ shape }: PlannedTensor) => shape[shape.length - 1] : () => 1;
  const work = (some: readonly PlannedTensor[]) => some.reduce((sum, one) => sum + weightsOf(one) * steps(one), 0);
  const quantized = tensors.filter(({ quantizer }) => quantizer);
  const first = work(quantized.filter((one) => layerOf(one) === 0));
  const layer = (seconds.calibrating + seconds.passing) * windows + seconds.transforming;
  return config.layers * layer + (seconds.quantizing * work(quantized)) / Math.max(1, first);
}

/** Hidden states before and after a layer, a layer's weights as read, as f32 and packed, and the moments of its inputs. */
function calibratedBytes({ tensors, recipe, config }: QuantizePlan): number {
  const { windows, window } = recipe.calibration;
  const largest = Math.max(0, ...tensors.map(workingBytes));
  const layer = tensors.filter((one) => layerOf(one) === 0).reduce((sum, one) => sum + workingBytes(one), 0);
  const columns = tensors.filter((one) => layerOf(one) === 0 && one.shape.length > 1).map(({ shape }) => shape[1]);
  const distinct = [...new Set(columns)];
  const [hessian, drift] = (["hessian", "drift"] as const).map((needs) => needsAtLeast(recipe.needs, needs));
  // The drift is a second matrix, and takes the original model's states and inputs of a layer.
  const moments = distinct.reduce((sum, n) => sum + 8 * n * n * (Number(hessian) + Number(drift)), 0);
  const inputs = drift ? 4 * windows * window * (config.width + distinct.reduce((sum, n) => sum + n, 0)) : 0;
  // Windows that are halted before a group of maps wait with its input.
  const halted = recipe.calibration.sequential === "stages" ? 4 * windows * window * Math.max(0, ...columns) : 0;
  // Factorising works on a permuted copy and its inverse.
  const factor = hessian ? 16 * Math.max(0, ...columns) ** 2 : 0;
  return 8 * windows * window * config.width + Math.max(layer, largest) + moments + factor + inputs + halted;
}

type Quantized = PlannedTensor & Required<Pick<PlannedTensor, "quantizer">>;

const isQuantized = (tensor: PlannedTensor): tensor is Quantized =>
  tensor.quantizer !== undefined && tensor.source?.scheme?.name !== tensor.scheme.name;

/** Input, its f32 values, the codes, their f32 values, and the codes once more where rows are reordered or written. */
const workingBytes = (tensor: PlannedTensor) =>
  (tensor.source?.bytes ?? 0) + 8 * weightsOf(tensor) + 2 * bytesOf(tensor);

/** Seconds for one weight: the second of two runs, because the first is compiled on the way. */
function measured({ quantizer: { method, options }, scheme, shape: [rows, columns] }: Quantized, seed: number): number {
  const some = Math.min(rows, TILE_ROWS * Math.max(1, Math.floor(SLICE_WEIGHTS / columns / TILE_ROWS)));
  const values = Float32Array.from({ length: some * columns }, (_, index) => randomUniform(seed, 0, index) - 0.5);
  const job = { scheme, values, shape: [some, columns], seed };
  dequantize(method.quantize(job, options).packed);
  const begin = performance.now();
  dequantize(method.quantize(job, options).packed);
  return (performance.now() - begin) / 1000 / values.length;
}
