/**
 * Packing codes of 1..32 bits into bytes without padding between them: code i of a row takes bits
 * [i * bits, (i + 1) * bits) of the row, least significant first; a row starts at a byte. 8, 16 and 32-bit codes are
 * therefore plain little-endian numbers, and 4-bit codes two to a byte, the first in the low nibble.
 */

/** Bytes of a row of `count` codes. */
export function rowBytes(bits: number, count: number): number {
  return Math.ceil((bits * count) / 8);
}

/** Unpacked codes: one array element each. */
export type Codes = Uint8Array | Uint16Array | Uint32Array;

/** Room for `count` codes of `bits` bits, one element each. */
export function codeArray(bits: number, count: number): Codes {
  if (bits <= 8) return new Uint8Array(count);
  return bits <= 16 ? new Uint16Array(count) : new Uint32Array(count);
}

/** Writes the first `count` of `codes` to `out` from byte `offset`; unused bits of the last byte become 0. */
export function packCodes(codes: Codes, count: number, bits: number, out: Uint8Array, offset = 0): void {
  if (bits === 8) out.set(count === codes.length ? codes : codes.subarray(0, count), offset);
  else if (bits === 4) packNibbles(codes, count, out, offset);
  else if (bits === 16) packWords(codes, count, 2, out, offset);
  else if (bits === 32) packWords(codes, count, 4, out, offset);
  else if (bits <= 24) packShort(codes, count, bits, out, offset);
  else packLong(codes, count, bits, out, offset);
}

function packNibbles(codes: Codes, count: number, out: Uint8Array, offset: number): void {
  const pairs = count >> 1;
  for (let i = 0; i < pairs; i++) out[offset + i] = codes[2 * i] | (codes[2 * i + 1] << 4);
  if (count & 1) out[offset + pairs] = codes[count - 1];
}

function packWords(codes: Codes, count: number, size: 2 | 4, out: Uint8Array, offset: number): void {
  for (let i = 0, at = offset; i < count; i++, at += size) {
    const code = codes[i];
    out[at] = code;
    out[at + 1] = code >>> 8;
    if (size === 2) continue;
    out[at + 2] = code >>> 16;
    out[at + 3] = code >>> 24;
  }
}

function packShort(codes: Codes, count: number, bits: number, out: Uint8Array, offset: number): void {
  let at = offset;
  let held = 0;
  let filled = 0;
  for (let i = 0; i < count; i++) {
    held |= codes[i] << filled;
    filled += bits;
    while (filled >= 8) {
      out[at++] = held;
      held >>>= 8;
      filled -= 8;
    }
  }
  if (filled > 0) out[at] = held;
}

/** As packShort for 25..32 bits: up to 39 bits are held, more than integer shifts can. */
function packLong(codes: Codes, count: number, bits: number, out: Uint8Array, offset: number): void {
  let at = offset;
  let held = 0;
  let filled = 0;
  for (let i = 0; i < count; i++) {
    held += codes[i] * 2 ** filled;
    filled += bits;
    while (filled >= 8) {
      out[at++] = held % 256;
      held = Math.floor(held / 256);
      filled -= 8;
    }
  }
  if (filled > 0) out[at] = held;
}

const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Reads `count` codes from byte `offset` of `packed` into `out`. */
export function unpackCodes(packed: Uint8Array, offset: number, bits: number, out: Codes, count: number): void {
  if (bits === 8) {
    if (out instanceof Uint8Array) out.set(packed.subarray(offset, offset + count));
    else for (let i = 0; i < count; i++) out[i] = packed[offset + i];
  } else if (bits === 4) unpackNibbles(packed, offset, out, count);
  else if (bits === 16) {
    for (let i = 0; i < count; i++) out[i] = packed[offset + 2 * i] | (packed[offset + 2 * i + 1] << 8);
  } else if (bits === 2) unpackQuarters(packed, offset, out, count);
  else if (bits === 32) unpackWords(packed, offset, out, count);
  else if (bits <= 24) unpackShort(packed, offset, bits, out, count);
  else unpackLong(packed, offset, bits, out, count);
}

function unpackWords(packed: Uint8Array, offset: number, out: Codes, count: number): void {
  const at = packed.byteOffset + offset;
  // Bytes of words are in the machine's order where that is little-endian, which is where WebAssembly engines run.
  if (LITTLE_ENDIAN && at % 4 === 0 && out instanceof Uint32Array) {
    out.set(new Uint32Array(packed.buffer, at, count));
    return;
  }
  const view = new DataView(packed.buffer, packed.byteOffset + offset, 4 * count);
  for (let i = 0; i < count; i++) out[i] = view.getUint32(4 * i, true);
}

function unpackNibbles(packed: Uint8Array, offset: number, out: Codes, count: number): void {
  const pairs = count >> 1;
  for (let i = 0; i < pairs; i++) {
    const byte = packed[offset + i];
    out[2 * i] = byte & 15;
    out[2 * i + 1] = byte >> 4;
  }
  if (count & 1) out[count - 1] = packed[offset + pairs] & 15;
}

function unpackQuarters(packed: Uint8Array, offset: number, out: Codes, count: number): void {
  for (let i = 0; i < count; i++) out[i] = (packed[offset + (i >> 2)] >> (2 * (i & 3))) & 3;
}

function unpackShort(packed: Uint8Array, offset: number, bits: number, out: Codes, count: number): void {
  const mask = (1 << bits) - 1;
  let at = offset;
  let held = 0;
  let filled = 0;
  for (let i = 0; i < count; i++) {
    while (filled < bits) {
      held |= packed[at++] << filled;
      filled += 8;
    }
    out[i] = held & mask;
    held >>>= bits;
    filled -= bits;
  }
}

function unpackLong(packed: Uint8Array, offset: number, bits: number, out: Codes, count: number): void {
  const range = 2 ** bits;
  let at = offset;
  let held = 0;
  let filled = 0;
  for (let i = 0; i < count; i++) {
    while (filled < bits) {
      held += packed[at++] * 2 ** filled;
      filled += 8;
    }
    out[i] = held % range;
    held = Math.floor(held / range);
    filled -= bits;
  }
}
