/**
 * Tables that make small formats fast on every machine: all values of a format of at most 16 bits, and for encoding
 * formats of at most 8 bits a table over the upper halves of binary32. Both are filled by the exact codec, so they hold
 * nothing that could differ from it.
 */
import { UnsupportedError } from "../errors.js";
import { f32OfBits } from "./binary64.js";
import { decode, type EncodeOptions, encode } from "./codec.js";
import type { NumberFormat } from "./format.js";
import { isDeterministic } from "./rounding.js";

const tables = new WeakMap<NumberFormat, Float64Array>();
const tablesF32 = new WeakMap<NumberFormat, Float32Array>();

/** The value of every code, in code order. Formats of at most 16 bits; shared, do not write. */
export function decodeTable(format: NumberFormat): Float64Array {
  let table = tables.get(format);
  if (!table) {
    if (format.bits > 16) throw new UnsupportedError(`${format.name} has too many codes for a table`);
    table = Float64Array.from({ length: 2 ** format.bits }, (_, code) => decode(format, code));
    tables.set(format, table);
  }
  return table;
}

/** `decodeTable` rounded to f32 (which changes nothing for formats contained in f32). Shared, do not write. */
export function decodeTableF32(format: NumberFormat): Float32Array {
  let table = tablesF32.get(format);
  if (!table) {
    table = Float32Array.from(decodeTable(format));
    tablesF32.set(format, table);
  }
  return table;
}

/**
 * Encoding by the upper 16 bits of a binary32 number: within one such cell of 65536 numbers the code changes at most
 * once (formats of at most 8 bits have at most 8 significant bits; a cell has 7 trailing ones). `threshold` holds the
 * lower half at which `high` takes over from `low`.
 */
export interface EncodeTable {
  readonly low: Uint8Array;
  readonly high: Uint8Array;
  readonly threshold: Uint32Array;
}

/**
 * The table for finite f32 values, or undefined where a cell would need two changes (codebooks with values closer than
 * 2^-7 relative). Cells of NaN and infinity are filled only if the format encodes them without an error.
 */
export function buildEncodeTable(format: NumberFormat, options: EncodeOptions): EncodeTable | undefined {
  // Wrapping is the one rule that is not monotone, so a cell's ends would not speak for its inside.
  if (format.bits > 8 || options.overflow === "wrap" || !isDeterministic(options.rounding)) return undefined;
  const table = { low: new Uint8Array(65536), high: new Uint8Array(65536), threshold: new Uint32Array(65536) };
  const at = (cell: number, offset: number) => encode(format, f32OfBits(cell * 65536 + offset), options);
  for (let cell = 0; cell < 65536; cell++) {
    if ((cell & 0x7f80) === 0x7f80) continue;
    const low = at(cell, 0);
    const high = at(cell, 65535);
    table.low[cell] = low;
    table.high[cell] = high;
    if (low === high) continue;
    const threshold = firstOther(low, (offset) => at(cell, offset));
    if (at(cell, threshold) !== high) return undefined;
    table.threshold[cell] = threshold;
  }
  return table;
}

/** The lowest offset in 1..65535 whose code is not `low`, found by halving. */
function firstOther(low: number, codeAt: (offset: number) => number): number {
  let below = 0;
  let above = 65535;
  while (above - below > 1) {
    const middle = (below + above) >>> 1;
    if (codeAt(middle) === low) below = middle;
    else above = middle;
  }
  return above;
}
