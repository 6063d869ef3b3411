/** What `bitloom explain` and docs/errors.md say about a kind of failure. */
export interface Explanation {
  readonly title: string;
  readonly meaning: string;
  /** How it usually comes about, the most frequent first. */
  readonly causes: readonly string[];
  readonly remedies: readonly string[];
}
