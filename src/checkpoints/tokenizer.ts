/** Text to token ids and back, whatever file the vocabulary came from. */

export interface Tokenizer {
  /** How many ids there are; padded or unused rows of the embedding count, and decode to nothing. */
  readonly size: number;
  readonly bos?: number;
  /** Ids that end a generation, the main one first. */
  readonly eos: readonly number[];
  /** Whether the model was trained with `bos` in front of every text. */
  readonly addBos: boolean;
  /** Whether the first of `eos` goes behind every text. */
  readonly addEos: boolean;
  readonly chatTemplate?: string;
  /**
   * The ids of a text. An unpaired surrogate is an InputError, because it has no UTF-8. As in the original
   * implementations, a character without a token becomes the unknown token, and nothing where a model has none.
   */
  encode(text: string, options?: EncodeOptions): number[];
  /** The text of ids; bytes that are no UTF-8 become U+FFFD. An id outside 0 .. size - 1 is an InputError. */
  decode(ids: Iterable<number>, options?: DecodeOptions): string;
  /** A decoder for ids that come one at a time. */
  stream(options?: DecodeOptions): TokenStream;
}

export interface EncodeOptions {
  /** Put `bos` in front where the model wants it (`addBos`), and its counterpart at the end. Default true. */
  readonly addSpecial?: boolean;
  /** Recognise special tokens written in the text (`<|im_end|>`). Default false: text cannot forge them. */
  readonly parseSpecial?: boolean;
}

export interface DecodeOptions {
  /** Leave special tokens out of the text. Default false. */
  readonly skipSpecial?: boolean;
  /** The ids go on from earlier ones, so the space that SentencePiece puts before a text is one of theirs. Default false. */
  readonly continues?: boolean;
}

export interface TokenStream {
  /** The text that is now complete, never half a UTF-8 sequence; often empty inside a multi-byte character. */
  push(id: number): string;
  /** What is left: U+FFFD for a sequence that was cut off, or nothing. */
  end(): string;
}
