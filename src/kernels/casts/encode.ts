/**
 * Code that rounds four f32 lanes to codes, for formats of at most 16 bits, nearest-even. Minifloats: in the normal range a
 * carry trick on the bits (add half a step minus one plus the last kept bit, shift), below it one addition of a power of two
 * at which f32's own last bit is the format's least step. Integers: f32x4.nearest.
 */
import { bitsOfF32 } from "../../formats/binary64.js";
import type { EncodeOptions, IntegerFormat, MinifloatFormat, NumberFormat } from "../../formats/index.js";
import { minifloatLayout } from "../../formats/minifloat.js";
import type { Expression, FunctionBuilder, Local } from "../wasm/emitter.js";
import { f32x4, i32x4, v128 } from "../wasm/instructions.js";

/** How a format's codes are made in lanes; undefined where only a table will do. */
export type LaneEncoding =
  | {
      readonly kind: "minifloat";
      readonly format: MinifloatFormat;
      readonly beyond: number;
      readonly ties: "even" | "zero";
    }
  | { readonly kind: "integer"; readonly format: IntegerFormat };

/** The lane encoding of a format under these options. */
export function laneEncoding(format: NumberFormat, options: EncodeOptions): LaneEncoding | undefined {
  const { rounding = "nearest-even" } = options;
  if (format.bits > 16 || (rounding !== "nearest-even" && rounding !== "nearest-zero")) return undefined;
  if (format.kind === "integer") {
    const overflow = options.overflow ?? format.overflow ?? "saturate";
    return rounding === "nearest-even" && ["saturate", "none", "propagate"].includes(overflow)
      ? { kind: "integer", format }
      : undefined;
  }
  if (format.kind !== "minifloat" || !fitsLanes(format)) return undefined;
  const beyond = magnitudeBeyond(format, options);
  return beyond === undefined
    ? undefined
    : { kind: "minifloat", format, beyond, ties: rounding === "nearest-even" ? "even" : "zero" };
}

/** Signed, with subnormals, and every power of two that is used lies in f32's normal range. */
function fitsLanes({ signed, subnormals, exponentBits, significandBits, bias }: MinifloatFormat): boolean {
  const least = 1 - bias - significandBits;
  return signed && subnormals && exponentBits >= 1 && least + 23 >= -126 && least + 23 <= 127 && bias <= 127;
}

/** The magnitude that finite values beyond the largest get: 2^(bits-1) stands for the NaN of formats without -0. */
function magnitudeBeyond(format: MinifloatFormat, options: EncodeOptions): number | undefined {
  const { maxMagnitude, infinity, nan } = minifloatLayout(format);
  const defaults = { ieee: "none", extended: "none", fn: "nan", fnuz: "nan", none: "saturate" } as const;
  switch (options.overflow ?? format.overflow ?? defaults[format.nonFinite]) {
    case "saturate":
      return maxMagnitude;
    case "none":
      return infinity ?? maxMagnitude;
    case "nan":
      return nan;
    default:
      return undefined;
  }
}

/** Emits the constants at once and returns the code for one vector; `seen` collects magnitudes' bits, to find NaN. */
export type LaneEncoder = (x: Local<"v128">) => Expression<"v128">;

export function laneEncoder(f: FunctionBuilder, encoding: LaneEncoding, seen: Local<"v128">): LaneEncoder {
  return encoding.kind === "integer" ? integerLanes(f, encoding.format, seen) : minifloatLanes(f, encoding, seen);
}

const splat = (value: number) => i32x4.splat(value | 0);

function minifloatLanes(
  f: FunctionBuilder,
  { format, beyond, ties }: Extract<LaneEncoding, { kind: "minifloat" }>,
  seen: Local<"v128">,
): LaneEncoder {
  const { significandBits: m, bias, bits } = format;
  const { maxMagnitude, nan, signBit, hasNegativeZero } = minifloatLayout(format);
  const shift = 23 - m;
  const magic = f.let(splat(bitsOfF32(2 ** (1 - bias - m + 23))));
  const leastNormal = f.let(splat(bitsOfF32(2 ** (1 - bias))));
  const halfLess = f.let(splat(2 ** (shift - 1) - 1));
  const rebias = (127 - bias) * 2 ** m;
  const top = f.let(splat(maxMagnitude));
  const [a, c, t] = f.locals("v128", 3);
  return (x) => {
    f.set(a, v128.and(x, splat(0x7fffffff)));
    f.set(seen, i32x4.max_s(seen, a));
    // Ties to even: the code's last bit decides them (which without significand bits is not f32's); to zero: never up.
    const last = i32x4.shr_u(a, shift);
    const odd = v128.and(rebias % 2 === 0 ? last : i32x4.add(last, splat(1)), splat(1));
    const nudge = ties === "even" ? i32x4.add(halfLess, odd) : halfLess;
    const normal = i32x4.sub(i32x4.shr_u(i32x4.add(a, nudge), shift), splat(rebias));
    f.set(t, f32x4.add(a, magic));
    f.set(c, i32x4.sub(t, magic));
    // f32 rounded ties to even here; where that went up from a tie, one is taken back.
    if (ties === "zero") {
      const over = f32x4.sub(f32x4.sub(t, magic), a);
      f.set(c, i32x4.add(c, f32x4.eq(over, f32x4.splat(2 ** (-bias - m)))));
    }
    f.set(c, v128.bitselect(c, normal, i32x4.lt_s(a, leastNormal)));
    f.set(c, v128.bitselect(splat(beyond), c, i32x4.gt_s(c, top)));
    const notANumber = i32x4.gt_s(a, splat(0x7f800000));
    const sign = v128.and(i32x4.shr_u(x, 32 - bits), splat(signBit));
    if (hasNegativeZero) {
      if (nan === undefined) return v128.or(c, sign);
      f.set(c, v128.bitselect(splat(nan), v128.or(c, sign), notANumber));
      return c;
    }
    // Without -0, zero has no sign, and the sign bit alone means NaN.
    f.set(t, v128.andnot(sign, i32x4.eq(c, splat(0))));
    if (nan === undefined) return v128.or(c, t);
    const bad = beyond === nan ? v128.or(notANumber, i32x4.eq(c, splat(nan))) : notANumber;
    f.set(c, v128.bitselect(splat(nan), v128.or(c, t), bad));
    return c;
  };
}

function integerLanes(f: FunctionBuilder, format: IntegerFormat, seen: Local<"v128">): LaneEncoder {
  const { min, max, offset = 0, fractionBits = 0, bits } = format;
  const [low, high] = [f.let(f32x4.splat(min)), f.let(f32x4.splat(max))];
  const r = f.local("v128");
  return (x) => {
    f.set(seen, i32x4.max_s(seen, v128.and(x, splat(0x7fffffff))));
    f.set(r, fractionBits === 0 ? f32x4.nearest(x) : f32x4.nearest(f32x4.mul(x, f32x4.splat(2 ** fractionBits))));
    f.set(r, i32x4.trunc_sat_f32x4_s(f32x4.min(f32x4.max(r, low), high)));
    if (offset !== 0) f.set(r, i32x4.add(r, splat(offset)));
    return v128.and(r, splat(2 ** bits - 1));
  };
}
