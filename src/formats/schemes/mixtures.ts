/**
 * Mixtures: every group uses one of several codebooks of the same width, the one that errs least, and its tag says which.
 * bitmodB[-er|-ea]-gG is BitMoD's: floating point of 3 or 4 bits whose redundant negative zero is a special value instead,
 * within the range ("extra resolution", er), beyond it ("extra asymmetry", ea), or either.
 */
import { arrayEncoder } from "../casts.js";
import { bitmod3, bitmod4 } from "../codebooks.js";
import { f16 } from "../f16.js";
import { type CodebookFormat, codebook } from "../format.js";
import { uint } from "../integers.js";
import { withSteps } from "../rule-steps.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { amaxOf, byGroup, finiteEncoder } from "./groups.js";

const { abs, ceil, fround, log2, max } = Math;

/**
 * For each codebook: scale = f16(amax / largest magnitude), code = nearest(x / scale). Of all the first with the least sum of
 * squared errors.
 */
const leastErrorRule = (variants: readonly CodebookFormat[]): SchemeRule =>
  withSteps(leastErrorGroups(variants), () => ({ kind: "mixture", variants, largest: variants.map(largestOf) }));

const largestOf = ({ values }: CodebookFormat) => values.reduce((m, v) => max(m, abs(v)), 0);

const leastErrorGroups = (variants: readonly CodebookFormat[]): SchemeRule =>
  byGroup(() => {
    const scaleCode = finiteEncoder(f16, "group scale");
    const scaleValues = decodeTable(f16);
    const encoders = variants.map((format) => arrayEncoder(format, { overflow: "saturate" }));
    const largest = variants.map(largestOf);
    let scaled = new Float32Array(128);
    return (group) => {
      const { values, codes, start, end, at } = group;
      const count = end - start;
      if (scaled.length < count) scaled = new Float32Array(count);
      const amax = amaxOf(values, start, end);
      const fill = (tag: number) => {
        group.tag = tag;
        group.scale = scaleCode(fround(amax / largest[tag]));
        const s = scaleValues[group.scale];
        for (let i = 0; i < count; i++) scaled[i] = s === 0 ? 0 : values[start + i] / s;
        encoders[tag](scaled, 0, count, codes, at);
        return s;
      };
      let [best, least] = [0, Infinity];
      for (let tag = 0; tag < variants.length; tag++) {
        const s = fill(tag);
        let error = 0;
        for (let i = 0; i < count; i++) {
          const difference = values[start + i] - s * variants[tag].values[codes[at + i]];
          error += difference * difference;
        }
        if (error < least) [best, least] = [tag, error];
      }
      fill(best);
    };
  });

/** A scheme whose groups of `per` elements choose among codebooks of the same width. */
export function mixtureScheme(parts: {
  readonly name: string;
  readonly variants: readonly CodebookFormat[];
  readonly per: number;
  readonly summary: string;
  readonly source: string;
}): Scheme {
  const { name, variants, per, summary, source } = parts;
  const { bits } = variants[0];
  const all = codebook({
    name: variants.map((variant) => variant.name).join("|"),
    values: variants.flatMap(({ values }) => values),
    summary: "the codebooks of a mixture, one after another",
    source,
  });
  return {
    name,
    summary,
    source,
    element: variants[0],
    tags: {
      format: uint(ceil(log2(variants.length))),
      per,
      element: all,
      widen: (code, tag) => (tag << bits) | code,
      kind: "list",
    },
    scale: { format: f16, per },
    quantize: leastErrorRule(variants),
  };
}

const SPECIALS = {
  3: { er: [3, -3], ea: [6, -6] },
  4: { er: [10, -10], ea: [16, -16] },
} as const;

/** The scheme of a name: bitmod3-g128, bitmod4-er-g64. */
export function deriveMixture(name: string): Scheme | undefined {
  const match = /^bitmod([34])(?:-(er|ea))?-g([1-9]\d{0,4})$/.exec(name);
  if (!match) return undefined;
  const [bits, kind, per] = [Number(match[1]) as 3 | 4, match[2] as "er" | "ea" | undefined, Number(match[3])];
  const { er, ea } = SPECIALS[bits];
  const specials = kind ? SPECIALS[bits][kind] : [...er, ...ea];
  return mixtureScheme({
    name,
    variants: specials.map(bits === 3 ? bitmod3 : bitmod4),
    per,
    summary: `BitMoD FP${bits}: special value ${specials.join(", ")}, chosen for each ${per}; f16 scale`,
    source: "BitMoD (HPCA 2025), auto_dtype.py",
  });
}
