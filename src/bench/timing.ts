/** Timing one piece of work many times, and what the times say. */
import type { Clock } from "../kernels/wasm/peaks.js";

/** Milliseconds of one call. */
export interface Times {
  readonly medianMs: number;
  readonly bestMs: number;
  /** Distance of the quartiles as a share of the median: how far the middle half of the calls lies apart. */
  readonly spread: number;
}

export interface TimingOptions {
  readonly clock: Clock;
  /** At most so many measurements are taken, in about a second. */
  readonly most: number;
}

/** Times `run` after two calls to warm up. Several short calls count as one, so that the clock's own steps do not matter. */
export function timed(run: () => void, { clock, most }: TimingOptions): Times {
  run();
  run();
  const begin = performance.now();
  const once = clock();
  run();
  const calls = Math.max(1, Math.ceil(0.5 / Math.max(0.01, clock() - once)));
  const times: number[] = [];
  while (times.length < most && (times.length < 5 || performance.now() - begin < 1000)) {
    const start = clock();
    for (let i = 0; i < calls; i++) run();
    times.push((clock() - start) / calls);
  }
  return summary(times);
}

/** What single measurements taken by turns with a probe of the same resource say. */
export interface Turns {
  readonly times: Times;
  /** Median of the probe, and of the rate of `run` as a share of the probes before and after it, with its spread. */
  readonly probe: number;
  readonly share: number;
  readonly shareSpread: number;
}

/**
 * Times single calls of `run`, which handles `amount`, between calls of a probe: machines change their speed from second to
 * second, and both then meet the same. `amount` per millisecond and what `probe` gives are of the same unit.
 */
export function timedInTurns(run: () => void, amount: number, probe: () => number, clock: Clock): Turns {
  run();
  const [times, rates, shares]: [number[], number[], number[]] = [[], [], []];
  const begin = performance.now();
  let before = probe();
  while (times.length < 9 || (times.length < 25 && performance.now() - begin < 1200)) {
    const start = clock();
    run();
    const ms = clock() - start;
    const after = probe();
    times.push(ms);
    rates.push(after);
    shares.push(amount / ms / ((before + after) / 2));
    before = after;
  }
  const { medianMs: share, spread: shareSpread } = summary(shares);
  return { times: summary(times), probe: summary(rates).medianMs, share, shareSpread };
}

export function summary(times: readonly number[]): Times {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { medianMs: at(0.5), bestMs: sorted[0], spread: (at(0.75) - at(0.25)) / at(0.5) };
}

/** The process's own time in milliseconds: with one thread, other programs on a busy machine then do not count. */
export function processClock(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
