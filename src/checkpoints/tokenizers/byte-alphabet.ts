/**
 * The alphabet of byte-level BPE: each of the 256 bytes is written as one printable character, so that a vocabulary of
 * byte sequences can be a JSON file of texts. Bytes that print in Latin-1 stand for themselves, the other 68 take
 * U+0100 and on: space is "Ġ", newline "Ċ". Source: GPT-2, encoder.py, `bytes_to_unicode`.
 */
const prints = (byte: number) =>
  (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || (byte >= 0xae && byte <= 0xff);

/** The character of every byte. */
export const BYTE_CHARACTERS: readonly string[] = (() => {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => String.fromCharCode(prints(byte) ? byte : next++));
})();

const BYTE_OF = new Map(BYTE_CHARACTERS.map((character, byte) => [character, byte]));

/** Bytes in their printable form. */
export function bytesToAlphabet(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += BYTE_CHARACTERS[byte];
  return text;
}

/** The bytes that a token stands for; undefined if it has a character outside the alphabet. */
export function alphabetToBytes(token: string): Uint8Array | undefined {
  const bytes = new Uint8Array(token.length);
  for (let i = 0; i < token.length; i++) {
    const byte = BYTE_OF.get(token[i]);
    if (byte === undefined) return undefined;
    bytes[i] = byte;
  }
  return bytes;
}
