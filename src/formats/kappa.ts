/**
 * How far an approximate operation is from the defined one, in steps of its result format: kappa of IEEE P3109 (Interim
 * Report v4.0, section 4.4).
 */
import { InputError } from "../errors.js";
import { decodeExact } from "./exact.js";
import type { NumberFormat } from "./format.js";
import { minifloatLayout } from "./minifloat.js";
import { decodeTable } from "./table.js";

/**
 * The largest number of finite values between a defined result and its approximation (codes of `format`), counting the one and
 * not the other: 0 where all are equal. NaN where a NaN does not meet a NaN, infinity where an infinity does not meet its
 * equal. The two zeros of a format that has both are one value.
 */
export function kappa(format: NumberFormat, defined: ArrayLike<number>, approximate: ArrayLike<number>): number {
  if (defined.length !== approximate.length) {
    throw new InputError("kappa compares as many approximations as defined results", {
      kind: "shapes-disagree",
      why: `got ${approximate.length}, wanted ${defined.length}`,
    });
  }
  const rank = ranker(format);
  let [largest, nan] = [0, false];
  for (let i = 0; i < defined.length; i++) {
    const [a, b] = [decodeExact(format, defined[i]), decodeExact(format, approximate[i])];
    if (Number.isNaN(a) !== Number.isNaN(b)) nan = true;
    else if (typeof a !== "number" && typeof b !== "number") {
      largest = Math.max(largest, Math.abs(rank(defined[i]) - rank(approximate[i])));
    } else if (!Object.is(a, b)) largest = Infinity;
  }
  return nan ? Number.NaN : largest;
}

/** A function of codes that grows by 1 from one finite value to the next. */
function ranker(format: NumberFormat): (code: number) => number {
  if (format.kind === "minifloat") {
    const { signBit, hasZero } = minifloatLayout(format);
    return (code) => (signBit > 0 && code >= signBit ? signBit - code - Number(!hasZero) : code);
  }
  if (format.kind === "posit") return (code) => (code < 2 ** (format.bits - 1) ? code : code - 2 ** format.bits);
  const table = decodeTable(format);
  const ascending = [...new Set([...table].filter(Number.isFinite).map((v) => v + 0))].sort((a, b) => a - b);
  const ranks = new Map(ascending.map((value, i) => [value, i]));
  return (code) => ranks.get(table[code] + 0) ?? Number.NaN;
}
