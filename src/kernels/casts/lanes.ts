/** Small vector vocabulary of the cast kernels. */
import type { Expression, FunctionBuilder, Local } from "../wasm/emitter.js";
import { i8x16, i32x4, v128 } from "../wasm/instructions.js";

export type Vector = Expression<"v128">;
export type VectorLocal = Local<"v128">;

export const absMask = 0x7fffffff;
export const infinityBits = 0x7f800000;
export const zero = v128.const(new Uint8Array(16));

/** The same 32-bit word in every lane, kept in a local: engines do not move constants out of loops. */
export const word = (f: FunctionBuilder, bits: number): VectorLocal => f.let(i32x4.splat(bits | 0));

/** 2^k as the bits of binary32; k from -126 to 127. */
export const powerBits = (k: number): number => (k + 127) << 23;

/** The largest signed lane, as a number. */
export function largestLane(f: FunctionBuilder, vector: VectorLocal): Expression<"i32"> {
  const folded = f.local("v128");
  const swapHalves = [8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7];
  const swapPairs = [4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3];
  f.set(folded, i32x4.max_s(vector, i8x16.shuffle(vector, vector, swapHalves)));
  f.set(folded, i32x4.max_s(folded, i8x16.shuffle(folded, folded, swapPairs)));
  return i32x4.extract_lane(folded, 0);
}
