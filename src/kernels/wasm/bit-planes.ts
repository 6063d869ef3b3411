/**
 * Weights as planes of bits, for products by counting (count-bits.ts). A weight is i = step u + low with u of W bits. Four rows
 * share vectors, 32 columns of each in a lane, so that a count needs no sum over lanes:
 *
 *     quad = blocks of [four scales] [four offsets] [plane 0: a vector for every 32 columns] [plane 1] ..
 */
import type { Activations } from "../backend.js";
import { activationBits, activationBlock, demandIntegers, demandIntegerZeroPoints } from "../int8.js";
import type { WeightRows } from "../weight-rows.js";
import type { RelaxedDot } from "./features.js";
import { type SharedForm, SharedNumbers, sharedCode } from "./shared.js";

export interface BitLayout {
  readonly rows: number;
  readonly columns: number;
  /** Bits of a weight (W) and of an activation (A). */
  readonly weightBits: number;
  readonly bits: number;
  readonly step: number;
  readonly low: number;
  readonly blockColumns: number;
  readonly blocks: number;
  /** Vectors of a plane in a block. */
  readonly words: number;
  readonly scale: SharedForm;
  readonly offset: "none" | "min" | "zeroPoint";
  readonly offsets?: SharedForm;
  readonly headerBytes: number;
  readonly blockBytes: number;
  readonly quadBytes: number;
  readonly quads: number;
  readonly bytes: number;
  readonly unit: number;
  readonly integers: Int16Array;
  readonly why: string;
}

/** Quads that are walked at once; as many are stored. */
export const mostTogether = 4;

/**
 * Whether bits are counted sooner than sums are looked up or bytes multiplied, as measured (docs/kernels.md): for signs, where
 * there is no relaxed dot.
 */
const counts = (weightBits: number, bits: number, relaxedDot: RelaxedDot): boolean =>
  relaxedDot === "none" && bits === 1 && weightBits <= 4;

/** The layout of a weight whose products with such activations are counted; undefined where bytes are multiplied. */
export function planBits(weight: WeightRows, activations: Activations, relaxedDot: RelaxedDot): BitLayout | undefined {
  const bits = activationBits(activations);
  if (bits === undefined || bits === 8) return undefined;
  const layout = layoutBits(weight, activations, bits);
  return counts(layout.weightBits, bits, relaxedDot) ? layout : undefined;
}

/** The layout for activations of so many bits, whatever is faster. */
export function layoutBits(weight: WeightRows, activations: Activations, bits: number): BitLayout {
  const { rows, columns, scheme } = weight;
  const { integers, unit } = demandIntegers(weight, activations);
  const low = Math.min(...integers);
  const step = integers.reduce((common, i) => greatestCommonDivisor(common, i - low), 0) || 1;
  const weightBits = Math.max(1, Math.ceil(Math.log2((Math.max(...integers) - low) / step + 1)));
  const blockColumns = activationBlock(weight);
  const blocks = Math.ceil(columns / blockColumns);
  const words = Math.ceil(blockColumns / 32);
  const { scale, offsets } = sharedForms(weight, unit);
  const headerBytes = scale.bytes + (offsets?.bytes ?? 0);
  const blockBytes = headerBytes + 16 * words * weightBits;
  const quads = Math.ceil(rows / 4);
  const stored = Math.ceil(quads / mostTogether) * mostTogether;
  const planes = (count: number, of: string) => `${count} plane${count === 1 ? "" : "s"} of ${of}`;
  return {
    ...{ rows, columns, weightBits, bits, step, low, blockColumns, blocks, words, scale, offsets, headerBytes },
    ...{ offset: scheme.offset?.kind ?? "none", blockBytes, quadBytes: blocks * blockBytes, quads, unit, integers },
    bytes: stored * blocks * blockBytes,
    why: `bits counted, ${planes(weightBits, "weights")} and ${planes(bits, "activations")}`,
  };
}

const greatestCommonDivisor = (a: number, b: number): number => (b === 0 ? a : greatestCommonDivisor(b, a % b));

function sharedForms(weight: WeightRows, unit: number): Pick<BitLayout, "offsets"> & { readonly scale: SharedForm } {
  const [scales, offsets] = [new SharedNumbers(), new SharedNumbers()];
  const offsetUnit = weight.scheme.offset?.kind === "min" ? 1 : unit;
  for (let row = 0; row < weight.rows; row++) {
    weight.readShared(row);
    for (const s of weight.scales ?? [1]) scales.add(s * unit);
    for (const z of weight.offsets ?? []) offsets.add(z / offsetUnit);
  }
  return { scale: scales.form(), ...(weight.offsets && { offsets: offsets.form() }) };
}

/** Writes the weight into `memory` at `address`. */
export function fillBits(layout: BitLayout, weight: WeightRows, memory: ArrayBufferLike, address: number): void {
  const { rows, columns, blocks, blockColumns, blockBytes, quadBytes, headerBytes, words } = layout;
  const { weightBits, integers, low, step, unit, scale, offsets, offset } = layout;
  new Uint8Array(memory, address, layout.bytes).fill(0);
  const view = new DataView(memory, address, layout.bytes);
  const levels = Uint8Array.from(integers, (i) => (i - low) / step);
  const writeScale = writer(view, scale);
  const writeOffset = offsets && writer(view, offsets);
  for (let row = 0; row < rows; row++) {
    weight.read(row);
    demandIntegerZeroPoints(weight, unit);
    const lane = row % 4;
    for (let block = 0; block < blocks; block++) {
      const at = Math.floor(row / 4) * quadBytes + block * blockBytes;
      const own = Math.floor((block * blockColumns) / weight.blockColumns);
      writeScale(at, lane, (weight.scales?.[own] ?? 1) * unit);
      writeOffset?.(at + scale.bytes, lane, (weight.offsets?.[own] ?? 0) / (offset === "min" ? 1 : unit));
      const end = Math.min(columns, (block + 1) * blockColumns);
      for (let k = block * blockColumns; k < end; k += 32) {
        const word = at + headerBytes + (k - block * blockColumns) / 2 + 4 * lane;
        for (let plane = 0; plane < weightBits; plane++) {
          let bits = 0;
          for (let i = 0; i < 32 && k + i < end; i++) bits |= ((levels[weight.codes[k + i]] >> plane) & 1) << i;
          view.setInt32(word + 16 * words * plane, bits, true);
        }
      }
    }
  }
}

function writer(view: DataView, { kind, bytes }: SharedForm) {
  const code = sharedCode(kind);
  return (at: number, lane: number, value: number): void => {
    const to = at + (lane * bytes) / 4;
    if (bytes === 4) view.setUint8(to, code(value));
    else if (bytes === 8) view.setUint16(to, code(value), true);
    else view.setUint32(to, code(value), true);
  };
}
