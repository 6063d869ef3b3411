/** Schemes without scales: every value rounded to the element format by itself. */
import { NumericError } from "../../errors.js";
import { arrayEncoder } from "../casts.js";
import { decode, encode } from "../codec.js";
import { planeLayouts, planeWriter } from "../planes.js";
import { withSteps } from "../rule-steps.js";
import type { SchemeRule } from "../scheme.js";
import { amaxOf } from "./groups.js";

const rule: SchemeRule = (scheme, values, rows, columns, planes) => {
  const { element } = scheme;
  const amax = amaxOf(values, 0, values.length);
  if (!Number.isFinite(decode(element, encode(element, amax)))) {
    const index = values.findIndex((value) => Math.abs(value) === amax);
    throw new NumericError(`${values[index]} at index ${index} is beyond the range of ${element.name}`, {
      kind: "number-out-of-range",
      try: "a wider format, or a scheme with scales",
    });
  }
  const codes = planeWriter(planeLayouts(scheme, rows, columns).codes!, planes.codes);
  const encodeRow = arrayEncoder(element);
  for (let row = 0; row < rows; row++) {
    encodeRow(values, row * columns, columns, codes.row, 0);
    codes.next();
  }
};

/** Nearest-even; a NumericError where a finite value would become an infinity or NaN. */
export const castRule: SchemeRule = withSteps(rule, () => ({ kind: "cast" }));
