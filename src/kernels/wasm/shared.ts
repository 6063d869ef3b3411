/**
 * The numbers that the codes of a block share, scales and offsets, as a layout holds them: those of four columns side by
 * side, in the fewest bytes that hold every one of a matrix exactly. What a number looks like decides, not the scheme it
 * comes from: a power of two is its exponent, whatever format it was stored in. Reading them back takes up to three
 * instructions for four columns of a block, which memory traffic pays for: q4_0 is 4.5 bits a weight here, as in a file,
 * and would be 5.0 with scales in f32.
 */
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32x4, i8x16, i32x4, v128 } from "./instructions.js";

export interface SharedForm {
  readonly kind: "exponent" | "e4m3" | "bf16" | "f16" | "f32";
  /** Bytes of the numbers of four columns. */
  readonly bytes: 4 | 8 | 16;
  /** What a stored number is multiplied with (and rounded once): in "e4m3", where a tensor shares it. */
  readonly factor?: number;
  /** In "f16": whether any of them is negative, and whether none is 0 or subnormal. */
  readonly signed?: boolean;
  readonly normal?: boolean;
}

/** A pass over all numbers of a matrix that finds out what holds them. */
export class SharedNumbers {
  readonly #float = new Float32Array(1);
  readonly #bits = new Uint32Array(this.#float.buffer);
  /** Bits that are set in any of them. */
  #any = 0;
  #least = 255;
  #most = 0;
  #zero = false;
  /** Whether those too small for an exponent of f16 are multiples of its smallest number. */
  #fine = true;

  add(value: number): void {
    this.#float[0] = value;
    const bits = this.#bits[0];
    this.#any |= bits;
    const exponent = (bits >>> 23) & 255;
    if (value === 0) this.#zero = true;
    else {
      if (exponent < this.#least) this.#least = exponent;
      if (exponent > this.#most) this.#most = exponent;
      if (exponent < smallestF16Exponent && !Number.isInteger(value * 2 ** 24)) this.#fine = false;
    }
  }

  form(): SharedForm {
    const any = this.#any >>> 0;
    if ((any & 0x807fffff) === 0 && this.#least >= 1 && this.#most <= 254 && !this.#zero) {
      return { kind: "exponent", bytes: 4 };
    }
    if ((any & 0xffff) === 0) return { kind: "bf16", bytes: 8 };
    if ((any & 0x1fff) === 0 && this.#fine && this.#most <= largestF16Exponent) {
      const normal = this.#least >= smallestF16Exponent && !this.#zero;
      return { kind: "f16", bytes: 8, signed: any >= 2 ** 31, normal };
    }
    return { kind: "f32", bytes: 16 };
  }
}

/** Exponent fields of f32 between which f16 has normal numbers: 2^-14 to 2^15. */
const [smallestF16Exponent, largestF16Exponent] = [127 - 14, 127 + 15];

/** The code of a number in a form that holds it. */
export function sharedCode(kind: SharedForm["kind"]): (value: number) => number {
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  const bitsOf = (value: number) => {
    float[0] = value;
    return bits[0];
  };
  switch (kind) {
    case "exponent":
      return (value) => bitsOf(value) >>> 23;
    case "e4m3":
      // Multiplied so that its lowest exponent becomes that of subnormal f32: then the bits are the same.
      return (value) => bitsOf(value * 2 ** -120) >>> 20;
    case "bf16":
      return (value) => bitsOf(value) >>> 16;
    case "f16":
      return (value) => {
        const moved = bitsOf(value * 2 ** -112);
        return ((moved >>> 16) & 0x8000) | ((moved >>> 13) & 0x7fff);
      };
    default:
      return bitsOf;
  }
}

/** The numbers of four columns at an address, in f32. */
export type SharedReader = (address: Local<"i32">, offset: number) => Expression<"v128">;

/** A reader of a form; what is the same in every block is set here. */
export function sharedReader(f: FunctionBuilder, { kind, factor = 1, signed, normal }: SharedForm): SharedReader {
  if (kind === "f32") return (address, offset) => v128.load(address, offset);
  if (kind === "bf16") return (address, offset) => i32x4.shl(v128.load16x4_u(address, offset), 16);
  if (kind === "f16") {
    // Exponent and significand move to where f32 has them; copies of the sign that come along are masked away.
    const mask = signed ? f.let(i32x4.splat(0x8fffe000)) : undefined;
    const power = f.let(normal ? i32x4.splat(112 << 23) : f32x4.splat(2 ** 112));
    return (address, offset) => {
      const wide = mask ? v128.load16x4_s(address, offset) : v128.load16x4_u(address, offset);
      const moved = i32x4.shl(wide, 13);
      const placed = mask ? v128.and(moved, mask) : moved;
      return normal ? i32x4.add(placed, power) : f32x4.mul(placed, power);
    };
  }
  // Each byte at the top of a lane; indices from 128 up give 0.
  const tops = f.let(v128.const([0, 1, 2, 3].flatMap((byte) => [128, 128, 128, byte])));
  const top = (address: Local<"i32">, offset: number) => i8x16.swizzle(v128.load32_zero(address, offset), tops);
  if (kind === "exponent") return (address, offset) => i32x4.shr_u(top(address, offset), 1);
  const power = f.let(f32x4.splat(2 ** 120 * factor));
  return (address, offset) => f32x4.mul(i32x4.shr_u(top(address, offset), 4), power);
}

/** Whether a number of the whole tensor may multiply scales held as e4m3. */
export function fitsE4m3Factor(factor: number): boolean {
  return Math.fround(factor) === factor && Number.isFinite(Math.fround(factor * 2 ** 120)) && factor >= 2 ** -100;
}

/** Whether e4m3 has this number: 0 to 480 with a significand of 4 bits, in steps of 2^-9 at least. */
export function isE4m3(value: number): boolean {
  if (!(value >= 0 && value <= 480) || Object.is(value, -0)) return false;
  const steps = value * 512;
  return Number.isInteger(steps) && Number.isInteger(steps / 2 ** Math.max(0, Math.floor(Math.log2(steps || 1)) - 3));
}
