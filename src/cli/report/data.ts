/** What a comparison found and a report shows: one original, and what became of it in each scheme. */
import type { QuantizedTensor } from "../../quantize/index.js";

export interface Measured {
  readonly scheme: string;
  /** Bytes of the files that hold tensors. */
  readonly bytes: number;
  readonly bitsPerWeight: number;
  readonly perplexity: number;
  readonly nll: number;
  readonly tokensPerSecond: number;
  /** What the model writes after the comparison's prompt. */
  readonly sample: string;
}

export interface ComparedScheme extends Measured {
  /** Kind of the element format: "integer", "minifloat", "codebook". */
  readonly kind: string;
  /** Path of the quantized model. */
  readonly output: string;
  /** Nats per token more than the original, with its 95 % interval. */
  readonly deltaNll: number;
  readonly deltaNllCi95: readonly [number, number];
  readonly kl: number;
  readonly klCi95: readonly [number, number];
  readonly top1Agreement: number;
  readonly quantizeSeconds: number;
  readonly tensors: readonly QuantizedTensor[];
}

export interface Report {
  readonly title: string;
  /** How it was measured: name and value. */
  readonly facts: readonly (readonly [string, string])[];
  readonly prompt: string;
  readonly original: Measured;
  readonly rows: readonly ComparedScheme[];
}
