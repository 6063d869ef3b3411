/**
 * The IEEE P3109 family by name: Binary{K}p{P}{s|u}{e|f}, K bits wide, P bits of precision, signed or unsigned, with
 * infinities (extended) or without (finite). One NaN, no negative zero; 1.0 stands in the middle of the positive codes.
 */
import { type MinifloatFormat, minifloat } from "./format.js";

const made = new Map<string, MinifloatFormat | undefined>();

/** The record that a name of the family means: K = 3..16, 0 < P < K (P = K too if unsigned). */
export function deriveP3109(name: string): MinifloatFormat | undefined {
  if (!made.has(name)) made.set(name, parse(name));
  return made.get(name);
}

function parse(name: string): MinifloatFormat | undefined {
  const match = /^binary([3-9]|1[0-6])p([1-9]|1[0-6])([su])([ef])$/i.exec(name);
  if (!match) return undefined;
  const [k, p] = [Number(match[1]), Number(match[2])];
  const signed = match[3].toLowerCase() === "s";
  const extended = match[4].toLowerCase() === "e";
  if (p > k - Number(signed)) return undefined;
  return minifloat({
    name: `Binary${k}p${p}${match[3].toLowerCase()}${match[4].toLowerCase()}`,
    exponentBits: k - p + Number(!signed),
    significandBits: p - 1,
    bias: 2 ** (k - p - Number(signed)),
    signed,
    nonFinite: extended ? "extended" : signed ? "fnuz" : "fn",
    overflow: "none",
    summary: `P3109 binary of ${k} bits and precision ${p}, ${signed ? "signed" : "unsigned"}, ${extended ? "with" : "without"} infinity`,
    source: "IEEE P3109 Interim Report v4.0, section 4",
  });
}

/** Every name of the family, for lists and tests. */
export function p3109Names(): string[] {
  const names: string[] = [];
  for (let k = 3; k <= 16; k++) {
    for (let p = 1; p <= k; p++) {
      for (const sign of p < k ? ["s", "u"] : ["u"])
        for (const domain of ["e", "f"]) names.push(`Binary${k}p${p}${sign}${domain}`);
    }
  }
  return names;
}
