/** Schemes without scales: every value rounded to the element format by itself. */
import { NumericError } from "../../errors.js";
import { arrayEncoder } from "../casts.js";
import { decode, type EncodeOptions, encode } from "../codec.js";
import type { NumberFormat } from "../format.js";
import { planeLayouts, planeWriter } from "../planes.js";
import { withOptions, withSteps } from "../rule-steps.js";
import { amaxOf } from "./groups.js";

const rule = withOptions((scheme, values, rows, columns, planes, wanted) => {
  const { element } = scheme;
  if (wanted?.overflow === undefined) refuseOverflow(element, values, wanted);
  const codes = planeWriter(planeLayouts(scheme, rows, columns).codes!, planes.codes);
  const encodeRow = arrayEncoder(element, wanted);
  for (let row = 0; row < rows; row++) {
    encodeRow(values, row * columns, columns, codes.row, 0);
    codes.next();
  }
});

function refuseOverflow(element: NumberFormat, values: Float32Array, wanted?: EncodeOptions): void {
  const amax = amaxOf(values, 0, values.length);
  if (Number.isFinite(decode(element, encode(element, amax, wanted)))) return;
  const index = values.findIndex((value) => Math.abs(value) === amax);
  throw new NumericError(`${values[index]} at index ${index} is beyond the range of ${element.name}`, {
    kind: "number-out-of-range",
    try: "a wider format, or a scheme with scales",
  });
}

/**
 * Nearest-even; a NumericError where a finite value would become an infinity or NaN, unless the caller says by `overflow`
 * what it is to become.
 */
export const castRule = withSteps(rule, () => ({ kind: "cast" }));
