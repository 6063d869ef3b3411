/** The plans of formats and schemes, each made once. */
import type { EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import type { Scheme } from "../../formats/scheme.js";
import { planDecode } from "./decode-plan.js";
import { type EncodePlan, planEncode } from "./encode-plan.js";
import { type DequantizePlan, planDequantize, planQuantize, type QuantizePlan } from "./scheme-plan.js";

/** Per format or scheme and options: something computed once. */
export function cache<K extends object, T>(
  make: (key: K, options: EncodeOptions) => T,
): (key: K, options?: EncodeOptions) => T {
  const byKey = new WeakMap<K, Map<string, T>>();
  return (key, options = {}) => {
    const byOptions = byKey.get(key) ?? new Map<string, T>();
    byKey.set(key, byOptions);
    const name = `${options.rounding} ${options.overflow} ${options.nan}`;
    if (!byOptions.has(name)) byOptions.set(name, make(key, options));
    return byOptions.get(name) as T;
  };
}

export const encodePlan = cache<NumberFormat, EncodePlan>(planEncode);
export const decodePlan = cache(planDecode);
export const quantizePlan = cache<Scheme, QuantizePlan>(planQuantize);
export const dequantizePlan = cache<Scheme, DequantizePlan>(planDequantize);
