/**
 * Rounding rows under a two-level rule (NVFP4), each row with a scale of its own above those of its blocks. Scales are few and made
 * here, one after another as the rule says; elements of all rows go through the cast kernels at once.
 */
import type { NumberFormat } from "../../formats/format.js";
import type { TwoLevelNumbers } from "../../formats/rule-steps.js";
import type { Scheme } from "../../formats/scheme.js";
import { decodeTableF32 } from "../../formats/table.js";
import { run } from "../casts/array-kernels.js";
import type { BlockPlan, CastKernels } from "../casts/cast-kernels.js";
import { dequantizePlan, quantizePlan } from "../casts/plans.js";
import { blockScaleCoder } from "../casts/step-table.js";

/** A scheme of scales in `format` for `size` elements under a scale for each row, with a rule that looks at the largest alone. */
export interface TwoLevelRows {
  readonly plan: BlockPlan;
  readonly format: NumberFormat;
  readonly size: number;
  numbers(amax: number): TwoLevelNumbers;
}

/** What is needed to round rows of `columns` numbers to the scheme here; undefined where it cannot be done here. */
export function twoLevelRows(scheme: Scheme, columns: number): TwoLevelRows | undefined {
  const plan = quantizePlan(scheme);
  const { scale } = scheme;
  if (plan.kind !== "blocks" || plan.steps.kind !== "two-level" || plan.steps.search || !scale) return undefined;
  const { per: size, format } = scale;
  const whole = typeof size === "number" && size % run === 0 && columns % size === 0 && scale.rows === undefined;
  if (!whole || format.bits > 8 || scheme.element.bits > 8 || dequantizePlan(scheme).kind !== "blocks")
    return undefined;
  return { plan, format, size, numbers: plan.steps.numbers };
}

/** Rounds rows at `from` to `to` (which may be the same); false where the reference must: `to` is then unchanged. */
export function roundTwoLevel(
  kernels: CastKernels,
  scheme: Scheme,
  { plan, format, size, numbers: numbersOf }: TwoLevelRows,
  { from, to }: { readonly from: number; readonly to: number },
  rows: number,
  columns: number,
): boolean {
  const perRow = columns / size;
  const groups = rows * perRow;
  const [factors, scales] = ["factors", "scales"].map((name) => kernels.scratch(`${name} of groups`, 4 * groups));
  const codes = kernels.scratch("codes of rows", rows * columns);
  const { buffer } = kernels.memory;
  const [factor, scale] = [factors, scales].map((address) => new Float32Array(buffer, address, groups));
  const amax = amaxOfGroups(new Uint32Array(buffer, from, rows * columns), size);
  if (!amax.every(Number.isFinite)) return false;
  const values = decodeTableF32(format);
  let divides = false;
  for (let row = 0; row < rows; row++) {
    const own = amax.subarray(row * perRow, (row + 1) * perRow);
    const numbers = numbersOf(own.reduce((most, one) => Math.max(most, one), 0));
    const codeOf = blockScaleCoder(format, numbers);
    if (!codeOf || !Number.isFinite(numbers.tensorScale)) return false;
    divides = numbers.divides;
    for (let i = 0; i < perRow; i++) {
      const [code, group] = [codeOf(own[i]), row * perRow + i];
      factor[group] = numbers.factor(code);
      scale[group] = values[code] * numbers.tensorScale;
      if (Number.isNaN(factor[group])) return false;
    }
  }
  if (!kernels.encodeScaled(plan, scheme.element, divides, { from, codes, factors }, groups, size)) return false;
  kernels.decodeGroups(scheme, codes, scales, 0, to, groups, size);
  return true;
}

/** The largest magnitude of each run of `size` numbers, given as their bits; not finite where one of them is not. */
function amaxOfGroups(bits: Uint32Array, size: number): Float32Array {
  const amax = new Uint32Array(bits.length / size);
  for (let group = 0, i = 0; group < amax.length; group++) {
    let most = 0;
    for (const end = i + size; i < end; i++) {
      const magnitude = bits[i] & 0x7fffffff;
      if (magnitude > most) most = magnitude;
    }
    amax[group] = most;
  }
  return new Float32Array(amax.buffer);
}
