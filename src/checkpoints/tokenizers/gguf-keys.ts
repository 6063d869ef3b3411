/** The names and numbers of `tokenizer.ggml.*`. Source: gguf-py, constants.py. */
export const PREFIX = "tokenizer.ggml.";

/** Values of `tokenizer.ggml.token_type`. */
export const NORMAL = 1;
export const UNKNOWN = 2;
export const CONTROL = 3;
export const USER_DEFINED = 4;
export const UNUSED = 5;
export const BYTE = 6;

/** What SentencePiece writes for a space. */
export const MARK = "▁";
