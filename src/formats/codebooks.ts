/** Formats that are lists of values: those of quantization papers and libraries, and small number systems. */
import { type CodebookFormat, codebook } from "./format.js";

/** Quantiles of a normal distribution with an exact zero; scaled by amax. */
export const nf4 = codebook({
  name: "nf4",
  values: [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1,
  ],
  summary: "NormalFloat4: quantiles of a normal distribution",
  source: "QLoRA (arXiv 2305.14314); bitsandbytes, functional.py",
});

/** Least expected absolute error for blocks of 64; code 0 is 1, as bitsandbytes stores it. */
export const af4 = codebook({
  name: "af4",
  values: [
    1, 0.72424863, 0.55496234, 0.42563882, 0.31675666, 0.21961274, 0.12934483, 0.04273164, 0, -0.04934812, -0.14982478,
    -0.25607552, -0.3736951, -0.51243739, -0.69441008, -1,
  ].map(Math.fround),
  summary: "AbnormalFloat4: least absolute error for blocks of 64",
  source: "NF4 isn't information theoretically optimal (arXiv 2306.06965); bitsandbytes, functional.py",
});

const bnbMagnitudes = [0, 0.0625, 8, 12, 4, 6, 2, 3].map((v) => Math.fround(v / 12));

/** bitsandbytes' own FP4; not OCP e2m1: its smallest value is 1/192 of the largest and codes are not in order. */
export const bnbFp4 = codebook({
  name: "bnb-fp4",
  values: [...bnbMagnitudes, ...bnbMagnitudes.map((v) => 0 - v)],
  summary: "bitsandbytes FP4, normalised to 1",
  source: "bitsandbytes, functional.py",
});

/** Integers close to quantiles, so that int8 dot products apply. */
export const iq4Nl = codebook({
  name: "iq4_nl",
  values: [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
  summary: "GGUF's 16 non-linear int8 levels",
  source: "ggml, kvalues_iq4nl",
});

export const bitmod3 = (special: number) =>
  codebook({
    name: `bitmod3${special > 0 ? "+" : ""}${special}`,
    values: [0, 1, 2, 4, special, -1, -2, -4],
    summary: `BitMoD FP3 with the special value ${special} in place of negative zero`,
    source: "BitMoD (HPCA 2025), auto_dtype.py",
  });
export const bitmod4 = (special: number) =>
  codebook({
    name: `bitmod4${special > 0 ? "+" : ""}${special}`,
    values: [0, 1, 2, 3, 4, 6, 8, 12, special, -1, -2, -3, -4, -6, -8, -12],
    summary: `BitMoD FP4 (e2m1 times 2) with the special value ${special} in place of negative zero`,
    source: "BitMoD (HPCA 2025), auto_dtype.py",
  });

export const binary = codebook({
  name: "binary",
  values: [-1, 1],
  summary: "the sign alone: -1, 1",
  source: "BinaryConnect (arXiv 1511.00363)",
});
export const ternary = codebook({
  name: "ternary",
  bits: 2,
  values: [-1, 0, 1],
  summary: "-1, 0, 1 in two bits (code 3 means nothing)",
  source: "Ternary Weight Networks (arXiv 1605.04711)",
});

export const codebooks: readonly CodebookFormat[] = [
  nf4,
  af4,
  bnbFp4,
  iq4Nl,
  ...[3, -3, 6, -6].map(bitmod3),
  ...[10, -10, 16, -16].map(bitmod4),
  ternary,
  binary,
];
