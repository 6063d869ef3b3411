import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type MergeTable, mergeWord } from "./merge.js";

/** The same by the book: look at all pairs, merge the best, start over. */
function mergeSlowly(word: readonly number[], { idLimit, rankOf, mergedId }: MergeTable): number[] {
  const symbols = [...word];
  for (;;) {
    let best = Number.POSITIVE_INFINITY;
    let at = -1;
    for (let i = 0; i + 1 < symbols.length; i++) {
      const rank = rankOf.get(symbols[i] * idLimit + symbols[i + 1]) ?? Number.POSITIVE_INFINITY;
      if (rank < best) [best, at] = [rank, i];
    }
    if (at < 0) return symbols;
    symbols.splice(at, 2, mergedId[best]);
  }
}

const LETTERS = 3;
const ID_LIMIT = 40;
const idsBelow = (limit: number) => fc.integer({ min: 0, max: limit - 1 });

test("the heap merges what a rescan of the whole word after each merge would", () => {
  // Rank r makes id LETTERS + r from two ids that exist by then; some pairs come twice, the later rank then counts.
  const table = fc.array(fc.tuple(fc.nat(), fc.nat()), { maxLength: ID_LIMIT - LETTERS }).map((pairs) => {
    const rankOf = new Map(
      pairs.map(([a, b], rank) => [(a % (LETTERS + rank)) * ID_LIMIT + (b % (LETTERS + rank)), rank]),
    );
    return { idLimit: ID_LIMIT, rankOf, mergedId: Int32Array.from(pairs, (_, rank) => LETTERS + rank) };
  });
  fc.assert(
    fc.property(table, fc.array(idsBelow(LETTERS), { maxLength: 40 }), (merges, word) => {
      const symbols = Int32Array.from(word);
      const kept = mergeWord(symbols, symbols.length, merges);
      assert.deepEqual([...symbols.subarray(0, kept)], mergeSlowly(word, merges));
    }),
    { numRuns: 2000 },
  );
});
