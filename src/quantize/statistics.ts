/** What calibration learns about the input of a linear map, in running sums over tokens. */
import type { Buffer, MomentSums } from "../kernels/index.js";

export interface InputStatistics {
  readonly columns: number;
  readonly tokens: number;
  /** E[x_j^2]. */
  readonly meanSquare: Float64Array;
  /** E|x_j|. */
  readonly meanAbsolute: Float64Array;
  /** max |x_j|. */
  readonly maxAbsolute: Float64Array;
  /** E[x_j], min x_j and max x_j; an importance matrix in a file does not hold them. */
  readonly signed?: SignedStatistics;
  /** Inputs of tokens taken evenly, [at most 512, columns]. */
  readonly sample?: Float32Array;
  /** E[x x^T], [columns, columns], where a method needs it. */
  readonly hessian?: Float64Array;
  /** E[(x0 - x) x^T], x0 being what the original model has in place of x; where a method needs it and they differ. */
  readonly drift?: Float64Array;
}

export interface SignedStatistics {
  readonly mean: Float64Array;
  readonly smallest: Float64Array;
  readonly largest: Float64Array;
}

/** sum_ij e_i H_ij e_j for every row e of the difference of two matrices: E||(W - W') x||^2. */
export function outputError(original: Float32Array, other: Float32Array, statistics: InputStatistics): number {
  const { columns, hessian } = statistics;
  const e = new Float64Array(columns);
  let total = 0;
  for (let start = 0; start < original.length; start += columns) {
    for (let j = 0; j < columns; j++) e[j] = original[start + j] - other[start + j];
    total += hessian ? quadratic(e, hessian) : e.reduce((sum, x, j) => sum + x * x * statistics.meanSquare[j], 0);
  }
  return total;
}

function quadratic(e: Float64Array, h: Float64Array): number {
  const n = e.length;
  let total = 0;
  for (let i = 0; i < n; i++) {
    if (e[i] === 0) continue;
    let dot = 0;
    for (let j = 0, at = i * n; j < n; j++, at++) dot += h[at] * e[j];
    total += e[i] * dot;
  }
  return total;
}

/** Statistics after the input has been divided channel by channel: x'_j = x_j / s_j. */
export function scaledStatistics(statistics: InputStatistics, s: Float64Array): InputStatistics {
  const { columns, tokens, hessian, sample, signed } = statistics;
  const divided = (values: Float64Array) => values.map((x, j) => x / s[j]);
  return {
    columns,
    tokens,
    meanSquare: statistics.meanSquare.map((x, j) => x / (s[j] * s[j])),
    meanAbsolute: divided(statistics.meanAbsolute),
    maxAbsolute: divided(statistics.maxAbsolute),
    ...(signed && {
      signed: { mean: divided(signed.mean), smallest: divided(signed.smallest), largest: divided(signed.largest) },
    }),
    ...(sample && { sample: sample.map((x, i) => x / s[i % columns]) }),
    ...(hessian && { hessian: hessian.map((x, at) => x / (s[Math.floor(at / columns)] * s[at % columns])) }),
  };
}

/** Statistics after a shift of every channel, x'_j = x_j - z_j; E|x'| is that of the sample. */
export function shiftedStatistics(statistics: InputStatistics, z: Float64Array): InputStatistics {
  const { columns, tokens, hessian, sample: before, signed } = statistics;
  if (!signed || !before) throw new Error("a shift needs means, ranges and a sample");
  const moved = (values: Float64Array) => values.map((x, j) => x - z[j]);
  const { mean } = signed;
  const [smallest, largest] = [moved(signed.smallest), moved(signed.largest)];
  const sample = before.map((x, i) => x - z[i % columns]);
  const meanAbsolute = new Float64Array(columns);
  sample.forEach((x, i) => {
    meanAbsolute[i % columns] += (Math.abs(x) * columns) / sample.length;
  });
  return {
    columns,
    tokens,
    meanSquare: statistics.meanSquare.map((x, j) => Math.max(0, x - 2 * z[j] * mean[j] + z[j] * z[j])),
    meanAbsolute,
    maxAbsolute: largest.map((x, j) => Math.max(Math.abs(x), Math.abs(smallest[j]))),
    signed: { mean: moved(mean), smallest, largest },
    sample,
    ...(hessian && {
      hessian: hessian.map((x, at) => {
        const [i, j] = [Math.floor(at / columns), at % columns];
        return x - z[i] * mean[j] - mean[i] * z[j] + z[i] * z[j];
      }),
    }),
  };
}

/**
 * What a method must be told of its inputs, each including the one before: "squares" is E[x^2] alone, which an importance
 * matrix in a file holds; "moments" all but the Hessian; "layers" the hidden states before each layer too, to run it again.
 */
export const NEEDS = ["nothing", "squares", "moments", "layers", "hessian", "drift"] as const;
export type Needs = (typeof NEEDS)[number];

export const needsAtLeast = (needs: Needs, wanted: Needs): boolean => NEEDS.indexOf(needs) >= NEEDS.indexOf(wanted);

const SAMPLE_ROWS = 512;

/** Statistics of inputs that come batch by batch: their moments, and a sample. */
export class StatisticsSum {
  private readonly moments: MomentSums;
  private tokens = 0;
  /** Those whose keys are below a limit, which is halved when there are too many. */
  private rows: { readonly key: number; readonly row: Float32Array }[] = [];
  private limit = 2 ** 32;

  /** `moments`: without any rows yet, with products where a Hessian is wanted. */
  constructor(moments: MomentSums) {
    this.moments = moments;
  }

  /** Adds inputs x, [tokens, columns]. */
  add(x: Buffer, tokens: number): void {
    this.moments.add(x, tokens);
    this.keepRows(x.data(), tokens);
    this.tokens += tokens;
  }

  private keepRows(x: Float32Array, tokens: number): void {
    const { columns } = this.moments;
    for (let token = 0; token < tokens; token++) {
      // A Weyl sequence is even over all places, also those of windows (every k-th token would miss the last of each).
      const key = Math.imul(this.tokens + token, 0x9e3779b1) >>> 0;
      if (key >= this.limit) continue;
      this.rows.push({ key, row: x.slice(token * columns, (token + 1) * columns) });
      if (this.rows.length <= SAMPLE_ROWS) continue;
      this.limit /= 2;
      this.rows = this.rows.filter((one) => one.key < this.limit);
    }
  }

  /** Of all inputs so far; gives the memory of their moments back. */
  result(): InputStatistics {
    const { rows, tokens } = this;
    const { columns } = this.moments;
    const { sum, absolute, square, smallest, largest, products } = this.moments.read();
    this.moments.dispose();
    const sample = new Float32Array(rows.length * columns);
    rows.forEach(({ row }, i) => {
      sample.set(row, i * columns);
    });
    const mean = (sums: Float64Array) => sums.map((x) => x / tokens);
    return {
      columns,
      tokens,
      meanSquare: mean(square),
      meanAbsolute: mean(absolute),
      maxAbsolute: largest.map((x, j) => Math.max(Math.abs(x), Math.abs(smallest[j]))),
      signed: { mean: mean(sum), smallest, largest },
      sample,
      ...(products && { hessian: mean(products) }),
    };
  }
}
