/** Rotary position tables and the ways models stretch them. */
import type { Rope } from "./architecture.js";

/** cos and sin of p * frequency(i), each [positions, headSize / 2], computed in binary64 and rounded once. */
export function ropeTables(rope: Rope, headSize: number, positions: number): { cos: Float32Array; sin: Float32Array } {
  const half = headSize / 2;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  for (let i = 0; i < half; i++) {
    const frequency = rope.base ** ((-2 * i) / headSize) / (rope.factors?.[i] ?? 1);
    for (let position = 0; position < positions; position++) {
      cos[position * half + i] = Math.cos(position * frequency);
      sin[position * half + i] = Math.sin(position * frequency);
    }
  }
  return { cos, sin };
}

export interface Llama3Scaling {
  readonly factor: number;
  readonly lowFrequencyFactor: number;
  readonly highFrequencyFactor: number;
  readonly originalContext: number;
}

/**
 * Llama 3.1's divisors: waves longer than originalContext / lowFrequencyFactor are slowed by `factor`, those shorter than
 * originalContext / highFrequencyFactor not at all, and between them 1 / divisor goes linearly in context / wavelength.
 * Source: the "llama3" rope type of the transformers library (modeling_rope_utils).
 */
export function llama3Factors(base: number, headSize: number, scaling: Llama3Scaling): Float32Array {
  const { factor, lowFrequencyFactor: low, highFrequencyFactor: high, originalContext } = scaling;
  return Float32Array.from({ length: headSize / 2 }, (_, i) => {
    const wavelength = 2 * Math.PI * base ** ((2 * i) / headSize);
    const turns = originalContext / wavelength;
    if (turns < low) return factor;
    if (turns > high) return 1;
    const smooth = (turns - low) / (high - low);
    return 1 / ((1 - smooth) / factor + smooth);
  });
}
