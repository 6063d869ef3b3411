/** Rounding activations, defined: what every backend's `round` and `roundStatic` must equal bit for bit. */
import { NumericError } from "../errors.js";
import { decodeArray, encodeArray } from "../formats/casts.js";
import type { NumberFormat } from "../formats/format.js";
import { codeArray } from "../formats/packing.js";
import type { Scheme } from "../formats/scheme.js";
import { dequantize } from "../tensor/dequantize.js";
import { quantize } from "../tensor/quantize.js";

/** Rows of `columns` numbers, each quantized and dequantized as a tensor of its own. out may be x. */
export function roundRows(out: Float32Array, x: Float32Array, scheme: Scheme, batch: number, columns: number): void {
  for (let row = 0; row < batch; row++) {
    const values = x.slice(row * columns, (row + 1) * columns);
    demandFinite(values, row);
    out.set(dequantize(quantize(values, [columns], scheme)), row * columns);
  }
}

/**
 * out = S_j v(code), code the nearest to f32(x_j / S_j), ends of the range for what lies beyond. `scales` holds S: one for all
 * columns or one for each.
 */
export function roundRowsStatic(
  out: Float32Array,
  x: Float32Array,
  format: NumberFormat,
  scales: Float32Array,
  batch: number,
  columns: number,
): void {
  const step = scales.length === 1 ? 0 : 1;
  const codes = codeArray(format.bits, columns);
  const row = new Float32Array(columns);
  for (let m = 0; m < batch; m++) {
    for (let j = 0; j < columns; j++) row[j] = x[m * columns + j] / scales[j * step];
    demandFinite(row, m);
    encodeArray(format, row, codes, { overflow: "saturate" });
    decodeArray(format, codes, row, 0, columns);
    for (let j = 0; j < columns; j++) out[m * columns + j] = row[j] * scales[j * step];
  }
}

/** NumericError for a number of a row that is not finite. */
export function demandFinite(values: Float32Array, row: number): void {
  // 0 times a number is NaN where the number is infinite or NaN.
  let zero = 0;
  for (let i = 0; i < values.length; i++) zero += 0 * values[i];
  if (zero === 0) return;
  const bad = values.findIndex((value) => !Number.isFinite(value));
  throw new NumericError(`an activation is ${values[bad]}`, {
    where: `row ${row}, channel ${bad} of the input of a linear map`,
    why: "only finite numbers can be rounded to a scheme",
    try: "activations as they are, to see whether the model itself overflows",
  });
}
