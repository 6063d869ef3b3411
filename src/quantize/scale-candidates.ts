/**
 * Choices of a group's scale and offset and what they cost it. The usual case, squared errors under evenly spaced levels, is a
 * kernel that takes many choices at once; all others are plain loops.
 */
import { type EvenLevels, type LevelSums, scaleErrors } from "../kernels/index.js";
import type { Grid } from "./grid.js";
import { nearestLevel } from "./levels.js";

/** What a choice of scale and offset costs one group, and the sums that the least-squares fit needs. */
export class GroupError {
  readonly grid: Grid;
  private readonly norm: number;
  private readonly even: EvenLevels | undefined;
  /** The group in hand. */
  private x: Float32Array = new Float32Array();
  private h: Float64Array = new Float64Array();

  constructor(grid: Grid, norm: number) {
    this.grid = grid;
    this.norm = norm;
    const { values, step } = grid.levels;
    if (step > 0) this.even = { first: values[0], step, count: values.length };
  }

  take(x: Float32Array, h: Float64Array): void {
    this.x = x;
    this.h = h;
    if (this.even) scaleErrors().take(x, h);
  }

  /** The error with w = s * v + m and the nearest levels. */
  of(s: number, m: number): number {
    return s === 0 ? Number.POSITIVE_INFINITY : this.ofAll([s], [m])[0];
  }

  /** The errors of several choices, none of scale 0; those of `limit` or more may be only a part that is. */
  ofAll(s: readonly number[], m: readonly number[], limit = Number.POSITIVE_INFINITY): ArrayLike<number> {
    if (this.norm === 2 && this.even) return scaleErrors().errors(this.even, s, m);
    return s.map((one, i) => this.general(one, m[i], limit));
  }

  private general(s: number, m: number, limit: number): number {
    const { x, h, norm } = this;
    const { levels } = this.grid;
    const inverse = 1 / s;
    let sum = 0;
    for (let i = 0; i < x.length && sum < limit; i++) {
      const e = x[i] - m - s * levels.values[nearestLevel(levels, (x[i] - m) * inverse)];
      sum += h[i] * (norm === 2 ? e * e : Math.abs(e) ** norm);
    }
    return sum;
  }

  /** For each choice: weighted sums over the group of v, v^2 and x v, for the levels that s and m give. */
  sums(s: readonly number[], m: readonly number[]): LevelSums {
    const { x, h, even } = this;
    if (even) return scaleErrors().sums(even, s, m);
    const { levels } = this.grid;
    const [v1, v2, xv] = [0, 1, 2].map(() => new Float64Array(s.length));
    for (let k = 0; k < s.length; k++) {
      for (let i = 0; i < x.length; i++) {
        const v = levels.values[nearestLevel(levels, (x[i] - m[k]) / s[k])];
        v1[k] += h[i] * v;
        v2[k] += h[i] * v * v;
        xv[k] += h[i] * x[i] * v;
      }
    }
    return { v1, v2, xv };
  }

  /** Weighted sums over the group of 1 and x. */
  totals() {
    const { x, h } = this;
    let [one, x1] = [0, 0];
    for (let i = 0; i < x.length; i++) {
      one += h[i];
      x1 += h[i] * x[i];
    }
    return { one, x1 };
  }
}

/** Stored scales and offsets of one group to be compared, in order. */
export class Candidates {
  private readonly scales: number[] = [];
  private readonly offsets: number[] = [];
  private readonly s: number[] = [];
  private readonly m: number[] = [];

  /** Codes, and what they stand for: w = s v + m. A scale of 0 is none. */
  add(scale: number, offset: number, s: number, m: number): void {
    if (s === 0) return;
    this.scales.push(scale);
    this.offsets.push(offset);
    this.s.push(s);
    this.m.push(m);
  }

  /** The first of those with the least error, or `best` if none has less. */
  betterThan(best: Best, group: GroupError): Best {
    if (this.s.length === 0) return best;
    const errors = group.ofAll(this.s, this.m, best.error);
    let found = -1;
    let least = best.error;
    for (let i = 0; i < errors.length; i++) {
      if (!(errors[i] < least)) continue;
      found = i;
      least = errors[i];
    }
    return found < 0 ? best : { scale: this.scales[found], offset: this.offsets[found], error: least };
  }
}

export interface Best {
  readonly scale: number;
  readonly offset: number;
  readonly error: number;
}
