/** Number formats and schemes: the registries, and everything public of this folder. */
import { registry } from "../registry.js";
import { bf16 } from "./bf16.js";
import { codebooks } from "./codebooks.js";
import { e2m1 } from "./e2m1.js";
import { e2m3 } from "./e2m3.js";
import { e3m2 } from "./e3m2.js";
import { e3m4 } from "./e3m4.js";
import { e4m3 } from "./e4m3.js";
import { e4m3b11fnuz } from "./e4m3b11fnuz.js";
import { e4m3fn } from "./e4m3fn.js";
import { e4m3fnuz } from "./e4m3fnuz.js";
import { e5m2 } from "./e5m2.js";
import { e5m2fnuz } from "./e5m2fnuz.js";
import { e8m0 } from "./e8m0.js";
import { f16 } from "./f16.js";
import { f32 } from "./f32.js";
import { deriveFormat } from "./families.js";
import type { NumberFormat } from "./format.js";
import { integers } from "./integers.js";
import type { Scheme } from "./scheme.js";
import { deriveScheme } from "./schemes/families.js";
import { schemeRecords } from "./schemes/index.js";
import { tf32 } from "./tf32.js";
import { ue4m3 } from "./ue4m3.js";
import { ue5m3 } from "./ue5m3.js";

export const formats = registry<NumberFormat>(
  "format",
  [
    f32,
    tf32,
    f16,
    bf16,
    e5m2,
    e4m3fn,
    e4m3,
    e3m4,
    e5m2fnuz,
    e4m3fnuz,
    e4m3b11fnuz,
    e3m2,
    e2m3,
    e2m1,
    e8m0,
    ue5m3,
    ue4m3,
    ...integers,
    ...codebooks,
  ],
  deriveFormat,
);

export const schemes = registry<Scheme>(
  "scheme",
  schemeRecords,
  (name) => deriveScheme(name, formats.find),
  // A format without the scale that makes a scheme of it.
  (name) => [`${name}-row`, `${name}-g32`],
);

/** The format of that name; InputError with a suggestion otherwise. */
export const format = formats.get;

/** The scheme of that name, listed or of a family (`int4-g64`, `e2m1-g32`, `int4-g128-asym`). */
export const scheme = schemes.get;

export * from "./arithmetic.js";
export { type ArrayEncoder, arrayEncoder, decodeArray, encodeArray, f32Encoder } from "./casts.js";
export { decode, type EncodeOptions, encode, roundTo } from "./codec.js";
export * from "./compare.js";
export {
  type Complex,
  type ComplexFormat,
  complexFormats,
  complexUnits,
  decodeComplex,
  dequantizeComplex,
  encodeComplex,
  type PackedComplex,
  quantizeComplex,
} from "./complex.js";
export { type CodeValue, describe, type FormatDescription } from "./describe.js";
export { E8M0_RULES, type E8m0Rule } from "./e8m0-rules.js";
export { type Dyadic, decodeExact, dyadic } from "./exact.js";
export { type Explanation, explain, type Step } from "./explain.js";
export { type Extended, project } from "./extended.js";
export { type FormatFamily, formatFamilies } from "./families.js";
export * from "./format.js";
export { kappa } from "./kappa.js";
export * from "./limits.js";
export * from "./numerals.js";
export { p3109Names } from "./p3109.js";
export * from "./p3109-blocks.js";
export * from "./packing.js";
export { groupSize, groupsPerRow, type PlaneLayout, type PlaneLayouts, planeLayouts } from "./planes.js";
export * from "./rounding.js";
export type * from "./scheme.js";
export { scaledScheme } from "./schemes/families.js";
export { mixtureScheme } from "./schemes/mixtures.js";
export { type MxRule, mxScheme, POWER_RULES, type PowerRuleName } from "./schemes/mx.js";
export { NV_ORDERS, type NvOrder, type NvRule, nvScheme } from "./schemes/nv.js";
export { PRESETS, presetNames } from "./schemes/presets.js";
export { decodeTable, decodeTableF32 } from "./table.js";
