/**
 * Microscaling blocks (OCP MX 1.0): a group of elements shares a power of two. Dividing by it is exact, so an element is
 * rounded once, by its own format. What stacks do not agree on is which power of two; the rules have names.
 */
import { bitsOfF32, exponentOf, f32OfBits, scaleByPower } from "../binary64.js";
import { arrayEncoder } from "../casts.js";
import { type EncodeOptions, encode } from "../codec.js";
import { e8m0 } from "../e8m0.js";
import type { NumberFormat } from "../format.js";
import { maxFinite } from "../limits.js";
import { type ScaleCandidates, withOptions, withSteps } from "../rule-steps.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { amaxOf, byGroup, type Group, tileAmax } from "./groups.js";

/** What a scale rule needs to know of the elements. */
export interface ElementRange {
  readonly max: number;
  /** floor(log2 max). */
  readonly emax: number;
  /** Trailing significand bits (fraction bits of integers). */
  readonly significandBits: number;
}

/** The exponent of the scale for a block with this amax > 0; not yet limited to E8M0's -127 .. 127. */
export type PowerRule = (amax: number, element: ElementRange) => number;

const { ceil, floor, fround, log2, round } = Math;
/** Least k with 2^k >= x; no logarithm is taken. */
const ceilLog2 = (x: number) => exponentOf(x) + Number(scaleByPower(x, -exponentOf(x)) > 1);

export const POWER_RULES = {
  /** OCP MX 1.0, section 6.3: floor(log2 amax) - emax. The largest elements may saturate. */
  floor: (amax, { emax }) => exponentOf(amax) - emax,
  /** ceil(log2 amax) - emax (torchao CEIL). */
  ceil: (amax, { emax }) => ceilLog2(amax) - emax,
  /** As floor, after rounding amax half up to the element's own precision (torchao EVEN, FBGEMM, compressed-tensors). */
  even: (amax, { emax, significandBits }) =>
    exponentOf(f32OfBits(bitsOfF32(amax) + 2 ** (22 - significandBits))) - emax,
  /** As even with the precision of e2m1, whatever the element (compressed-tensors for 4 and 8 bits). */
  "even-e2m1": (amax, { emax }) => exponentOf(f32OfBits(bitsOfF32(amax) + 2 ** 21)) - emax,
  /** The least power of two that holds amax / max, one f32 division: nothing saturates (NVIDIA, torchao RCEIL). */
  "round-up": (amax, { max }) => ceilLog2(fround(amax / max)),
  /** As round-up with amax * (1 / max) in f32 (TransformerEngine's multiplication by the reciprocal). */
  "round-up-reciprocal": (amax, { max }) => ceilLog2(fround(amax * fround(1 / max))),
  /** round(log2(amax / max)), the nearest power in logarithms (MLX before 2026). Up to 29 % of amax is lost. */
  "log-nearest": (amax, { max }) => round(log2(amax / max)),
  /** The least power of two that holds amax / 7.25: lets 4-bit maxima up to 7.25 saturate to 6 (auto-round). */
  "round-up-7.25": (amax) => ceilLog2(fround(amax / 7.25)),
  /** floorf(log2f(amax)) - emax as ggml computes it: the f32 logarithm rounds up just below a power of two. */
  "floor-f32-log": (amax, { emax }) => floor(fround(log2(amax))) - emax,
  /** ceil(log2f(amax / max)) in f32 logarithms (torchao's eager RCEIL). */
  "round-up-f32-log": (amax, { max }) => ceil(fround(log2(fround(amax / max)))),
} as const satisfies Record<string, PowerRule>;
export type PowerRuleName = keyof typeof POWER_RULES;

export interface MxRule {
  /** Default "floor". */
  readonly scale?: PowerRuleName;
  /** Instead of a rule: the exponent next to floor's, -1 to 2, with the least sum of |error| or its square; ties to the lower. */
  readonly search?: "absolute" | "square";
  readonly element?: EncodeOptions;
  /** Negative values that round to zero get the code of +0. */
  readonly positiveZero?: boolean;
  /** Divide by at least 2^-126 also where the scale says 2^-127 (torchao, whose kernels flush f32 subnormals). */
  readonly normalDivisor?: boolean;
  /** Do not divide at all where the scale is 2^-127 (torchao RCEIL). */
  readonly unitAtLeast?: boolean;
  /** The amax that a zero block counts as. Default: none, its scale gets code 0. */
  readonly zeroAmax?: number;
}

/** Elements saturate; exponents stay within E8M0's codes 0 .. 254; a zero block gets code 0. */
export const mxRule = (rule: MxRule = {}): SchemeRule =>
  withSteps(withOptions(powerBlocks(rule)), ({ element: format }) => {
    const { search, element = {}, positiveZero = false } = rule;
    const scaleCode = scaleCoder(format, rule);
    const inverse = (code: number) => inverseOf(code, rule);
    const steps = {
      kind: "power",
      scaleCode,
      inverse,
      element: { overflow: "saturate", ...element },
      positiveZero,
    } as const;
    return search ? { ...steps, search: { measure: search, all: true }, candidates: candidatesOf(format) } : steps;
  });

/** From a block's amax to the code of its scale. */
function scaleCoder(format: NumberFormat, { scale = "floor", zeroAmax = 0 }: MxRule): (amax: number) => number {
  const range = elementRange(format);
  const power: PowerRule = POWER_RULES[scale];
  return (amax) => {
    const basis = amax === 0 ? zeroAmax : amax;
    return basis === 0 ? 0 : scaleCodeOf(power(basis, range));
  };
}

const scaleCodeOf = (exponent: number) => Math.max(0, Math.min(254, exponent + 127));

const powerBlocks = (rule: MxRule) =>
  byGroup((scheme, values, rows, columns, wanted) => {
    const { search, element = {}, positiveZero = false } = rule;
    const tile = tileAmax(scheme.scale!, values, rows, columns);
    const format = scheme.element;
    const range = elementRange(format);
    const scaleCode = scaleCoder(format, rule);
    const encodeAll = arrayEncoder(format, { overflow: "saturate", ...element, ...wanted });
    const elements = decodeTable(format);
    const negativeZero = positiveZero ? negativeZeroOf(format) : undefined;
    let scaled = new Float32Array(32);
    const fill = (group: Group, biased: number) => {
      const { codes, start, end, at } = group;
      if (scaled.length < end - start) scaled = new Float32Array(end - start);
      const inverse = inverseOf(biased, rule);
      for (let i = start; i < end; i++) scaled[i - start] = group.values[i] * inverse;
      encodeAll(scaled, 0, end - start, codes, at);
      if (negativeZero === undefined) return;
      for (let i = at; i < at + end - start; i++) if (codes[i] === negativeZero) codes[i] = 0;
    };
    return (group) => {
      const amax = tile?.(group.start) ?? amaxOf(values, group.start, group.end);
      group.scale = scaleCode(amax);
      if (search && amax > 0) {
        group.scale = searched(group, scaleCodeOf(POWER_RULES.floor(amax, range)), fill, elements, search);
      }
      fill(group, group.scale);
    };
  });

/** What elements are multiplied by under a biased scale exponent. */
function inverseOf(biased: number, { normalDivisor, unitAtLeast }: MxRule): number {
  if (biased === 0 && unitAtLeast) return 1;
  return scaleByPower(1, 127 - (normalDivisor ? Math.max(1, biased) : biased));
}

/** The scale codes that a search tries: from one below floor's to two above. */
const candidateRange = (floor: number) => [Math.max(0, floor - 1), Math.min(254, floor + 2)] as const;

function candidatesOf(format: NumberFormat): ScaleCandidates {
  const range = elementRange(format);
  const around = (amax: number) => candidateRange(scaleCodeOf(POWER_RULES.floor(amax, range)));
  return {
    lowest: (amax) => (amax === 0 ? 0 : around(amax)[0]),
    highest: (amax) => (amax === 0 ? 0 : around(amax)[1]),
    step: (code) => scaleByPower(1, code - 127),
  };
}

function searched(
  group: Group,
  first: number,
  fill: (group: Group, biased: number) => void,
  values: Float64Array,
  measure: "absolute" | "square",
): number {
  let best = first;
  let least = Infinity;
  const [lowest, highest] = candidateRange(first);
  for (let biased = lowest; biased <= highest; biased++) {
    fill(group, biased);
    const step = scaleByPower(1, biased - 127);
    let error = 0;
    for (let i = group.start; i < group.end; i++) {
      const difference = Math.abs(group.values[i] - values[group.codes[group.at + i - group.start]] * step);
      error += measure === "square" ? difference * difference : difference;
    }
    if (error < least) [best, least] = [biased, error];
  }
  return best;
}

function elementRange(format: NumberFormat): ElementRange {
  const max = maxFinite(format);
  const significandBits =
    format.kind === "minifloat" ? format.significandBits : format.kind === "integer" ? (format.fractionBits ?? 0) : 0;
  return { max, emax: exponentOf(max), significandBits };
}

function negativeZeroOf(format: NumberFormat): number | undefined {
  const code = encode(format, -0);
  return code === encode(format, 0) ? undefined : code;
}

/** A scheme of E8M0 scales for `per` elements of any format. */
export function mxScheme(parts: {
  readonly name: string;
  readonly element: NumberFormat;
  readonly per?: number;
  /** Rows that share a scale too (2-D blocks), stored once for all of them. */
  readonly rows?: number;
  readonly rule?: MxRule;
  readonly aliases?: readonly string[];
  readonly summary?: string;
  readonly source?: string;
}): Scheme {
  const { name, element, per = 32, rows, rule, aliases } = parts;
  return {
    name,
    ...(aliases && { aliases }),
    summary: parts.summary ?? `${element.name}, power-of-two scale for ${per}`,
    source: parts.source ?? "OCP Microscaling Formats (MX) 1.0, section 6.3",
    element,
    scale: { format: e8m0, per, ...(rows !== undefined && { rows }) },
    quantize: mxRule(rule),
  };
}
