/**
 * Two-level blocks (NVFP4 and its kin): an e4m3 scale for 16 elements, an f32 scale for the tensor that maps its amax to the
 * largest block scale. Stacks differ in the order of f32 operations, which changes bytes; every order has a name.
 */
import { arrayEncoder, f32Encoder } from "../casts.js";
import type { EncodeOptions } from "../codec.js";
import { e4m3fn } from "../e4m3fn.js";
import { f32 } from "../f32.js";
import type { NumberFormat } from "../format.js";
import { maxFinite } from "../limits.js";
import { type RuleSteps, type ScaleCandidates, type TwoLevelNumbers, withOptions, withSteps } from "../rule-steps.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { amaxOf, byGroup, type Group, tileAmax } from "./groups.js";

const { fround, max, min } = Math;
const FLT_MAX = 3.4028234663852886e38;
/** The largest e4m3 value that some stacks let a block scale become. */
const SCALE_MAX = 448;

/** The f32 numbers that one order of operations uses for a whole tensor. */
interface TensorNumbers {
  /** What is stored: a code's value is tensorScale * block scale * element. */
  readonly tensorScale: number;
  /** The unrounded block scale in units of the stored one. */
  blockScale(amax: number): number;
  /** What elements are multiplied by (or divided by, see `divides`), given the value of the stored block scale. */
  factor(scale: number): number;
  readonly divides?: boolean;
  /** The block scale stored in place of 0. Default 0. */
  readonly zeroScale?: number;
}

/** From the tensor's amax and the element's largest value to its numbers. */
type Order = (amax: number, largest: number, scaleMax: number) => TensorNumbers;

export const NV_ORDERS = {
  /** TransformerEngine's reference: g = 448 max / amax, s = amax_b (g (1 / max)), x * (1 / (s (1 / g))). */
  "transformer-engine": (amax, largest, scaleMax) => {
    const g = amax === 0 ? 1 : min(fround((scaleMax * largest) / amax), FLT_MAX);
    const multiplier = fround(g * fround(1 / largest));
    const tensorScale = fround(1 / g);
    return {
      tensorScale,
      blockScale: (a) => fround(a * multiplier),
      factor: (s) => min(fround(1 / fround(s * tensorScale)), FLT_MAX),
    };
  },
  /** torchao: p = amax / (448 max), s = (amax_b / max) / p but at least 2^-6, x * ((1 / p) / s). */
  torchao: (amax, largest, scaleMax) => {
    const tensorScale = amax === 0 ? 1 : fround(amax / (scaleMax * largest));
    const reciprocal = fround(1 / tensorScale);
    return {
      tensorScale,
      blockScale: (a) => max(2 ** -6, fround(fround(a / largest) / tensorScale)),
      factor: (s) => fround(reciprocal / s),
    };
  },
  /** compressed-tensors: g = 448 max / amax, s = g (amax_b / max), 0 becoming 1/8 (e4m3's epsilon), x / (s / g). */
  "compressed-tensors": (amax, largest, scaleMax) => {
    const g = amax === 0 ? 1 : fround((scaleMax * largest) / amax);
    return {
      tensorScale: fround(1 / g),
      blockScale: (a) => fround(g * fround(a / largest)),
      factor: (s) => fround(s / g),
      divides: true,
      zeroScale: 2 ** -3,
    };
  },
  /** auto-round: g = 448 max (1 / amax), s = g (amax_b (1 / max)), x * (1 / (s (1 / g))), a reciprocal of 0 being 0. */
  "auto-round": (amax, largest, scaleMax) => {
    const g = amax === 0 ? 1 : fround(scaleMax * largest * fround(1 / amax));
    const tensorScale = fround(1 / g);
    return {
      tensorScale,
      blockScale: (a) => fround(g * fround(a * fround(1 / largest))),
      factor: (s) => (s === 0 ? 0 : fround(1 / fround(s * tensorScale))),
    };
  },
  /** ModelOpt: p = amax / (448 max), s = amax_b / (max p), x / (s p). */
  modelopt: (amax, largest, scaleMax) => {
    const tensorScale = amax === 0 ? 1 : fround(amax / (scaleMax * largest));
    return {
      tensorScale,
      blockScale: (a) => fround(a / fround(largest * tensorScale)),
      factor: (s) => fround(s * tensorScale),
      divides: true,
      zeroScale: 1,
    };
  },
} as const satisfies Record<string, Order>;
export type NvOrder = keyof typeof NV_ORDERS;

export interface NvRule {
  readonly order?: NvOrder;
  /**
   * Which block scale: amax's own; the better of amax's and 3/2 of it, which puts the block's largest value on 4 instead of
   * 6 ("four over six", squared error, ties to 6; tensor scale for 256 instead of 448, so that 3/2 has room); or the best
   * of all e4m3 values by squared error.
   */
  readonly search?: "amax" | "four-over-six" | "all";
}

/** A scheme of e4m3 scales for `per` elements and an f32 tensor scale. */
export function nvScheme(parts: {
  readonly name: string;
  readonly element: NumberFormat;
  readonly per?: number;
  /** Rows that share a scale too (2-D blocks, so that the transpose has the same scales), stored once for all of them. */
  readonly rows?: number;
  readonly rule?: NvRule;
  readonly aliases?: readonly string[];
  readonly summary: string;
  readonly source: string;
}): Scheme {
  const { name, aliases, element, per = 16, rows, rule, summary, source } = parts;
  return {
    name,
    ...(aliases && { aliases }),
    summary,
    source,
    element,
    scale: { format: e4m3fn, per, ...(rows !== undefined && { rows }), super: { format: f32, per: "tensor" } },
    quantize: nvRule(rule),
  };
}

function nvRule({ order = "transformer-engine", search = "amax" }: NvRule = {}): SchemeRule {
  const scaleMax = search === "four-over-six" ? 256 : SCALE_MAX;
  const numbersOf = (scheme: Scheme, values: Float32Array) =>
    NV_ORDERS[order](amaxOf(values, 0, values.length), maxFinite(scheme.element), scaleMax);
  const blocks = byGroup((scheme, values, rows, columns, wanted) => {
    const amax = tileAmax(scheme.scale!, values, rows, columns);
    const numbers = numbersOf(scheme, values);
    const fill = filler(scheme.element, numbers, wanted);
    const scaleCode = f32Encoder(e4m3fn, { overflow: "saturate" });
    const choose = chooser(search, scheme.element, numbers, fill, scaleCode);
    return (group) => {
      const scale = numbers.blockScale(amax?.(group.start) ?? amaxOf(values, group.start, group.end));
      group.scale = choose(group, scale);
      fill(group, group.scale);
    };
  });
  const rule = withOptions((scheme, values, rows, columns, planes, wanted) => {
    const { buffer, byteOffset } = planes.superScales!;
    new DataView(buffer, byteOffset).setFloat32(0, numbersOf(scheme, values).tensorScale, true);
    blocks(scheme, values, rows, columns, planes, wanted);
  });
  const steps = ({ element }: Scheme): RuleSteps => ({
    kind: "two-level",
    ...(search !== "amax" && { search: { measure: "square", all: search === "all" } }),
    numbers: (amax) => twoLevelNumbers(NV_ORDERS[order](amax, maxFinite(element), scaleMax), search),
  });
  return withSteps(rule, steps);
}

function twoLevelNumbers(numbers: TensorNumbers, search: NonNullable<NvRule["search"]>): TwoLevelNumbers {
  const { tensorScale, blockScale, factor, divides, zeroScale } = numbers;
  const scaleValues = decodeTable(e4m3fn);
  return {
    tensorScale,
    blockScale,
    zeroScale: zeroScale ?? 0,
    factor: (code) => factor(scaleValues[code]),
    divides: divides === true,
    ...(search !== "amax" && { candidates: candidatesOf(numbers, search) }),
  };
}

/** All positive e4m3 codes, or those of amax's own scale and of 3/2 of it. A block scale of 0 has code 0. */
function candidatesOf({ tensorScale, blockScale }: TensorNumbers, search: "four-over-six" | "all"): ScaleCandidates {
  const scaleCode = f32Encoder(e4m3fn, { overflow: "saturate" });
  const scaleValues = decodeTable(e4m3fn);
  const end = (all: number, times: number) => (amax: number) => {
    const scale = blockScale(amax);
    return scale === 0 ? 0 : search === "all" ? all : scaleCode(scale * times);
  };
  return {
    lowest: end(1, 1),
    highest: end(126, 1.5),
    step: (code) => fround(tensorScale * scaleValues[code]),
  };
}

/** The code of a block scale; that of `zeroScale` instead of 0. */
function storedScale(zeroScale = 0): (scale: number) => number {
  const scaleCode = f32Encoder(e4m3fn, { overflow: "saturate" });
  const instead = scaleCode(zeroScale);
  return (scale) => scaleCode(scale) || instead;
}

type Fill = (group: Group, scaleCode: number) => void;

/** Writes the codes of a group under a block scale. */
function filler(element: NumberFormat, numbers: TensorNumbers, wanted?: EncodeOptions): Fill {
  const scaleValues = decodeTable(e4m3fn);
  const encodeElements = arrayEncoder(element, { overflow: "saturate", ...wanted });
  const beyond = 2 * maxFinite(element);
  let scaled = new Float32Array(16);
  return ({ values, codes, start, end, at }, code) => {
    if (scaled.length < end - start) scaled = new Float32Array(end - start);
    const factor = numbers.factor(scaleValues[code]);
    const divides = numbers.divides === true;
    for (let i = start; i < end; i++) {
      // Beyond the largest element only the sign matters; f32 would overflow where a scale has underflowed.
      const x = values[i] === 0 ? 0 : divides ? values[i] / factor : values[i] * factor;
      scaled[i - start] = max(-beyond, min(beyond, x));
    }
    encodeElements(scaled, 0, end - start, codes, at);
  };
}

function chooser(
  search: NonNullable<NvRule["search"]>,
  element: NumberFormat,
  { tensorScale, zeroScale }: TensorNumbers,
  fill: Fill,
  scaleCode: (x: number) => number,
): (group: Group, scale: number) => number {
  const stored = storedScale(zeroScale);
  if (search === "amax") return (_group, scale) => stored(scale);
  const scaleValues = decodeTable(e4m3fn);
  const elementValues = decodeTable(element);
  const errorOf = (group: Group, code: number) => {
    fill(group, code);
    const step = fround(tensorScale * scaleValues[code]);
    let error = 0;
    for (let i = group.start; i < group.end; i++) {
      const difference = group.values[i] - step * elementValues[group.codes[group.at + i - group.start]];
      error += difference * difference;
    }
    return error;
  };
  const candidates = (scale: number) =>
    search === "all" ? Array.from({ length: 126 }, (_, i) => i + 1) : [scaleCode(scale), scaleCode(scale * 1.5)];
  return (group, scale) => {
    if (scale === 0) return 0;
    let [best, least] = [0, Infinity];
    for (const code of candidates(scale)) {
      const error = errorOf(group, code);
      if (error < least) [best, least] = [code, error];
    }
    return best;
  };
}
