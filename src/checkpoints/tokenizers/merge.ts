/**
 * The merge loop of byte pair encoding: of all neighbouring pairs in a word, the one that was learned first (the lowest
 * rank) becomes one token, the leftmost of equals, until no pair is in the table. Sources: Sennrich et al., "Neural
 * Machine Translation of Rare Words with Subword Units", algorithm 1; SentencePiece, bpe_model.cc.
 *
 * A heap of pairs and a linked list of symbols make it O(n log n), so that a word of a megabyte costs seconds at worst:
 * a loop that rescans the word would be quadratic, and a text can be one word.
 */

/** Which pairs of ids merge, in which order, into what. */
export interface MergeTable {
  /** Ids are below this; the key of a pair is `left * idLimit + right`. */
  readonly idLimit: number;
  readonly rankOf: ReadonlyMap<number, number>;
  /** The id that the merge of a rank makes. */
  readonly mergedId: Int32Array;
}

/** Ranks and positions share the 53 exact bits of a number: rank * 2^32 + position orders by rank, then from the left. */
const RANK = 2 ** 32;
const MERGED_AWAY = -1;

/** Merges `symbols` in place; returns how many are left at its front. */
export function mergeWord(symbols: Int32Array, count: number, table: MergeTable): number {
  if (count < 2) return count;
  const { idLimit, rankOf, mergedId } = table;
  const next = new Int32Array(count);
  const previous = new Int32Array(count);
  const heap: number[] = [];
  const offer = (left: number) => {
    const rank = rankOf.get(symbols[left] * idLimit + symbols[next[left]]);
    if (rank !== undefined) push(heap, rank * RANK + left);
  };
  for (let i = 0; i < count; i++) {
    next[i] = i + 1;
    previous[i] = i - 1;
  }
  for (let i = 0; i + 1 < count; i++) offer(i);
  while (heap.length > 0) {
    const best = pop(heap);
    const rank = Math.floor(best / RANK);
    const left = best - rank * RANK;
    const right = next[left];
    // An entry is stale if one of its two symbols has been merged since: the pair then has another rank, or none.
    if (symbols[left] === MERGED_AWAY || right === count) continue;
    if (rankOf.get(symbols[left] * idLimit + symbols[right]) !== rank) continue;
    symbols[left] = mergedId[rank];
    symbols[right] = MERGED_AWAY;
    next[left] = next[right];
    if (next[left] < count) {
      previous[next[left]] = left;
      offer(left);
    }
    if (previous[left] >= 0) offer(previous[left]);
  }
  let kept = 0;
  for (let i = 0; i < count; i = next[i]) symbols[kept++] = symbols[i];
  return kept;
}

/** Adds to a binary heap, the smallest at the top. */
function push(heap: number[], value: number): void {
  let at = heap.push(value) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (heap[parent] <= value) break;
    heap[at] = heap[parent];
    at = parent;
  }
  heap[at] = value;
}

/** Takes the smallest out of a heap that is not empty. */
function pop(heap: number[]): number {
  const top = heap[0];
  const value = heap.pop() as number;
  const size = heap.length;
  if (size === 0) return top;
  let at = 0;
  for (;;) {
    let child = 2 * at + 1;
    if (child >= size) break;
    if (child + 1 < size && heap[child + 1] < heap[child]) child++;
    if (heap[child] >= value) break;
    heap[at] = heap[child];
    at = child;
  }
  heap[at] = value;
  return top;
}
