/**
 * A scheme says how a whole tensor is held: the format of its elements, which elements share a scale, how the scale
 * itself is coded, whether there is an offset, and the rule that chooses them. A value is
 *
 *     w = S * v(code) + M      (offset kind "min")
 *     w = S * (v(code) - Z)    (offset kind "zeroPoint")
 *     w = S * v(code)          (no offset)
 *
 * where S is the block's scale times the scale of its super-block (or tensor) if there is one, and likewise M.
 */
import type { Named } from "../registry.js";
import type { EncodeOptions } from "./codec.js";
import type { NumberFormat } from "./format.js";
import type { RuleSteps } from "./rule-steps.js";

/** Numbers shared by groups of elements along the last axis, or by tiles of rows and columns. */
export interface SharedCodec {
  readonly format: NumberFormat;
  /** How many consecutive elements of a row share one; the last group of a row may be shorter. */
  readonly per: number | "row";
  /** How many rows share them too (2-D blocks), from the first row of the tensor on; the last tile may be lower. Default 1. */
  readonly rows?: number;
  /** A second level that multiplies this one: K-quants' super-block scale, NVFP4's tensor scale. */
  readonly super?: { readonly format: NumberFormat; readonly per: number | "tensor" };
}

export interface OffsetCodec extends SharedCodec {
  readonly kind: "min" | "zeroPoint";
}

/**
 * A number held with each group that says, together with an element's place in the group, what the element's code means:
 * v = value of `widen(code, tag, place)` in `element`, a list of all that a code can mean. Mixtures choose one of several
 * codebooks for each group; MX+ marks a group's largest element, which is coded in its own way.
 */
export interface TagCodec {
  /** Of the tags. */
  readonly format: NumberFormat;
  readonly per: number;
  /** What codes are once widened. */
  readonly element: NumberFormat;
  widen(code: number, tag: number, place: number): number;
  /**
   * `widen` as data, for kernels: the tag chooses a list of 2^bits values for the whole group (tag << bits | code), or it is the
   * place of the one element that has the second list (code + 2^bits).
   */
  readonly kind?: "list" | "place";
}

export interface Scheme extends Named {
  readonly summary: string;
  readonly source: string;
  /** What the codes are, as stored. */
  readonly element: NumberFormat;
  readonly tags?: TagCodec;
  readonly scale?: SharedCodec;
  readonly offset?: OffsetCodec;
  /** Chooses scales, offsets and codes for a tensor by rounding to nearest under this scheme's own rule. */
  readonly quantize: SchemeRule;
}

/**
 * Fills `planes` (allocated by the caller) from `rows` x `columns` values in row-major order. Every f32 operation a
 * reference implementation does in f32 is done in f32 here, so that bytes agree.
 */
export interface SchemeRule {
  (scheme: Scheme, values: Float32Array, rows: number, columns: number, planes: Planes, element?: EncodeOptions): void;
  /** The rule as data, for kernels. Absent where only the function says it. */
  readonly steps?: (scheme: Scheme) => RuleSteps | undefined;
  /** Elements may be encoded with other options (rounding, overflow) than the rule's own. */
  readonly takesOptions?: boolean;
}

/**
 * The codes of a packed tensor, one plane for each kind of number. Within a plane every row starts at a byte; inside a
 * row code i occupies bits [i * bits, (i + 1) * bits), least significant first, so 8, 16 and 32-bit codes are plain
 * little-endian numbers. The super planes hold one row each row of the tensor, or a single code per tensor.
 */
export interface Planes {
  readonly codes: Uint8Array;
  readonly scales?: Uint8Array;
  readonly superScales?: Uint8Array;
  readonly offsets?: Uint8Array;
  readonly superOffsets?: Uint8Array;
  readonly tags?: Uint8Array;
}
export type PlaneName = keyof Planes;
