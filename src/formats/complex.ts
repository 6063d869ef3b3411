/**
 * Complex codebooks: a code means a pair (re, im). They are no number formats, whose codes mean one real number each: a scheme
 * cannot hold them, and `format("complex-units")` is an UnsupportedError that names the functions here.
 */
import { InputError, NumericError, UnsupportedError } from "../errors.js";
import type { Named } from "../registry.js";
import { packCodes, rowBytes, unpackCodes } from "./packing.js";

export type Complex = readonly [re: number, im: number];

export interface ComplexFormat extends Named {
  /** Width of a code. */
  readonly bits: number;
  readonly summary: string;
  readonly source: string;
  /** Code c means values[c]. */
  readonly values: readonly Complex[];
}

/** The fourth roots of unity: code c means i^c. Products with them are sign changes and swaps. */
export const complexUnits: ComplexFormat = {
  name: "complex-units",
  bits: 2,
  values: [
    [1, 0],
    [0, 1],
    [-1, 0],
    [0, -1],
  ],
  summary: "1, i, -1, -i",
  source: "iFairy (arXiv 2508.05571)",
};

export const complexFormats: readonly ComplexFormat[] = [complexUnits];

/** What the registry of number formats says to the name of a complex one. */
export function refuseComplex(name: string): void {
  if (!complexFormats.some((format) => format.name === name)) return;
  throw new UnsupportedError(`the codes of ${name} mean pairs of numbers`, {
    why: "number formats and schemes hold one real number in each code",
    try: "decodeComplex, encodeComplex and quantizeComplex of bitloom/formats",
  });
}

/** The pair that a code means. InputError if there is no such code. */
export function decodeComplex({ name, values }: ComplexFormat, code: number): Complex {
  const value = values[code];
  if (value) return value;
  throw new InputError(`${code} is no code of ${name}`, { why: `codes go from 0 to ${values.length - 1}` });
}

/** The code nearest to re + i im in the plane (for values on a circle: nearest in phase); of equally near ones the lowest. */
export function encodeComplex({ name, values }: ComplexFormat, re: number, im: number): number {
  if (!Number.isFinite(re) || !Number.isFinite(im)) {
    throw new NumericError(`${name} has no code for ${re} + ${im}i`, { kind: "number-out-of-range" });
  }
  // |w - v|^2 < |w - u|^2 without |w|^2, which cancels, and could overflow.
  const nearer = ([a, b]: Complex, [c, d]: Complex) =>
    (a - c) * re + (b - d) * im > (a * a + b * b - (c * c + d * d)) / 2;
  let best = 0;
  for (let code = 1; code < values.length; code++) if (nearer(values[code], values[best])) best = code;
  return best;
}

/** Complex numbers held in few bits: real parts are scaled by `re`, imaginary parts by `im`. */
export interface PackedComplex {
  readonly format: ComplexFormat;
  /** Numbers, not parts. */
  readonly count: number;
  readonly codes: Uint8Array;
  readonly scale: { readonly re: number; readonly im: number };
}

/**
 * PhaseQuant, built from its description: every number of `values` (re, im, re, im, ...) becomes the unit nearest in phase;
 * the scale of an axis is the mean magnitude, along that axis, of the numbers that went to it, in f32.
 */
export function quantizeComplex(values: Float32Array): PackedComplex {
  if (values.length % 2 !== 0) {
    throw new InputError("complex numbers are pairs", { kind: "shapes-disagree", why: `got ${values.length} parts` });
  }
  const count = values.length / 2;
  const codes = new Uint8Array(count);
  const [sum, members] = [
    [0, 0],
    [0, 0],
  ];
  for (let k = 0; k < count; k++) {
    codes[k] = encodeComplex(complexUnits, values[2 * k], values[2 * k + 1]);
    const axis = codes[k] % 2;
    sum[axis] += Math.abs(values[2 * k + axis]);
    members[axis]++;
  }
  const mean = (axis: number) => (members[axis] === 0 ? 0 : Math.fround(sum[axis] / members[axis]));
  const packed = new Uint8Array(rowBytes(complexUnits.bits, count));
  packCodes(codes, count, complexUnits.bits, packed);
  return { format: complexUnits, count, codes: packed, scale: { re: mean(0), im: mean(1) } };
}

/** The numbers as re, im, re, im, ... */
export function dequantizeComplex({ format, count, codes, scale }: PackedComplex): Float32Array {
  const unpacked = new Uint8Array(count);
  unpackCodes(codes, 0, format.bits, unpacked, count);
  const out = new Float32Array(2 * count);
  for (let k = 0; k < count; k++) {
    const [re, im] = decodeComplex(format, unpacked[k]);
    out[2 * k] = re * scale.re;
    out[2 * k + 1] = im * scale.im;
  }
  return out;
}
