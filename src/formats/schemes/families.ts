/**
 * Schemes made from a name, for any number format of at most 8 bits: ELEMENT-gG has one f16 scale for G elements of a row
 * (`row` in place of gG: for a whole row, RxG: for R rows x G columns, Rx1: along the other axis), ELEMENT-gG-SCALE another
 * scale format, ELEMENT-mxG power-of-two scales; a float's own name has no scale at all; intB-gG-asym has a zero point; bfpB-gG is block floating point; bitmodB-gG and
 * mxfp4+ are in files of their own; NAME@STACK is NAME as another stack computes it.
 */

import { exponentOf } from "../binary64.js";
import { arrayEncoder } from "../casts.js";
import { decode } from "../codec.js";
import { f16 } from "../f16.js";
import type { IntegerFormat, NumberFormat } from "../format.js";
import { uint } from "../integers.js";
import { maxFinite, minFinite, scaleTarget } from "../limits.js";
import { withOptions, withSteps } from "../rule-steps.js";
import type { Scheme, SharedCodec } from "../scheme.js";
import { decodeTable } from "../table.js";
import { castRule } from "./cast.js";
import { amaxOf, byGroup, finiteEncoder, tileAmax } from "./groups.js";
import { deriveMixture } from "./mixtures.js";
import { mxScheme } from "./mx.js";
import { deriveMxPlus } from "./mx-plus.js";
import { mxintElement } from "./mxint.js";
import { derivePreset } from "./presets.js";

const { fround, max, min } = Math;
/** Nearest integer, ties to even, for |x| < 2^51. */
const nearest = (x: number) => x + 6755399441055744 - 6755399441055744;

/**
 * scale = f16(amax / max) (max: see scaleTarget), code = element(x / scale) with nearest-even rounding and saturation; x / scale
 * is one f32 division. Where the scale rounds to 0 every code is that of 0.
 */
const scaled = byGroup((scheme, all, rows, columns, wanted) => {
  const { element, scale } = scheme;
  const largest = scaleTarget(element);
  const tile = tileAmax(scale!, all, rows, columns);
  const scaleCode = finiteEncoder(scale!.format, "group scale");
  const scaleValue = scaleReader(scale!.format);
  const encodeAll = arrayEncoder(element, { overflow: "saturate", ...wanted });
  let scaled = new Float32Array(1024);
  return (group) => {
    const { values, codes, start, end, at } = group;
    const count = end - start;
    if (scaled.length < count) scaled = new Float32Array(count);
    group.scale = scaleCode(fround((tile?.(start) ?? amaxOf(values, start, end)) / largest));
    const s = scaleValue(group.scale);
    for (let i = 0; i < count; i++) scaled[i] = s === 0 ? 0 : values[start + i] / s;
    encodeAll(scaled, 0, count, codes, at);
  };
});

const scaledRule = withSteps(withOptions(scaled), ({ element }) => ({ kind: "scaled", max: scaleTarget(element) }));

/** The value of a scale's code. */
function scaleReader(format: NumberFormat): (code: number) => number {
  if (format.bits > 16) return (code) => decode(format, code);
  const table = decodeTable(format);
  return (code) => table[code];
}

/**
 * scale = f16((high - low) / steps) over the range widened to hold 0, zero point Z = round(-low / scale),
 * code = clamp(round(x / scale) + Z): w = scale * (code - Z). Roundings to nearest even.
 */
const asymmetric = byGroup((scheme) => {
  const steps = (scheme.element as IntegerFormat).max;
  const scaleCode = finiteEncoder(scheme.scale!.format, "group scale");
  const scaleValues = decodeTable(scheme.scale!.format);
  return (group) => {
    const { values, codes, start, end } = group;
    let low = 0;
    let high = 0;
    for (let i = start; i < end; i++) {
      low = min(low, values[i]);
      high = max(high, values[i]);
    }
    group.scale = scaleCode(fround(fround(high - low) / steps));
    const s = scaleValues[group.scale];
    const zero = s === 0 ? 0 : min(steps, nearest(fround(-low / s)));
    group.offset = zero;
    for (let i = start, at = group.at; i < end; i++, at++) {
      codes[at] = s === 0 ? 0 : max(0, min(steps, nearest(fround(values[i] / s)) + zero));
    }
  };
});

const asymmetricRule = withSteps(asymmetric, ({ element }) => ({
  kind: "affine",
  steps: (element as IntegerFormat).max,
}));

/** A scheme of one f16 scale for each group (or whatever format `scale` names): the four-line block scheme. */
export function scaledScheme(parts: {
  name: string;
  element: NumberFormat;
  per: SharedCodec["per"];
  /** Rows that share a scale, stored once for all of them. */
  rows?: number;
  scale?: NumberFormat;
  summary?: string;
  source?: string;
}): Scheme {
  const { name, element, per, rows, scale = f16 } = parts;
  const group = `${rows === undefined ? "" : `${rows} rows x `}${per === "row" ? "a row" : per}`;
  return {
    name,
    summary: parts.summary ?? `${element.name}, ${scale.name} scale for ${group}`,
    source: parts.source ?? element.source,
    element,
    scale: { format: scale, per, ...(rows !== undefined && { rows }) },
    quantize: scaledRule,
  };
}

function asymmetricScheme(name: string, bits: number, per: SharedCodec["per"]): Scheme {
  return {
    name,
    summary: `${bits}-bit integer, f16 scale and zero point for ${per === "row" ? "a row" : per}`,
    source: "affine quantization, w = scale * (code - zero point)",
    element: uint(bits),
    scale: { format: f16, per },
    offset: { kind: "zeroPoint", format: uint(bits), per },
    quantize: asymmetricRule,
  };
}

const derived = new Map<string, Scheme | undefined>();
type FindFormat = (name: string) => NumberFormat | undefined;

/** The scheme a family name means; the same record for the same name. */
export function deriveScheme(name: string, findFormat: FindFormat): Scheme | undefined {
  if (!derived.has(name)) {
    const own = derivePreset(name) ?? sharedExponent(name) ?? deriveMixture(name) ?? deriveMxPlus(name);
    derived.set(name, own ?? grouped(name, findFormat) ?? plainCast(findFormat(name)));
  }
  return derived.get(name);
}

/**
 * A float by its own name: every value rounded by itself, as checkpoints in F8_E4M3 hold it. Only signed formats that can
 * say that a value is out of range: the others would clip weights silently.
 */
function plainCast(element: NumberFormat | undefined): Scheme | undefined {
  if (element?.kind !== "minifloat" || !element.signed || element.nonFinite === "none") return undefined;
  const { name, source } = element;
  return { name, summary: `plain ${name}, values out of range are an error`, source, element, quantize: castRule };
}

/** bfpB-gG: block floating point, B-bit symmetric fixed point (2 to 16 bits) with one exponent for G elements. */
function sharedExponent(name: string): Scheme | undefined {
  const match = /^bfp([2-9]|1[0-6])-g([1-9]\d{0,4})$/.exec(name);
  if (!match) return undefined;
  const [bits, per] = [Number(match[1]), Number(match[2])];
  return mxScheme({
    name,
    element: mxintElement(bits),
    per,
    summary: `block floating point: ${bits}-bit fixed point, one exponent for ${per}`,
    source: "MSFP (NeurIPS 2020), with E8M0 exponents",
  });
}

/** ELEMENT-gG, ELEMENT-gG-SCALE, ELEMENT-RxG, ELEMENT-gG-asym and the same with `row`; ELEMENT-mxG with power-of-two scales. */
function grouped(name: string, findFormat: FindFormat): Scheme | undefined {
  const match = /^(.+?)-(?:(mx|g|([1-9]\d{0,3})x)([1-9]\d{0,6})|(row))(?:-([a-z][a-z0-9]*))?$/.exec(name);
  if (!match) return undefined;
  const element = findFormat(match[1]);
  const rows = match[3] === undefined ? undefined : Number(match[3]);
  const per = match[5] ? "row" : Number(match[4]);
  const suffix = match[6];
  if (!element || element.bits > 8) return undefined;
  if (suffix === "asym") {
    const affine = match[2] !== "mx" && rows === undefined && element.kind === "integer" && element.bits >= 2;
    return affine ? asymmetricScheme(name, element.bits, per) : undefined;
  }
  if (!canScale(element)) return undefined;
  if (match[2] === "mx") return suffix || per === "row" ? undefined : mxScheme({ name, element, per });
  const scale = suffix === undefined ? f16 : SCALE_FORMATS.includes(suffix) ? findFormat(suffix) : undefined;
  return scale && scaledScheme({ name, element, per, rows, scale });
}

/** Formats that a group's scale amax / max may be rounded to. */
const SCALE_FORMATS = ["f32", "f16", "bf16", "e4m3fn", "e5m2", "ue4m3", "ue5m3"];

/** Scaling by amax needs a value range with both signs; E8M0 and the like are scales themselves. */
function canScale(format: NumberFormat): boolean {
  const largest = maxFinite(format);
  return largest > 0 && exponentOf(largest) < 64 && minFinite(format) < 0;
}
