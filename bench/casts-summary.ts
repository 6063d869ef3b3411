/**
 * Several windows of bench/casts.ts as one file: every window, and before them the medians of each engine. Windows may be of a
 * part (`--only`); where a kernel has changed, its rows are taken out of older ones.
 *
 *     node dist/bench/casts-summary.js WINDOW.json... > bench/results/casts.json
 */
import { readFileSync } from "node:fs";

interface Run {
  readonly engine: string;
  readonly results: readonly { cast: string; where: string; medianG: number; copyShare?: number }[];
  readonly timesPython: Readonly<Record<string, number>>;
}

const runs: Run[] = process.argv.slice(2).map((file) => JSON.parse(readFileSync(file, "utf8")));

function median(list: readonly number[]): number {
  const sorted = [...list].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return Number((sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2).toPrecision(4));
}

function summaryOf(windows: readonly Run[]) {
  const all = windows.flatMap(({ results }) => results);
  const first = all.filter((r, i) => all.findIndex((s) => s.cast === r.cast && s.where === r.where) === i);
  const casts = first.map(({ cast, where }) => {
    const same = windows.flatMap((run) => run.results.filter((r) => r.cast === cast && r.where === where));
    const shares = same.flatMap(({ copyShare }) => copyShare ?? []);
    const medianG = median(same.map((r) => r.medianG));
    return { cast, where, medianG, ...(shares.length > 0 && { copyShare: median(shares) }) };
  });
  const names = [...new Set(windows.flatMap((window) => Object.keys(window.timesPython)))];
  const timesPython = Object.fromEntries(
    names.map((name) => [name, median(windows.flatMap((w) => w.timesPython[name] ?? []))]),
  );
  return { windows: windows.length, casts, timesPython };
}

const engines = [...new Set(runs.map(({ engine }) => engine))];
const summary = Object.fromEntries(engines.map((name) => [name, summaryOf(runs.filter((r) => r.engine === name))]));
console.log(JSON.stringify({ summary, runs }, undefined, 1));
