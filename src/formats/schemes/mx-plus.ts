/**
 * MX+: the exponent of the largest element of an MX block follows from the block's scale, so its exponent bits hold more of
 * its significand instead. A byte for each block says which element it is:
 *
 *     value of the largest element = (-1)^s 2^emax (1 + m / 2^(E + M))
 *
 * Built from the format's description. What it leaves open is decided so: of equal magnitudes the first is the largest;
 * a block of zeros, or one below the least scale, has none (255).
 */
import { exponentOf, scaleByPower } from "../binary64.js";
import { arrayEncoder } from "../casts.js";
import { e8m0 } from "../e8m0.js";
import { type CodebookFormat, codebook, type MinifloatFormat } from "../format.js";
import { uint } from "../integers.js";
import { maxFinite } from "../limits.js";
import { withSteps } from "../rule-steps.js";
import type { Scheme, SchemeRule } from "../scheme.js";
import { decodeTable } from "../table.js";
import { byGroup } from "./groups.js";
import { MX_ELEMENTS } from "./presets.js";

const { abs, max, min } = Math;
const NONE = 255;
/** Nearest integer, ties to even, for 0 <= x < 2^51. */
const nearest = (x: number) => x + 6755399441055744 - 6755399441055744;

const emaxOf = (format: MinifloatFormat) => exponentOf(maxFinite(format));

/** The element's own values, then those of a block's largest element. */
function withLargest(format: MinifloatFormat, source: string): CodebookFormat {
  const steps = 2 ** (format.bits - 1);
  const magnitudes = Array.from({ length: steps }, (_, m) => scaleByPower(1 + m / steps, emaxOf(format)));
  return codebook({
    name: `${format.name}+`,
    values: [...decodeTable(format), ...magnitudes, ...magnitudes.map((v) => -v)],
    summary: `${format.name}, then a block's largest element with ${format.bits - 1} bits of significand`,
    source,
  });
}

/** Scale by OCP's rule (floor); elements and the largest element's significand are rounded to nearest even and saturate. */
const plusRule = (format: MinifloatFormat): SchemeRule =>
  withSteps(plusGroups(format), () => ({
    kind: "marked",
    scaleCode: (amax) => max(0, biasedScale(amax, emaxOf(format))),
    inverse: (code) => scaleByPower(1, 127 - code),
    emax: emaxOf(format),
  }));

/** The scale's code before it is limited; negative where there is none. */
const biasedScale = (amax: number, emax: number) => (amax === 0 ? -1 : exponentOf(amax) - emax + 127);

const plusGroups = (format: MinifloatFormat): SchemeRule =>
  byGroup(() => {
    const encodeAll = arrayEncoder(format, { overflow: "saturate" });
    const [emax, steps] = [emaxOf(format), 2 ** (format.bits - 1)];
    let scaled = new Float32Array(32);
    return (group) => {
      const { values, codes, start, end, at } = group;
      const count = end - start;
      if (scaled.length < count) scaled = new Float32Array(count);
      let largest = 0;
      for (let i = 1; i < count; i++) if (abs(values[start + i]) > abs(values[start + largest])) largest = i;
      const x = values[start + largest];
      const biased = biasedScale(abs(x), emax);
      group.scale = biased < 0 ? 0 : biased;
      group.tag = biased < 0 ? NONE : largest;
      const inverse = scaleByPower(1, 127 - group.scale);
      for (let i = 0; i < count; i++) scaled[i] = values[start + i] * inverse;
      encodeAll(scaled, 0, count, codes, at);
      if (group.tag === NONE) return;
      const m = min(steps - 1, nearest((scaleByPower(abs(x) * inverse, -emax) - 1) * steps));
      codes[at + largest] = x < 0 ? steps + m : m;
    };
  });

/** The scheme of a name: mxfp4+, mxfp6-e2m3+, mxfp8+. */
export function deriveMxPlus(name: string): Scheme | undefined {
  const base = name.endsWith("+") ? name.slice(0, -1) : "";
  if (!Object.hasOwn(MX_ELEMENTS, base)) return undefined;
  const element = MX_ELEMENTS[base as keyof typeof MX_ELEMENTS];
  const source = "MX+ (arXiv 2510.14557): built from its description";
  return {
    name,
    summary: `MX+: ${element.name}, power-of-two scale for 32, whose largest element has ${element.bits - 1} bits of significand`,
    source,
    element,
    tags: {
      format: uint(8),
      per: 32,
      element: withLargest(element, source),
      widen: (code, tag, place) => (tag === place ? code + 2 ** element.bits : code),
      kind: "place",
    },
    scale: { format: e8m0, per: 32 },
    quantize: plusRule(element),
  };
}
