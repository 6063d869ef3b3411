/**
 * SentencePiece's BPE has a score per token instead of a list of merges: of all neighbouring pairs whose text is a token,
 * the one with the highest score merges. A list of merges says the same if it holds every way to cut every token in two,
 * ordered by score. Sources: SentencePiece, bpe_model.cc; transformers, tokenization_utils_base.py, `generate_merges`.
 */

/** Both directions of the cut: every pair of tokens whose texts together are `token`. */
function* cuts(token: string, ids: ReadonlyMap<string, number>): Generator<readonly [string, string]> {
  let at = 0;
  for (const character of token) {
    at += character.length;
    if (at === token.length) return;
    const [left, right] = [token.slice(0, at), token.slice(at)];
    if (ids.has(left) && ids.has(right)) yield [left, right];
  }
}

const characters = (token: string) => [...token].length;

/** The merges that scores mean: by score, then by the longer left half, then by the ids of the halves. */
export function mergesFromScores(ids: ReadonlyMap<string, number>, scores: readonly number[]): [string, string][] {
  const merges: { left: string; right: string; score: number; length: number }[] = [];
  for (const [token, id] of ids) {
    for (const [left, right] of cuts(token, ids)) {
      merges.push({ left, right, score: scores[id], length: characters(left) });
    }
  }
  const idOf = (token: string) => ids.get(token) ?? 0;
  merges.sort(
    (a, b) =>
      b.score - a.score ||
      b.length - a.length ||
      characters(b.right) - characters(a.right) ||
      idOf(a.left) - idOf(b.left) ||
      idOf(a.right) - idOf(b.right),
  );
  return merges.map(({ left, right }) => [left, right]);
}

/**
 * Scores that mean the given merges: tokens in the order in which they are first made, then all others. A text instead
 * of scores says why there are none: merges that were learned one pair per token leave other cuts out, and an engine
 * that goes by scores would use them.
 */
export function scoresFromMerges(
  ids: ReadonlyMap<string, number>,
  merges: readonly (readonly [string, string])[],
  size: number,
): readonly number[] | string {
  const scores = new Array<number>(size).fill(0);
  const listed = new Set<string>();
  const rank = new Map<string, number>();
  let last = "";
  for (const [left, right] of merges) {
    const token = left + right;
    listed.add(`${left} ${right}`);
    if (rank.has(token) && token !== last) return `the merges that make ${JSON.stringify(token)} do not stand together`;
    if (!rank.has(token)) rank.set(token, rank.size);
    last = token;
  }
  for (const [token, id] of ids) {
    for (const [left, right] of rank.has(token) ? cuts(token, ids) : []) {
      if (!listed.has(`${left} ${right}`)) return `${JSON.stringify([left, right])} is a cut of a token but no merge`;
    }
    scores[id] = -(rank.get(token) ?? rank.size + id);
  }
  return scores;
}
