import { codeArray, decodeArray, encodeArray, type NumberFormat } from "../../formats/index.js";

/** sum (x - S v(code))^2 for the nearest codes under one scale S, ends of the range included. */
export function staticError(format: NumberFormat, values: Float32Array, scale: number): number {
  const scaled = values.map((x) => x / scale);
  const codes = codeArray(format.bits, values.length);
  encodeArray(format, scaled, codes, { overflow: "saturate" });
  decodeArray(format, codes, scaled);
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += (values[i] - scale * scaled[i]) ** 2;
  return sum;
}
