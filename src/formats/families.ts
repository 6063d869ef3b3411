/** Families of formats whose members are made from a name, beyond the ones that stand in files of their own. */
import { refuseComplex } from "./complex.js";
import {
  type CodebookFormat,
  codebook,
  type IntegerFormat,
  integer,
  type MinifloatFormat,
  minifloat,
  type NumberFormat,
  type PositFormat,
} from "./format.js";
import { deriveInteger, sint } from "./integers.js";
import { deriveP3109 } from "./p3109.js";

export interface FormatFamily {
  /** How a name of the family looks. */
  readonly pattern: string;
  readonly summary: string;
  /** A few names for lists and tests. */
  readonly examples: readonly string[];
  derive(name: string): NumberFormat | undefined;
}

/** A record for each match; the same record for the same name. */
function family<F extends NumberFormat>(pattern: RegExp, make: (name: string, ...parts: string[]) => F | undefined) {
  const made = new Map<string, F | undefined>();
  return (name: string) => {
    const match = pattern.exec(name);
    if (match && !made.has(name)) made.set(name, make(...(match as unknown as [string, ...string[]])));
    return made.get(name);
  };
}

const posit = family(
  /^posit([3-9]|[12]\d|3[0-2])$/,
  (name, bits): PositFormat => ({
    kind: "posit",
    name,
    bits: Number(bits),
    exponentBits: 2,
    summary: `posit of ${bits} bits, es = 2`,
    source: "Standard for Posit Arithmetic (2022)",
  }),
);

const fixed = family(
  /^(u?)fixed([1-9]|[12]\d|3[0-2])\.(0|-?[1-9]\d?)$/,
  (name, unsigned, bits, fraction): IntegerFormat =>
    integer({
      name,
      bits: Number(bits),
      signed: unsigned === "",
      fractionBits: Number(fraction),
      summary: `fixed point: integers of ${bits} bits times 2^${-Number(fraction)}`,
      source: "two's complement",
    }),
);

const symmetric = family(/^sint([2-9]|1[0-6])$/, (_name, bits): IntegerFormat => sint(Number(bits)));

const offsetBinary = family(/^oint([1-9]|1[0-6])$/, (name, bits): IntegerFormat => {
  const offset = 2 ** (Number(bits) - 1);
  return integer({
    name,
    bits: Number(bits),
    signed: true,
    offset,
    summary: `integer ${-offset} to ${offset - 1}, stored plus ${offset}`,
    source: "offset binary",
  });
});

const bipolar = family(/^bipolar([1-8])$/, (name, bits): CodebookFormat => {
  const count = 2 ** Number(bits);
  return codebook({
    name,
    values: Array.from({ length: count }, (_, c) => 2 * c - (count - 1)),
    summary: `odd integers ${1 - count} to ${count - 1}: no zero`,
    source: "bipolar integers, as in bit-serial matrix products",
  });
});

/** Sign in the top bit, then a binary magnitude; magnitude 0 is zero, or the lowest step where there is none. */
function signed(magnitudes: readonly number[]): number[] {
  return [...magnitudes, ...magnitudes.map((v) => (v === 0 ? -0 : -v))];
}

const powersOfTwo = family(/^pow2([n]?)-([2-6])$/, (name, noZero, bits): CodebookFormat => {
  const count = 2 ** (Number(bits) - 1);
  const magnitudes = Array.from({ length: count }, (_, c) => (c === 0 && !noZero ? 0 : 2 ** (c - (count - 1))));
  return codebook({
    name,
    values: signed(magnitudes),
    summary: `signed powers of two up to 1${noZero ? ", no zero" : " and zero"}`,
    source: "logarithmic quantization (arXiv 1603.01025)",
  });
});

const logarithmic = family(/^lns([3-9]|1[0-6])\.([1-8])$/, (name, bits, fraction): CodebookFormat | undefined => {
  const count = 2 ** (Number(bits) - 1);
  const steps = 2 ** Number(fraction);
  if (count / steps > 256) return undefined;
  // Rounded to f32, so that every engine's power function gives the same list.
  const magnitude = (c: number) => (c === 0 ? 0 : Math.fround(2 ** ((c - count / 2) / steps)));
  return codebook({
    name,
    values: signed(Array.from({ length: count }, (_, c) => magnitude(c))),
    summary: `logarithmic numbers: sign and base-2 logarithm in steps of 1/${steps}; values rounded to f32`,
    source: "logarithmic number system (Swartzlander and Alexopoulos, 1975)",
  });
});

const power = family(/^power([2-8])-(\d(?:\.\d{1,3})?)$/, (name, bits, exponent): CodebookFormat | undefined => {
  const max = 2 ** (Number(bits) - 1) - 1;
  const a = Number(exponent);
  if (a === 0) return undefined;
  const magnitudes = Array.from({ length: max + 1 }, (_, q) => Math.fround((q / max) ** a));
  return codebook({
    name,
    values: signed(magnitudes),
    summary: `power grid: sign(q) |q / ${max}|^${a}; values rounded to f32`,
    source: "PowerQuant (arXiv 2301.09858)",
  });
});

/**
 * bitsandbytes' dynamic tree: a run of zeros gives the decimal exponent and the bits left are a linear fraction, values
 * being the middles of their intervals; sorted ascending.
 */
const dynamic = family(/^(u?)dynamic8$/, (name, unsigned): CodebookFormat => {
  const isSigned = unsigned === "";
  const levels = 7;
  const values: number[] = [];
  for (let i = 0; i < levels; i++) {
    const items = (isSigned ? 2 ** i : 2 ** (i + 1)) + 1;
    const f32Step = (j: number) => linspace(items, j);
    for (let j = 0; j + 1 < items; j++) {
      const mean = Math.fround(Math.fround(f32Step(j) + f32Step(j + 1)) / 2);
      const value = Math.fround(Math.fround(10 ** (i - (levels - 1))) * mean);
      values.push(value);
      if (isSigned) values.push(-value);
    }
  }
  values.push(0, 1);
  values.sort((a, b) => a - b);
  return codebook({
    name,
    values,
    summary: `dynamic tree of 8 bits, ${isSigned ? "signed" : "unsigned"}`,
    source:
      "8-bit Approximations for Parallelism in Deep Learning (arXiv 1511.04561); bitsandbytes, create_dynamic_map",
  });
});

/** Sign, E bits of exponent, M of significand, every code a finite number. */
const split = family(/^e([1-6])m([0-6])$/, (name, exponent, significand): MinifloatFormat | undefined => {
  const [exponentBits, significandBits] = [Number(exponent), Number(significand)];
  if (exponentBits + significandBits < 2 || exponentBits + significandBits > 7) return undefined;
  return minifloat({
    name,
    exponentBits,
    significandBits,
    nonFinite: "none",
    summary: `sign, ${exponent} bits of exponent and ${significand} of significand, all codes finite`,
    source: "the splits of Kuzmin et al. 2022 (FP8 quantization: the power of the exponent), arXiv 2208.09225",
  });
});

/** Point j of torch.linspace(0.1, 1, count): from the nearer end, in f32 with fused multiply-add. */
function linspace(count: number, j: number): number {
  const step = Math.fround((1 - Math.fround(0.1)) / (count - 1));
  const fromStart = Math.fround(Math.fround(0.1) + step * j);
  const fromEnd = Math.fround(1 - step * (count - 1 - j));
  return j < count / 2 ? fromStart : fromEnd;
}

export const formatFamilies: readonly FormatFamily[] = [
  {
    pattern: "int1..int16, uint1..uint16",
    summary: "integers",
    examples: ["int1", "int12", "uint16"],
    derive: deriveInteger,
  },
  { pattern: "sintN", summary: "symmetric integers", examples: ["sint4", "sint8"], derive: symmetric },
  { pattern: "ointN", summary: "offset binary", examples: ["oint4", "oint8"], derive: offsetBinary },
  { pattern: "bipolarN", summary: "odd integers, no zero", examples: ["bipolar1", "bipolar4"], derive: bipolar },
  {
    pattern: "fixedN.F, ufixedN.F",
    summary: "fixed point of 1 to 32 bits, F from -99 to 99 of them right of the binary point",
    examples: ["fixed8.6", "ufixed8.8", "fixed16.12", "fixed8.-3"],
    derive: fixed,
  },
  {
    pattern: "Binary{K}p{P}{s|u}{e|f}",
    summary: "IEEE P3109 v4.0, K = 3..16",
    examples: ["Binary8p3se", "Binary8p4sf", "Binary8p1uf", "Binary4p2sf", "Binary6p6uf", "Binary3p1se"],
    derive: deriveP3109,
  },
  {
    pattern: "positN",
    summary: "posits of 3 to 32 bits, es = 2",
    examples: ["posit6", "posit8", "posit16"],
    derive: posit,
  },
  {
    pattern: "eEmM",
    summary: "minifloats of 3 to 8 bits without infinities and NaN, where no format is listed by the name",
    examples: ["e1m2", "e3m0", "e2m5"],
    derive: split,
  },
  { pattern: "pow2-N, pow2n-N", summary: "signed powers of two", examples: ["pow2-4", "pow2n-3"], derive: powersOfTwo },
  { pattern: "lnsN.F", summary: "logarithmic numbers", examples: ["lns8.3"], derive: logarithmic },
  { pattern: "powerN-A", summary: "power-exponent grids", examples: ["power4-0.5", "power4-2"], derive: power },
  { pattern: "dynamic8, udynamic8", summary: "dynamic tree", examples: ["dynamic8", "udynamic8"], derive: dynamic },
];

/** The format that a family makes of the name. UnsupportedError for a complex one. */
export function deriveFormat(name: string): NumberFormat | undefined {
  refuseComplex(name);
  for (const { derive } of formatFamilies) {
    const format = derive(name);
    if (format) return format;
  }
  return undefined;
}
