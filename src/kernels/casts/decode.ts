/**
 * Code that turns four codes (as i32 lanes) into f32, for formats of at most 16 bits that f32 contains. Minifloats: the
 * magnitude's bits are moved to where f32 has them and the exponent is rebiased by one addition; subnormals are converted as
 * integers, because arithmetic on f32 subnormals is slow on many machines.
 */
import { bitsOfF32 } from "../../formats/binary64.js";
import type { NumberFormat } from "../../formats/index.js";
import { minifloatLayout } from "../../formats/minifloat.js";
import type { Expression, FunctionBuilder, Local } from "../wasm/emitter.js";
import { f32x4, i32x4, v128 } from "../wasm/instructions.js";

const splat = (value: number) => i32x4.splat(value | 0);

/** Whether lanes can decode the format; others go through a table. */
export function decodesInLanes(format: NumberFormat): boolean {
  if (format.bits > 16) return false;
  if (format.kind === "integer") return true;
  if (format.kind !== "minifloat") return false;
  const { exponentBits, significandBits, bias, subnormals } = format;
  return (
    subnormals &&
    exponentBits >= 1 &&
    1 - bias - significandBits >= -149 &&
    2 ** exponentBits - bias <= 128 &&
    bias <= 127
  );
}

/** Emits constants at once and returns the code for one vector of codes. */
export function laneDecoder(f: FunctionBuilder, format: NumberFormat): (codes: Local<"v128">) => Expression<"v128"> {
  if (format.kind === "integer") {
    const { signed, offset, bits, fractionBits = 0 } = format;
    return (codes) => {
      const q =
        offset !== undefined
          ? i32x4.sub(codes, splat(offset))
          : signed
            ? i32x4.shr_s(i32x4.shl(codes, 32 - bits), 32 - bits)
            : codes;
      const value = f32x4.convert_i32x4_s(q);
      return fractionBits === 0 ? value : f32x4.mul(value, f32x4.splat(2 ** -fractionBits));
    };
  }
  if (format.kind !== "minifloat") throw new Error(`${format.name} has no lane decoder`);
  const { significandBits: m, bias, bits } = format;
  const { signBit, maxMagnitude, infinity, nan, hasNegativeZero } = minifloatLayout(format);
  const least = f.let(f32x4.splat(2 ** (1 - bias - m)));
  const [a, value] = f.locals("v128", 2);
  return (codes) => {
    f.set(a, signBit > 0 ? v128.and(codes, splat(signBit - 1)) : codes);
    const normal = i32x4.add(i32x4.shl(a, 23 - m), splat((127 - bias) * 2 ** 23));
    const subnormal = f32x4.mul(f32x4.convert_i32x4_s(a), least);
    f.set(value, v128.bitselect(subnormal, normal, i32x4.lt_s(a, splat(2 ** m))));
    if (infinity !== undefined || (nan !== undefined && nan !== signBit)) {
      const special =
        infinity === undefined
          ? splat(0x7fc00000)
          : v128.bitselect(splat(0x7f800000), splat(0x7fc00000), i32x4.eq(a, splat(infinity)));
      f.set(value, v128.bitselect(special, value, i32x4.gt_s(a, splat(maxMagnitude))));
    }
    if (signBit === 0) return value;
    const sign = i32x4.shl(v128.and(codes, splat(signBit)), 32 - bits);
    const signedValue = v128.or(value, sign);
    return hasNegativeZero
      ? signedValue
      : v128.bitselect(splat(bitsOfF32(Number.NaN)), signedValue, i32x4.eq(codes, splat(signBit)));
  };
}
