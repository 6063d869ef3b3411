/**
 * The rules of GGUF's K-quants: Q2_K, Q4_K and Q5_K (scale and minimum for each group, make_qkx2_quants), Q3_K and Q6_K
 * (scale only, make_q3_quants and make_qx_quants), operation for operation in f32 as ggml-quants.c's quantize_row_*_K_ref, so that the bytes agree
 * with a build of ggml that does not contract to fused multiply-adds.
 */
import { f16 } from "../f16.js";
import type { Codes } from "../packing.js";
import type { SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { extremeOf, finiteEncoder } from "./groups.js";
import { bySuperBlock, type GroupRange, nearestInt } from "./super-blocks.js";

const { abs, fround: f, max, min, sqrt } = Math;
/** Groups weaker than this count as zero (GROUP_MAX_EPS). */
export const WEAK = f(1e-15);
/** The sign bit of an f16 code: a minimum is subtracted in the file and added in a scheme. */
const SIGN = 0x8000;

export interface AffineSearch {
  /** Elements of a group. */
  readonly per: number;
  /** Largest code. */
  readonly levels: number;
  /** Largest code of a scale or minimum. */
  readonly scaleLevels: number;
  /** Candidates for levels / range: levels + first + step * 0 .. levels + first + step * steps. */
  readonly first: number;
  readonly step: number;
  readonly steps: number;
  /** The error of a candidate: weighted sum of |difference|, or of its square. */
  readonly error: "absolute" | "square";
  /** The weight of x: |x|, or |x| plus the root mean square of the group. */
  readonly weight: "magnitude" | "rms";
}

/** Scale and minimum by search for each group, then coded in `scaleLevels` steps, then codes by rounding. */
export function affineRule(search: AffineSearch): SchemeRule {
  const { per, levels, scaleLevels } = search;
  return bySuperBlock(per, () => {
    const scaleCode = finiteEncoder(f16, "super-block scale");
    const f16Values = decodeTable(f16);
    const [scales, minima] = [new Float32Array(256 / per), new Float32Array(256 / per)];
    const searched = affineSearch(search);
    return (block) => {
      const { values, codes, groups } = block;
      for (let g = 0; g < groups.length; g++) {
        const found = searched(values, groups[g], codes);
        scales[g] = found.scale;
        minima[g] = found.minimum;
      }
      const coded = (of: Float32Array, to: Uint8Array) => {
        const largest = largestOf(of, groups.length);
        const inverse = largest > 0 ? f(scaleLevels / largest) : 0;
        for (let g = 0; g < groups.length; g++) to[g] = max(0, min(scaleLevels, nearestInt(f(inverse * of[g]))));
        return scaleCode(f(largest / scaleLevels));
      };
      block.superScale = coded(scales, block.scales);
      block.superOffset = coded(minima, block.offsets) ^ SIGN;
      const [d, m] = [f16Values[block.superScale], -f16Values[block.superOffset]];
      for (const [g, { start, end, at }] of groups.entries()) {
        const scale = f(d * block.scales[g]);
        if (scale === 0) continue;
        const minimum = f(m * block.offsets[g]);
        for (let i = start; i < end; i++) {
          codes[at + i - start] = max(0, min(levels, nearestInt(f(f(values[i] + minimum) / scale))));
        }
      }
    };
  });
}

function largestOf(values: Float32Array, count: number): number {
  let largest = 0;
  for (let g = 0; g < count; g++) if (values[g] > largest) largest = values[g];
  return largest;
}

/**
 * make_qkx2_quants: for each candidate range round, then fit scale and minimum (at most 0) by weighted least squares; the
 * candidate of least error wins. Returns the scale and the minimum's magnitude; leaves the codes of the winner.
 */
function affineSearch({ per, levels, first, step, steps, error, weight }: AffineSearch) {
  // Numbers of f32 in arrays of binary64: rounding is costly in JavaScript where numbers must be widened again.
  const [xs, weights, trial, chosen] = [0, 1, 2, 3].map(() => new Float64Array(per));
  const [rmin, rdelta] = [f(first), f(step)];
  const absolute = error === "absolute";
  return (x: Float32Array, { start, end, at }: GroupRange, codes: Codes) => {
    const n = end - start;
    const rms = weight === "rms" ? rmsOf(x, start, end) : 0;
    let [low, high] = [x[start], x[start]];
    let [sumW, sumX] = [0, 0];
    for (let i = 0; i < n; i++) {
      const v = x[start + i];
      const w = f(rms + abs(v));
      xs[i] = v;
      weights[i] = w;
      if (v < low) low = v;
      if (v > high) high = v;
      sumW = f(sumW + w);
      sumX = f(sumX + f(w * v));
    }
    if (low > 0) low = 0;
    if (high === low) {
      codes.fill(0, at, at + n);
      return { scale: 0, minimum: 0 - low };
    }
    let inverse = f(levels / f(high - low));
    let scale = f(1 / inverse);
    let minimum = low;
    let best = 0;
    for (let i = 0; i < n; i++) {
      const v = xs[i];
      const l = clamped(nearestInt(f(inverse * f(v - minimum))), levels);
      chosen[i] = l;
      const d = f(f(f(scale * l) + minimum) - v);
      best = f(best + f(weights[i] * (absolute ? abs(d) : f(d * d))));
    }
    for (let is = 0; is <= steps; is++) {
      inverse = f(f(f(rmin + f(rdelta * is)) + levels) / f(high - minimum));
      let sumL = 0;
      let sumL2 = 0;
      let sumXL = 0;
      for (let i = 0; i < n; i++) {
        const v = xs[i];
        const l = clamped(nearestInt(f(inverse * f(v - minimum))), levels);
        trial[i] = l;
        const wl = f(weights[i] * l);
        sumL = f(sumL + wl);
        sumL2 = f(sumL2 + f(wl * l));
        sumXL = f(sumXL + f(wl * v));
      }
      const determinant = f(f(sumW * sumL2) - f(sumL * sumL));
      if (!(determinant > 0)) continue;
      let trialScale = f(f(f(sumW * sumXL) - f(sumX * sumL)) / determinant);
      let trialMinimum = f(f(f(sumL2 * sumX) - f(sumL * sumXL)) / determinant);
      if (trialMinimum > 0) {
        trialMinimum = 0;
        trialScale = f(sumXL / sumL2);
      }
      // Sums only grow, so a candidate that has reached the best error has lost.
      let sum = 0;
      for (let i = 0; i < n && sum < best; i++) {
        const d = f(f(f(trialScale * trial[i]) + trialMinimum) - xs[i]);
        sum = f(sum + f(weights[i] * (absolute ? abs(d) : f(d * d))));
      }
      if (!(sum < best)) continue;
      for (let i = 0; i < n; i++) chosen[i] = trial[i];
      best = sum;
      scale = trialScale;
      minimum = trialMinimum;
    }
    for (let i = 0; i < n; i++) codes[at + i] = chosen[i];
    return { scale, minimum: 0 - minimum };
  };
}

const clamped = (l: number, top: number): number => (l < 0 ? 0 : l > top ? top : l);

function rmsOf(x: Float32Array, start: number, end: number): number {
  let sum = 0;
  for (let i = start; i < end; i++) sum = f(sum + f(x[i] * x[i]));
  return f(sqrt(f(sum / (end - start))));
}

interface SymmetricSearch {
  /** Codes mean -half to half - 1. */
  readonly half: number;
  /** Scales of groups mean -scaleHalf to scaleHalf - 1. */
  readonly scaleHalf: number;
  /** Where the largest scale of a super-block is not above this, everything is zero. */
  readonly floor: number;
  readonly search: (x: Float32Array, group: GroupRange, codes: Codes, half: number) => number;
}

/** A signed scale by search for each group of 16, then coded in steps of the largest, then codes by rounding. */
function symmetricRule({ half, scaleHalf, floor, search }: SymmetricSearch): SchemeRule {
  return bySuperBlock(16, ({ scale }) => {
    const scaleCode = finiteEncoder(f16, "super-block scale");
    const f16Values = decodeTable(f16);
    const scales = new Float32Array(16);
    // Two's complement where the format says nothing else: the low byte is the code.
    const stored = scale?.format.kind === "integer" ? (scale.format.offset ?? 0) : 0;
    return (block) => {
      const { values, codes, groups } = block;
      for (let g = 0; g < groups.length; g++) scales[g] = search(values, groups[g], codes, half);
      const largest = extremeOf(scales, 0, groups.length);
      if (abs(largest) <= floor) {
        codes.fill(0, groups[0].at, groups[groups.length - 1].at + 16);
        block.scales.fill(0);
        return;
      }
      const inverse = f(-scaleHalf / largest);
      block.superScale = scaleCode(f(1 / inverse));
      const d = f16Values[block.superScale];
      for (const [g, { start, end, at }] of groups.entries()) {
        const l = max(-scaleHalf, min(scaleHalf - 1, nearestInt(f(inverse * scales[g]))));
        block.scales[g] = l + stored;
        const step = f(d * l);
        if (step === 0) continue;
        for (let i = start; i < end; i++) codes[at + i - start] = level(f(values[i] / step), half) + half;
      }
    };
  });
}

function level(x: number, half: number): number {
  const l = nearestInt(x);
  return l < -half ? -half : l > half - 1 ? half - 1 : l;
}

export const q3Rule = symmetricRule({ half: 4, scaleHalf: 32, floor: 0, search: refinedScale });
export const q6Rule = symmetricRule({ half: 32, scaleHalf: 128, floor: WEAK, search: candidateScale });

/**
 * make_qx_quants: the extreme element at level -half, or at up to 0.9 beside it; of these 19 the candidate with the largest
 * sum(w x l)^2 / sum(w l^2), w = x^2. Returns its least-squares scale; leaves its codes.
 */
function candidateScale(x: Float32Array, { start, end, at }: GroupRange, codes: Codes, half: number): number {
  const extreme = extremeOf(x, start, end);
  if (abs(extreme) < WEAK) {
    codes.fill(0, at, at + end - start);
    return 0;
  }
  const n = end - start;
  for (let i = 0; i < n; i++) {
    const v = x[start + i];
    VALUES[i] = v;
    WEIGHTS[i] = f(v * v);
    PRODUCTS[i] = f(WEIGHTS[i] * v);
  }
  let [scale, best, chosen] = [0, Number.NEGATIVE_INFINITY, 0];
  for (const step of CANDIDATES) {
    const inverse = f(-f(half + f(f(0.1) * step)) / extreme);
    let [sumXL, sumL2] = [0, 0];
    for (let i = 0; i < n; i++) {
      const l = level(f(inverse * VALUES[i]), half);
      sumXL = f(sumXL + f(PRODUCTS[i] * l));
      sumL2 = f(sumL2 + f(f(WEIGHTS[i] * l) * l));
    }
    const first = step === 0;
    if (!first && !(sumL2 > 0 && f(sumXL * sumXL) > f(best * sumL2))) continue;
    chosen = inverse;
    scale = sumL2 > 0 ? f(sumXL / sumL2) : 0;
    best = f(scale * sumXL);
  }
  for (let i = 0; i < n; i++) codes[at + i] = level(f(chosen * VALUES[i]), half) + half;
  return scale;
}

/** Of the group in hand: x, w = x^2 and w x, of f32 in binary64. */
const [VALUES, WEIGHTS, PRODUCTS] = [0, 1, 2].map(() => new Float64Array(16));

const CANDIDATES = [0, -9, -8, -7, -6, -5, -4, -3, -2, -1, 1, 2, 3, 4, 5, 6, 7, 8, 9];

/**
 * make_q3_quants: codes by rounding against the extreme element, then up to five passes that change one code at a time
 * where that raises sum(w x l)^2 / sum(w l^2), w = x^2. Returns the least-squares scale; leaves the codes.
 */
function refinedScale(x: Float32Array, { start, end, at }: GroupRange, codes: Codes, half: number): number {
  const extreme = extremeOf(x, start, end);
  if (abs(extreme) < WEAK) {
    codes.fill(0, at, at + end - start);
    return 0;
  }
  const inverse = f(-half / extreme);
  const levels = new Int8Array(end - start);
  let [sumXL, sumL2] = [0, 0];
  for (let i = 0; i < levels.length; i++) {
    const v = x[start + i];
    const w = f(v * v);
    const l = level(f(inverse * v), half);
    levels[i] = l;
    sumXL = f(sumXL + f(f(w * v) * l));
    sumL2 = f(sumL2 + f(f(w * l) * l));
  }
  for (let pass = 0; pass < 5; pass++) {
    let changed = false;
    for (let i = 0; i < levels.length; i++) {
      const v = x[start + i];
      const w = f(v * v);
      const l = levels[i];
      let restXL = f(sumXL - f(f(w * v) * l));
      if (!(restXL > 0)) continue;
      let restL2 = f(sumL2 - f(f(w * l) * l));
      const other = level(f(f(v * restL2) / restXL), half);
      if (other === l) continue;
      restXL = f(restXL + f(f(w * v) * other));
      restL2 = f(restL2 + f(f(w * other) * other));
      if (!(restL2 > 0 && f(f(restXL * restXL) * sumL2) > f(f(sumXL * sumXL) * restL2))) continue;
      levels[i] = other;
      [sumXL, sumL2] = [restXL, restL2];
      changed = true;
    }
    if (!changed) break;
  }
  for (let i = 0; i < levels.length; i++) codes[at + i] = levels[i] + half;
  return sumL2 > 0 ? f(sumXL / sumL2) : 0;
}
