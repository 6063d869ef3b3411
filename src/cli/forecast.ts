/**
 * What quantizing will take, before it is done. Sizes are exact. Memory and time are estimates: the first counts the arrays
 * that are alive at once for the largest tensor (garbage comes on top), the second measures each method on a slice of random numbers.
 */
import type { PlannedTensor, QuantizePlan } from "../quantize/index.js";
import { randomUniform } from "../random.js";
import { dequantize } from "../tensor/index.js";
import { tensorBytes } from "./tensor-bytes.js";

export interface Forecast {
  readonly scratchBytes: number;
  readonly estimatedSeconds: number | null;
  readonly estimatedPeakBytes: number | null;
}

const SLICE_WEIGHTS = 2 ** 16;
/** Schemes with tiles want whole ones. */
const TILE_ROWS = 32;

const weightsOf = ({ shape }: PlannedTensor) => shape.reduce((a, b) => a * b, 1);
const bytesOf = ({ scheme, shape }: PlannedTensor) => tensorBytes(scheme, shape);

export function forecast({ calibrated, recipe, tensors }: QuantizePlan): Forecast {
  // With calibration finished tensors wait on disk; nothing measured here would hold for its passes through the model.
  if (calibrated) {
    const scratchBytes = tensors.reduce((sum, one) => sum + bytesOf(one), 0);
    return { scratchBytes, estimatedSeconds: null, estimatedPeakBytes: null };
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
  const estimatedPeakBytes = process.memoryUsage.rss() + Math.max(0, ...tensors.map(workingBytes));
  return { scratchBytes: 0, estimatedSeconds, estimatedPeakBytes };
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
