/** Text to token ids and back, whatever file the vocabulary came from. */

export interface Tokenizer {
  readonly size: number;
  readonly bos?: number;
  /** Ids that end a generation. */
  readonly eos: readonly number[];
  /** Whether the model was trained with `bos` in front of every text. */
  readonly addBos: boolean;
  readonly chatTemplate?: string;
  /** `bos` is put in front when `addBos` says so and `special` is not false. Special tokens in the text are recognised only with `parseSpecial`. */
  encode(text: string, options?: EncodeOptions): number[];
  decode(ids: Iterable<number>, options?: { readonly skipSpecial?: boolean }): string;
  /** A decoder for a stream: push returns the text that is now complete (never half a UTF-8 sequence). */
  stream(): { push(id: number): string; end(): string };
}

export interface EncodeOptions {
  readonly addSpecial?: boolean;
  readonly parseSpecial?: boolean;
}
