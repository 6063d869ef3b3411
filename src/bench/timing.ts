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
