/** What kernels look up: codes by the upper half of an f32, and the scales of blocks by their amax. */
import { bitsOfF32, f32OfBits } from "../../formats/binary64.js";
import { encodeTable } from "../../formats/casts.js";
import { type EncodeOptions, encode } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import type { ScaleCandidates, TwoLevelNumbers } from "../../formats/rule-steps.js";
import type { Scheme } from "../../formats/scheme.js";
import { refused } from "./array-kernels.js";
import { infinityBits } from "./lanes.js";
import { blockScaleCoder, stepTable } from "./step-table.js";

/** The scale rule of blocks as tables: codes by amax, and by code what elements are multiplied with or divided by. */
export interface ScaleRule {
  /** Of the step table. */
  readonly shift: number;
  readonly steps: Int32Array;
  /** Under a search its highest candidates; `steps` are the lowest. */
  readonly highest?: Int32Array;
  readonly factors: Float32Array;
  /** Under a search, by code: what values of elements are multiplied by. */
  readonly multipliers?: Float64Array;
  readonly divides: boolean;
}

/** Of a scheme whose rule is one function of amax; undefined where no table can say it, null where none is needed. */
export function powerRule(scheme: Scheme): ScaleRule | undefined | null {
  const steps = scheme.quantize.steps?.(scheme);
  if (steps?.kind !== "power" && steps?.kind !== "marked") return null;
  const factors = Float32Array.from({ length: 256 }, (_, code) => steps.inverse(code));
  if (steps.kind === "power" && steps.candidates)
    return searchRule(steps.candidates, 23, infinityBits - 1, { factors, divides: false });
  const table = stepTable(steps.scaleCode, 23, infinityBits - 1);
  return table && { shift: table.shift, steps: table.words, factors, divides: false };
}

function searchRule(
  { lowest, highest, step }: ScaleCandidates,
  shift: number,
  most: number,
  rest: Pick<ScaleRule, "factors" | "divides">,
): ScaleRule | undefined {
  const [low, high] = [stepTable(lowest, shift, most), stepTable(highest, shift, most)];
  const multipliers = Float64Array.from({ length: 256 }, (_, code) => step(code));
  return low && high && { shift, steps: low.words, highest: high.words, multipliers, ...rest };
}

/** Of one tensor under a two-level rule. */
export function twoLevelRule(format: NumberFormat, numbers: TwoLevelNumbers, amax: number): ScaleRule | undefined {
  // e4m3 scales: a cell of 4 trailing bits is narrower than their steps.
  const factors = Float32Array.from({ length: 256 }, (_, code) => numbers.factor(code));
  if (factors.subarray(0, 127).some(Number.isNaN)) return undefined;
  const { candidates, divides } = numbers;
  if (candidates) return searchRule(candidates, 19, bitsOfF32(amax), { factors, divides });
  const scaleCode = blockScaleCoder(format, numbers);
  const table = scaleCode && stepTable(scaleCode, 19, bitsOfF32(amax));
  return table && { shift: table.shift, steps: table.words, factors, divides };
}

/** The table kernel's words for every upper half of an f32; undefined where a cell would need two changes. */
export function encodeTableWords(format: NumberFormat, options: EncodeOptions): Int32Array | undefined {
  const table = encodeTable(format, options);
  if (!table) return undefined;
  const words = Int32Array.from(
    { length: 65536 },
    (_, cell) => table.low[cell] | (table.high[cell] << 8) | (table.threshold[cell] << 16),
  );
  const codeOf = (bits: number): number | undefined => {
    try {
      return encode(format, f32OfBits(bits), options);
    } catch (error) {
      if (error instanceof Error && error.name === "NumericError") return undefined;
      throw error;
    }
  };
  const nan = codeOf(bitsOfF32(Number.NaN));
  for (const sign of [0, 0x8000]) {
    const infinity = codeOf((sign | 0x7f80) * 65536);
    if (infinity === undefined) return undefined;
    for (let cell = 0x7f80; cell < 0x8000; cell++) words[sign | cell] = nan === undefined ? refused : nan | (nan << 8);
    // An infinity stands at the start of a cell of NaN; where NaN is refused, the reference decides for both.
    if (nan !== undefined) words[sign | 0x7f80] = infinity | (nan << 8) | (1 << 16);
  }
  return words;
}
