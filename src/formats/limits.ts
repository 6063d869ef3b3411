/** What a format can represent: the figures of a data sheet, computed from the record. */
import { decode } from "./codec.js";
import type { NumberFormat } from "./format.js";
import { minifloatLayout } from "./minifloat.js";
import { decodeTable } from "./table.js";

/** The largest finite value of a format. */
export function maxFinite(format: NumberFormat): number {
  if (format.kind === "minifloat") return decode(format, minifloatLayout(format).maxMagnitude);
  if (format.kind === "integer") return format.max / 2 ** (format.fractionBits ?? 0);
  return decodeTable(format).reduce((max, value) => (Number.isFinite(value) && value > max ? value : max), -Infinity);
}
