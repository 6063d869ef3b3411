/** Layouts of weights that meet activations rounded to int8, and how a block's integer sum becomes part of a result. */
import type { ByteDot } from "./byte-dot.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32x4, i32, i32x4, v128 } from "./instructions.js";
import { zeroVector } from "./lanes.js";
import type { Layout } from "./layout.js";
import { type SharedForm, sharedReader } from "./shared.js";

/** A layout for activations rounded to int8: it always has scales. */
export type Int8Layout = Layout & { readonly dot: ByteDot; readonly scale: SharedForm };

export function isInt8(layout: Layout): layout is Int8Layout {
  return layout.dot !== undefined && layout.scale !== undefined;
}

type Vector = Expression<"v128">;

/** What X, the sum of a block's activations, is kept times: -bias where integer sums begin with that product alone. */
export function sumFactor({ offset, dot }: Pick<Int8Layout, "offset" | "dot">): number {
  return offset === "none" && dot.bias !== 0 ? -dot.bias : 1;
}

/** How a block's integer sum begins and how it becomes part of the result. */
export function blockArithmetic(f: FunctionBuilder, { offset, offsets, scale: scaleForm, dot }: Int8Layout) {
  const readOffset = offsets && sharedReader(f, offsets);
  const bias = offset === "zeroPoint" ? f.let(i32x4.splat(-dot.bias)) : undefined;
  const offsetOf = (header: Local<"i32">, at = 0) => readOffset?.(header, at + scaleForm.bytes) ?? zeroVector;
  return {
    /** S of the block whose header is at an address. */
    scale: (
      (read) =>
      (header: Local<"i32">, at = 0) =>
        read(header, at)
    )(sharedReader(f, scaleForm)),
    /** M of the block; unused but with offsets of the kind "min". */
    min: offsetOf,
    /** What `start` needs of a block: -(bias + Z). */
    zero: (header: Local<"i32">, at = 0) =>
      bias ? i32x4.sub(bias, i32x4.trunc_sat_f32x4_s(offsetOf(header, at))) : zeroVector,
    /** What `start` needs of the activations of a block, whose X (times sumFactor) is at `address`: for all columns alike. */
    prepare(address: Expression<"i32">, at = 0): Expression<"v128"> {
      if (bias || (offset === "none" && dot.bias !== 0)) return v128.load32_splat(address, at);
      return dot.bias === 0 ? zeroVector : i32x4.splat(i32.mul(i32.load(address, at), -dot.bias));
    },
    /** -(bias + Z) X: where the integer sum begins, so that it ends as the sum of q (i - Z). */
    start: (zero: Expression<"v128">, prepared: Expression<"v128">) => (bias ? i32x4.mul(prepared, zero) : prepared),
    /** X d, which offsets of the kind "min" multiply; unused otherwise. */
    scaledSum(address: Expression<"i32">, at: number, d: Expression<"v128">): Expression<"v128"> {
      return f32x4.mul(f32x4.convert_i32x4_s(v128.load32_splat(address, at)), d);
    },
    /** `total` with the block's contribution: I (S d), and M (X d) where there is a minimum. */
    finish(
      total: Expression<"v128">,
      integer: Expression<"v128">,
      S: Vector,
      d: Vector,
      M: Vector,
      Xd: Vector,
    ): Vector {
      const main = f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(integer), f32x4.mul(S, d)));
      return offset === "min" ? f32x4.add(main, f32x4.mul(Xd, M)) : main;
    },
  };
}
