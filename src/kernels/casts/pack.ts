/** From i32 lanes to bytes and nibbles. */
import type { Expression, FunctionBuilder, Local } from "../wasm/emitter.js";
import { i8x16, i16x8, v128 } from "../wasm/instructions.js";

/** Sixteen codes of at most 8 bits, given as four vectors of i32, in one vector of bytes. */
export function narrowBytes(f: FunctionBuilder, part: (i: number) => Expression<"v128">): Local<"v128"> {
  const [a, b] = f.locals("v128", 2);
  f.set(a, part(0));
  f.set(a, i16x8.narrow_i32x4_s(a, part(1)));
  f.set(b, part(2));
  f.set(b, i16x8.narrow_i32x4_s(b, part(3)));
  f.set(a, i8x16.narrow_i16x8_u(a, b));
  return a;
}

/** Eight codes of at most 16 bits, given as two vectors of i32. */
export function narrowWords(f: FunctionBuilder, part: (i: number) => Expression<"v128">): Local<"v128"> {
  const a = f.let(part(0));
  const lanes = [0, 1, 4, 5, 8, 9, 12, 13, 16, 17, 20, 21, 24, 25, 28, 29];
  f.set(a, i8x16.shuffle(a, part(1), lanes));
  return a;
}

/** 32 codes of 4 bits in two vectors of bytes, packed two to a byte, the first in the low nibble. */
export function packNibbles(low: Local<"v128">, high: Local<"v128">): Expression<"v128"> {
  // In each pair of bytes the second moves down beside the first; then every second byte is kept.
  const joined = (v: Local<"v128">) => v128.and(v128.or(v, i16x8.shr_u(v, 4)), i16x8.splat(0xff));
  return i8x16.narrow_i16x8_u(joined(low), joined(high));
}
