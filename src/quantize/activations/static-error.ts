import { codeArray, decodeArray, encodeArray, type NumberFormat } from "../../formats/index.js";

/** Numbers that a range is judged by, taken evenly where there are more. */
const MOST = 1 << 15;

/**
 * sum (weight (x - S v(code)))^2 for the nearest codes under one scale S, ends of the range included; over numbers taken
 * evenly where there are very many. Weights are 1 unless given.
 */
export function staticError(format: NumberFormat, values: Float32Array, scale: number, weights?: Float32Array): number {
  // An odd step meets every channel.
  const step = Math.floor(values.length / MOST / 2) * 2 + 1;
  const count = Math.ceil(values.length / step);
  const rounded = new Float32Array(count);
  for (let i = 0; i < count; i++) rounded[i] = values[i * step] / scale;
  const codes = codeArray(format.bits, count);
  encodeArray(format, rounded, codes, { overflow: "saturate" });
  decodeArray(format, codes, rounded);
  let sum = 0;
  for (let i = 0; i < count; i++) {
    sum += ((weights ? weights[i * step] : 1) * (values[i * step] - scale * rounded[i])) ** 2;
  }
  return sum;
}
