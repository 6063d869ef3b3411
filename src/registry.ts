import { InputError } from "./errors.js";

/** Anything that is registered once by name and then drives every surface. */
export interface Named {
  readonly name: string;
  readonly aliases?: readonly string[];
}

export interface Registry<T extends Named> {
  /** What one entry is called in messages: "format", "scheme". */
  readonly noun: string;
  readonly entries: readonly T[];
  readonly names: readonly string[];
  /** The entry of that name or alias; an InputError that suggests the nearest name otherwise. */
  get(name: string): T;
  find(name: string): T | undefined;
}

/**
 * A registry over a fixed list of records. `derive` may make an entry from a name that is not listed (a parametric
 * family such as `int4-g64`) and returns undefined for a name outside its families; `members` names members that somebody who
 * writes an unknown name may have had in mind.
 */
export function registry<T extends Named>(
  noun: string,
  entries: readonly T[],
  derive: (name: string) => T | undefined = () => undefined,
  members: (name: string) => readonly string[] = () => [],
): Registry<T> {
  const byName = new Map<string, T>();
  for (const entry of entries) {
    for (const name of [entry.name, ...(entry.aliases ?? [])]) {
      if (byName.has(name)) throw new Error(`two ${noun}s are called "${name}"`);
      byName.set(name, entry);
    }
  }
  const names = entries.map((entry) => entry.name);
  const find = (name: string) => byName.get(name) ?? derive(name);
  const get = (name: string) => {
    const entry = find(name);
    if (entry) return entry;
    throw new InputError(`unknown ${noun} "${name}"`, {
      kind: "unknown-name",
      try: suggestion(name, [...byName.keys()], members(name.toLowerCase()).filter(derive)),
    });
  };
  return { noun, entries, names, get, find };
}

/** "did you mean ...?" for a near miss, the list of what there is otherwise. `meant`: nearer than any that is known. */
export function suggestion(got: string, known: readonly string[], meant: readonly string[] = []): string {
  const lower = got.toLowerCase();
  const ranked = known
    .map((name) => ({ name, distance: editDistance(lower, name.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const near = ranked.filter((r) => r.distance <= Math.max(1, Math.floor(got.length / 3))).map(({ name }) => name);
  const best = [...meant, ...near].slice(0, 3);
  if (best.length > 0) return `did you mean ${best.map((name) => `"${name}"`).join(" or ")}?`;
  return `one of: ${known.join(", ")}`;
}

/**
 * The fewest insertions, deletions, substitutions and swaps of neighbours that turn `a` into `b` (optimal string alignment:
 * nothing is changed twice).
 */
export function editDistance(a: string, b: string): number {
  let before: number[] = [];
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const swapped = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      next[j] = Math.min(row[j] + 1, next[j - 1] + 1, row[j - 1] + (a[i - 1] === b[j - 1] ? 0 : 1));
      if (swapped) next[j] = Math.min(next[j], before[j - 2] + 1);
    }
    [before, row] = [row, next];
  }
  return row[b.length];
}
