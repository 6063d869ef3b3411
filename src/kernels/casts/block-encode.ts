/**
 * Blocks of f32 to unpacked codes, scales and offsets: one kernel for each kind of rule (rule-steps.ts), with the f32
 * operations of the rule in the rule's order. First all groups of a tile get their scales, then all are encoded: the long
 * chain from an amax to a factor then overlaps with those of the next groups. The tile comes from a near cache again.
 */
import type { RuleSteps, ScaleSearch } from "../../formats/rule-steps.js";
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "../wasm/emitter.js";
import { f32, f32x4, f64, i32, i32x4, select, v128 } from "../wasm/instructions.js";
import { encodeRun, run } from "./array-kernels.js";
import { codeBytes, wideMinifloat } from "./decode-lanes.js";
import type { DecodePlan } from "./decode-plan.js";
import { type LaneEncoder, laneEncoder } from "./encode-lanes.js";
import type { ElementEncode, EncodePlan, LaneEncode } from "./encode-plan.js";
import { absMask, infinityBits, largestLane, powerBits, type Vector, type VectorLocal, word, zero } from "./lanes.js";

/** What a block kernel is generated from. */
export interface BlockEncode {
  readonly steps: Exclude<RuleSteps, { kind: "cast" }>;
  /** How elements, scales and offsets are encoded, and how a scale's code is read again. */
  readonly element: ElementEncode;
  readonly elementBits: number;
  readonly scale: EncodePlan;
  readonly scaleDecode: DecodePlan;
  readonly scaleBits: number;
  readonly offset?: EncodePlan;
  /** Also of a tag, which stands in the place of an offset. */
  readonly offsetBits: number;
  /** How the codebooks of a mixture are encoded. */
  readonly variants: readonly LaneEncode[];
  /** Elements are divided by the factor of their scale (two-level rules). */
  readonly divides: boolean;
  /** Of the step table. */
  readonly shift: number;
}

const parameters = {
  from: "i32",
  codes: "i32",
  scales: "i32",
  offsets: "i32",
  groups: "i32",
  size: "i32",
  steps: "i32",
  factors: "i32",
  states: "i32",
  elements: "i32",
  highest: "i32",
  multipliers: "i32",
  values: "i32",
} as const;

/** Bytes that a kernel keeps for each group between its two passes. */
export const stateBytes = 48;

interface Frame {
  readonly f: FunctionBuilder;
  readonly from: Local<"i32">;
  readonly size: Local<"i32">;
  /** Not zero: something for the reference to decide (a value that is not finite, a scale out of range). */
  readonly failed: Local<"i32">;
}

/**
 * encodeBlocks(from, codes, scales, offsets, groups, size, steps, factors, states, elements, highest, multipliers, values): 0, or 1
 * where the reference must decide. `size` is a positive multiple of `run`. Searches write codes of their candidates to `codes`.
 */
export function defineBlockEncode(m: ModuleBuilder, block: BlockEncode) {
  return m.func("encodeBlocks", parameters, "i32", (f, args) => {
    const { from, codes, scales, offsets, groups, size, states } = args;
    const frame: Frame = { f, from, size, failed: f.local("i32") };
    const { choose, state, encode, finish } = emitters[block.steps.kind](frame, block as never, args);
    const [start, firstState] = [f.let(from), f.let(states)];
    f.repeat(f.local("i32"), groups, () => {
      const { scale, offset } = choose();
      storeCode(f, scales, scale, block.scaleBits);
      if (offset) storeCode(f, offsets, offset, block.offsetBits);
      state.forEach((vector, i) => {
        f.emit(v128.store(states, vector, 16 * i));
      });
      f.advance(states, stateBytes);
      f.advance(from, i32.shl(size, 2));
    });
    f.set(from, start);
    f.set(states, firstState);
    f.repeat(f.local("i32"), groups, () => {
      state.forEach((vector, i) => {
        f.set(vector, v128.load(states, 16 * i));
      });
      f.advance(states, stateBytes);
      overRuns(frame, () => {
        encode(from, codes);
        f.advance(from, 4 * run);
        f.advance(codes, run * codeBytes(block.elementBits));
      });
      finish?.(codes);
    });
    return frame.failed;
  });
}

const scaledParameters = {
  from: "i32",
  codes: "i32",
  factors: "i32",
  groups: "i32",
  size: "i32",
  elements: "i32",
} as const;

/**
 * encodeScaled(from, codes, factors, groups, size, elements): 0. The elements of a two-level rule alone, by factors that are given,
 * one f32 a group.
 */
export function defineScaledEncode(m: ModuleBuilder, block: ScaledBlock) {
  return m.func("encodeScaled", scaledParameters, "i32", (f, { from, codes, factors, groups, size, elements }) => {
    const factor = f.local("v128");
    const encode = scaledRuns(f, block, elements, factor);
    f.repeat(f.local("i32"), groups, () => {
      f.set(factor, v128.load32_splat(factors));
      f.advance(factors, 4);
      f.repeat(f.local("i32"), i32.div_u(size, run), () => {
        encode(from, codes);
        f.advance(from, 4 * run);
        f.advance(codes, run * codeBytes(block.elementBits));
      });
    });
    return i32.const(0);
  });
}

type ScaledBlock = Pick<BlockEncode, "element" | "elementBits" | "divides">;

/** Encodes runs of elements after they have been multiplied with the factor, or divided by it; zeros stay +0. */
function scaledRuns(f: FunctionBuilder, block: ScaledBlock, table: Local<"i32">, factor: VectorLocal): EncodeRun {
  const isZero = f.local("v128");
  const apply = block.divides ? f32x4.div : f32x4.mul;
  const lanes = laneEncoder(f, block.element, { noNaN: true, table });
  return encodeRun(f, block.elementBits, lanes, (x) => {
    f.set(isZero, f32x4.eq(x, zero));
    f.set(x, v128.andnot(apply(x, factor), isZero));
  });
}

interface GroupKernel {
  /** Chooses the scale of the group at `from`: its code, and that of its offset. Sets `state`. */
  choose(): { readonly scale: Expression<"i32">; readonly offset?: Expression<"i32"> };
  /** What encoding needs of the choice: at most three vectors. */
  readonly state: readonly VectorLocal[];
  encode(from: Local<"i32">, to: Local<"i32">): void;
  /** What is left to do when the group's codes end at `end`. */
  finish?(end: Local<"i32">): void;
}
type Arguments = { readonly [K in keyof typeof parameters]: Local<"i32"> };
type Emitter<S> = (frame: Frame, block: BlockEncode & { readonly steps: S }, args: Arguments) => GroupKernel;
type StepsOf<K> = Extract<RuleSteps, { kind: K }>;

function storeCode(f: FunctionBuilder, at: Local<"i32">, code: Expression<"i32">, bits: number): void {
  const size = codeBytes(bits);
  const store = { 1: i32.store8, 2: i32.store16, 4: i32.store }[size];
  f.emit(store(at, code));
  f.advance(at, size);
}

function overRuns({ f, size }: Frame, body: () => void): void {
  f.repeat(f.local("i32"), i32.div_u(size, run), body);
}

/** Reads the group once: `fold` sees its vectors four at a time; `from` stays. */
function overVectors({ f, from, size }: Frame, fold: (x: Vector, i: number) => void): void {
  const at = f.let(from);
  overRuns({ f, from, size, failed: size }, () => {
    for (let i = 0; i < run / 4; i++) fold(v128.load(at, 16 * i), i);
    f.advance(at, 4 * run);
  });
}

/** The bits of the group's amax. Records magnitudes that are not finite. */
function amaxReader(frame: Frame): () => Local<"i32"> {
  const { f, failed } = frame;
  const mask = word(f, absMask);
  const [a, b] = f.locals("v128", 2);
  const amax = f.local("i32");
  return () => {
    f.set(a, zero);
    f.set(b, zero);
    overVectors(frame, (x, i) => {
      const most = i % 2 === 0 ? a : b;
      f.set(most, i32x4.max_s(most, v128.and(x, mask)));
    });
    f.set(a, i32x4.max_s(a, b));
    f.set(amax, largestLane(f, a));
    f.set(failed, i32.or(failed, i32.ge_s(amax, infinityBits)));
    return amax;
  };
}

/** The group's amax and where its first element of that magnitude lies. */
function largestReader(frame: Frame): () => { amax: Local<"i32">; at: Local<"i32"> } {
  const { f, from, size } = frame;
  const read = amaxReader(frame);
  const [peak, found] = f.locals("v128", 2);
  const at = f.local("i32");
  const magnitude = word(f, absMask);
  return () => {
    const amax = read();
    f.set(peak, i32x4.splat(amax));
    f.set(at, from);
    // There is one, unless the group is not finite.
    f.block((end) => {
      f.loop((next) => {
        f.set(found, i32x4.eq(v128.and(v128.load(at), magnitude), peak));
        f.branchIf(end, v128.any_true(found));
        f.advance(at, 16);
        f.branchIf(next, i32.lt_u(at, i32.add(from, i32.shl(size, 2))));
      });
    });
    f.set(at, i32.add(at, i32.shl(i32.and(i32.ctz(i32x4.bitmask(found)), 3), 2)));
    return { amax, at };
  };
}

/** Least and greatest of the group, as f32 locals. Records values that are not finite. */
function rangeReader(
  frame: Frame,
  start: (first: Vector) => Vector,
  [least, greatest] = [f32x4.pmin, f32x4.pmax] as readonly ((a: Vector, b: Vector) => Vector)[],
): () => { low: Local<"f32">; high: Local<"f32"> } {
  const { f, from, failed } = frame;
  const [low4, high4, difference] = f.locals("v128", 3);
  const [low, high] = f.locals("f32", 2);
  const fold = (pick: (a: Vector, b: Vector) => Vector, v: VectorLocal): void => {
    const lane = (i: number) => f32x4.splat(f32x4.extract_lane(v, i));
    f.set(v, pick(pick(lane(0), lane(1)), pick(lane(2), lane(3))));
  };
  return () => {
    f.set(low4, start(v128.load32_splat(from)));
    f.set(high4, low4);
    f.set(difference, zero);
    overVectors(frame, (x) => {
      f.set(low4, least(low4, x));
      f.set(high4, greatest(high4, x));
      f.set(difference, v128.or(difference, f32x4.sub(x, x)));
    });
    // x - x is 0 where x is finite, else NaN.
    f.set(failed, i32.or(failed, v128.any_true(difference)));
    fold(least, low4);
    fold(greatest, high4);
    f.set(low, f32x4.extract_lane(low4, 0));
    f.set(high, f32x4.extract_lane(high4, 0));
    return { low, high };
  };
}

/** Looks an amax up in a step table. */
function stepReader(f: FunctionBuilder, table: Local<"i32">, shift: number): (amax: Local<"i32">) => Local<"i32"> {
  const [cell, code] = f.locals("i32", 2);
  return (amax) => {
    f.set(cell, i32.add(table, i32.shl(i32.shr_u(amax, shift), 3)));
    // A magnitude that is not finite has no cell; the result is thrown away, but the address must be good.
    f.set(cell, select(table, cell, i32.ge_s(amax, infinityBits)));
    const isHigh = i32.ge_u(amax, i32.load(cell));
    f.set(code, i32.load8_u(i32.add(cell, isHigh), 4));
    return code;
  };
}

/** Encodes one f32 as a scale or offset that must be finite: the code and its value. */
function finiteCoder(frame: Frame, encode: EncodePlan, decode: DecodePlan, nonNegative: boolean) {
  const { f, failed } = frame;
  const code = f.local("i32");
  const value = f.local("f32");
  const x = f.local("v128");
  const direct = encode.kind === "copy";
  const lanes = encode.kind === "copy" ? undefined : laneEncoder(f, encode as LaneEncode, { nonNegative, noNaN: true });
  const read = decode.kind === "minifloat" ? wideMinifloat(f, decode) : undefined;
  return (number: Expression<"f32">) => {
    f.set(x, f32x4.splat(number));
    if (lanes) f.set(x, (lanes as LaneEncoder).lanes(x));
    f.set(code, i32x4.extract_lane(x, 0));
    if (decode.kind === "minifloat") {
      const magnitude = 2 ** (decode.bits - Number(decode.signed)) - 1;
      const most = decode.maxMagnitude ?? magnitude;
      f.set(failed, i32.or(failed, i32.gt_u(i32.and(code, magnitude), most)));
      if (read) f.set(value, f32x4.extract_lane(read(x), 0));
    } else {
      const bits = f.let(direct ? code : i32.shl(code, 16));
      f.set(failed, i32.or(failed, i32.ge_s(i32.and(bits, absMask), infinityBits)));
      f.set(value, f32.reinterpret_i32(bits));
    }
    return { code, value };
  };
}

/** 1 / d, or 0 where that is not finite or d is 0. */
function inverseOf(f: FunctionBuilder, d: Local<"f32">): Expression<"f32"> {
  const inverse = f.let(f32.div(f32.const(1), d));
  const finite = i32.lt_s(i32.and(i32.reinterpret_f32(inverse), absMask), infinityBits);
  return select<"f32">(inverse, f32.const(0), finite);
}

type EncodeRun = GroupKernel["encode"];

/** Rules that look scales up by amax, or search from what they look up. */
function byTable(
  frame: Frame,
  block: BlockEncode & { readonly steps: StepsOf<"power" | "two-level"> },
  args: Arguments,
  factor: VectorLocal,
  encode: EncodeRun,
): GroupKernel {
  const { f } = frame;
  const amax = amaxReader(frame);
  const lowest = stepReader(f, args.steps, block.shift);
  const setFactor = (code: Local<"i32">) => f.set(factor, v128.load32_splat(i32.add(args.factors, i32.shl(code, 2))));
  const { search } = block.steps;
  const found = search && searcher(frame, search, block.shift, args, { lowest, setFactor, encode });
  const choose = () => {
    const scale = found ? found(amax()) : lowest(amax());
    setFactor(scale);
    return { scale };
  };
  return { choose, state: [factor], encode };
}

/** The first scale code of least error, from `lowest` to the highest one. */
function searcher(
  frame: Frame,
  { measure, all }: ScaleSearch,
  shift: number,
  { codes, highest, multipliers, values }: Arguments,
  group: {
    readonly lowest: (amax: Local<"i32">) => Local<"i32">;
    readonly setFactor: (code: Local<"i32">) => void;
    readonly encode: EncodeRun;
  },
) {
  const { f, from } = frame;
  const highestOf = stepReader(f, highest, shift);
  const errorOf = errorReader(frame, measure, values);
  const [code, last, stride, best, at, to] = f.locals("i32", 6);
  const [error, least] = f.locals("f64", 2);
  return (amax: Local<"i32">): Local<"i32"> => {
    f.set(code, group.lowest(amax));
    f.set(last, highestOf(amax));
    f.set(best, code);
    f.set(least, f64.const(Infinity));
    const apart = i32.sub(last, code);
    f.set(stride, all ? i32.const(1) : select(apart, i32.const(1), i32.gt_s(apart, 1)));
    f.loop((next) => {
      group.setFactor(code);
      f.set(at, from);
      f.set(to, codes);
      overRuns(frame, () => {
        group.encode(at, to);
        f.advance(at, 4 * run);
        f.advance(to, run);
      });
      f.set(error, errorOf(codes, f64.load(i32.add(multipliers, i32.shl(code, 3)))));
      f.if(f64.lt(error, least), () => {
        f.set(least, error);
        f.set(best, code);
      });
      f.set(code, i32.add(code, stride));
      f.branchIf(next, i32.le_s(code, last));
    });
    return best;
  };
}

/** The sum of errors of the group at `from` if its codes were those at `codes`, times `step`: in the order of the elements. */
function errorReader({ f, from, size }: Frame, measure: ScaleSearch["measure"], values: Local<"i32">) {
  const [at, to] = f.locals("i32", 2);
  const [total, difference, factor] = f.locals("f64", 3);
  return (codes: Local<"i32">, step: Expression<"f64">): Local<"f64"> => {
    f.set(factor, step);
    f.set(total, f64.const(0));
    f.set(at, from);
    f.set(to, codes);
    f.repeat(f.local("i32"), size, () => {
      const value = f64.load(i32.add(values, i32.shl(i32.load8_u(to), 3)));
      f.set(difference, f64.sub(f64.promote_f32(f32.load(at)), f64.mul(value, factor)));
      const square = f64.mul(difference, difference);
      f.set(total, f64.add(total, measure === "square" ? square : f64.abs(difference)));
      f.advance(at, 4);
      f.advance(to, 1);
    });
    return total;
  };
}

const emitters: { readonly [K in BlockEncode["steps"]["kind"]]: Emitter<StepsOf<K>> } = {
  power(frame, block, args) {
    const { f } = frame;
    const factor = f.local("v128");
    const { positiveZero } = block.steps;
    const lanes = laneEncoder(f, block.element, { noNaN: true, positiveZero, table: args.elements });
    const encode = encodeRun(f, block.elementBits, lanes, (x) => f.set(x, f32x4.mul(x, factor)));
    return byTable(frame, block, args, factor, encode);
  },

  "two-level"(frame, block, args) {
    const { f } = frame;
    const factor = f.local("v128");
    return byTable(frame, block, args, factor, scaledRuns(f, block, args.elements, factor));
  },

  scaled(frame, block, { elements }) {
    const { f } = frame;
    const amax = amaxReader(frame);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, true);
    const [divisor, live] = f.locals("v128", 2);
    const lanes = laneEncoder(f, block.element, { noNaN: true, table: elements });
    const encode = encodeRun(f, block.elementBits, lanes, (x) => f.set(x, v128.and(f32x4.div(x, divisor), live)));
    const choose = () => {
      const { code, value } = coder(f32.div(f32.reinterpret_i32(amax()), f32.const(block.steps.max)));
      f.set(divisor, f32x4.splat(value));
      // Where the scale is 0 every element becomes +0.
      f.set(live, f32x4.gt(divisor, zero));
      return { scale: code };
    };
    return { choose, state: [divisor, live], encode };
  },

  affine(frame, block) {
    const { f } = frame;
    const range = rangeReader(frame, () => zero);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, true);
    const most = f.let(f32x4.splat(f32.const(block.steps.steps)));
    const [divisor, live, zeroPoint] = f.locals("v128", 3);
    const zeroCode = f.local("f32");
    const lanes = (x: VectorLocal): Vector => {
      const q = f32x4.add(f32x4.nearest(f32x4.div(x, divisor)), zeroPoint);
      const clamped = f32x4.pmin(f32x4.pmax(zero, q), most);
      return i32x4.trunc_sat_f32x4_s(v128.and(clamped, live));
    };
    const encode = encodeRun(f, block.elementBits, { lanes, finish: (bytes) => bytes });
    const choose = () => {
      const { low, high } = range();
      const { code, value } = coder(f32.div(f32.sub(high, low), f32.const(block.steps.steps)));
      f.set(divisor, f32x4.splat(value));
      f.set(live, f32x4.gt(divisor, zero));
      const rounded = f32.min(f32.nearest(f32.div(f32.neg(low), value)), f32.const(block.steps.steps));
      f.set(zeroCode, select<"f32">(rounded, f32.const(0), f32.gt(value, f32.const(0))));
      f.set(zeroPoint, f32x4.splat(zeroCode));
      return { scale: code, offset: i32.trunc_sat_f32_s(zeroCode) };
    };
    return { choose, state: [divisor, live, zeroPoint], encode };
  },

  extreme(frame, block) {
    const { f } = frame;
    const { half } = block.steps;
    const largest = largestReader(frame);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, false);
    const inverse = f.local("v128");
    const [middle, most] = [f.let(f32x4.splat(half + 0.5)), word(f, 2 * half - 1)];
    const d = f.local("f32");
    const lanes = (x: VectorLocal): Vector =>
      i32x4.min_s(i32x4.trunc_sat_f32x4_s(f32x4.add(f32x4.mul(x, inverse), middle)), most);
    const encode = encodeRun(f, block.elementBits, { lanes, finish: (bytes) => bytes });
    const choose = () => {
      f.set(d, f32.div(f32.load(largest().at), f32.const(-half)));
      f.set(inverse, f32x4.splat(inverseOf(f, d)));
      return { scale: coder(d).code };
    };
    return { choose, state: [inverse], encode };
  },

  "min-max"(frame, block) {
    const { f, from, size } = frame;
    const { steps } = block.steps;
    const range = rangeReader(frame, (first) => first);
    const scaleCoder = finiteCoder(frame, block.scale, block.scaleDecode, true);
    const offsetCoder = finiteCoder(frame, block.offset ?? block.scale, block.scaleDecode, false);
    const [inverse, least] = f.locals("v128", 2);
    const [half, most] = [f.let(f32x4.splat(0.5)), word(f, steps)];
    const d = f.local("f32");
    const at = f.local("i32");
    const lanes = (x: VectorLocal): Vector => {
      const scaled = f32x4.mul(f32x4.sub(x, least), inverse);
      return i32x4.min_s(i32x4.trunc_sat_f32x4_s(f32x4.add(scaled, half)), most);
    };
    const encode = encodeRun(f, block.elementBits, { lanes, finish: (bytes) => bytes });
    const choose = () => {
      const { low, high } = range();
      // Of zeros with both signs the first one counts as the least.
      f.if(f32.eq(low, f32.const(0)), () => {
        f.set(at, from);
        f.block((end) => {
          f.loop((next) => {
            f.set(low, f32.load(at));
            f.branchIf(end, f32.eq(low, f32.const(0)));
            f.advance(at, 4);
            f.branchIf(next, i32.lt_u(at, i32.add(from, i32.shl(size, 2))));
          });
        });
      });
      f.set(d, f32.div(f32.sub(high, low), f32.const(steps)));
      f.if(f32.eq(high, low), () => f.set(d, f32.const(0)));
      f.set(inverse, f32x4.splat(inverseOf(f, d)));
      f.set(least, f32x4.splat(low));
      return { scale: scaleCoder(d).code, offset: offsetCoder(low).code };
    };
    return { choose, state: [inverse, least], encode };
  },

  "half-away"(frame, block) {
    const { f } = frame;
    const { steps, offset } = block.steps;
    const amax = amaxReader(frame);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, true);
    const [inverse, magnitude, q, sign] = f.locals("v128", 4);
    const half = f.let(f32x4.splat(0.5));
    const mask = word(f, absMask);
    const shift = word(f, offset);
    const byte = word(f, 2 ** block.elementBits - 1);
    const d = f.local("f32");
    // The rest after cutting is exact, so comparing it with one half rounds once.
    const lanes = (x: VectorLocal): Vector => {
      f.set(x, f32x4.mul(x, inverse));
      f.set(magnitude, v128.and(x, mask));
      f.set(q, i32x4.trunc_sat_f32x4_s(magnitude));
      f.set(q, i32x4.sub(q, f32x4.ge(f32x4.sub(magnitude, f32x4.convert_i32x4_s(q)), half)));
      f.set(sign, i32x4.shr_s(x, 31));
      return v128.and(i32x4.add(i32x4.sub(v128.xor(q, sign), sign), shift), byte);
    };
    const encode = encodeRun(f, block.elementBits, { lanes, finish: (bytes) => bytes });
    const choose = () => {
      f.set(d, f32.div(f32.reinterpret_i32(amax()), f32.const(steps)));
      f.set(inverse, f32x4.splat(inverseOf(f, d)));
      return { scale: coder(d).code };
    };
    return { choose, state: [inverse], encode };
  },

  reciprocal(frame, block) {
    const { f } = frame;
    const { top, middle } = block.steps;
    // A zero's sign decides that of the scale of a block of zeros.
    const range = rangeReader(frame, () => zero, [f32x4.min, f32x4.max]);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, false);
    const [inverse, zeroPoint, whole, clamped] = f.locals("v128", 4);
    const [d, rounded] = f.locals("f32", 2);
    const [none, most, half] = [zero, f.let(f32x4.splat(top)), f.let(f32x4.splat(0.5))];
    // Within 0 .. top halves away from zero go up, and what is left after cutting is exact.
    const roundUp = (x: Vector): Vector => {
      f.set(clamped, f32x4.pmin(f32x4.pmax(none, x), most));
      f.set(whole, i32x4.trunc_sat_f32x4_s(clamped));
      return i32x4.sub(whole, f32x4.ge(f32x4.sub(clamped, f32x4.convert_i32x4_s(whole)), half));
    };
    const lanes = (x: VectorLocal): Vector => {
      f.set(x, v128.andnot(f32x4.mul(x, inverse), f32x4.eq(x, none)));
      return roundUp(f32x4.add(x, zeroPoint));
    };
    const encode = encodeRun(f, block.elementBits, { lanes, finish: (bytes) => bytes });
    const choose = () => {
      const { low, high } = range();
      const extreme = select<"f32">(high, low, f32.gt(high, f32.neg(low)));
      f.set(
        d,
        middle === undefined ? f32.div(f32.sub(high, low), f32.const(top)) : f32.div(extreme, f32.const(-middle)),
      );
      const isZero = f32.eq(d, f32.const(0));
      f.set(inverse, f32x4.splat(select<"f32">(f32.const(0), f32.div(f32.const(1), d), isZero)));
      if (middle === undefined) {
        f.set(zeroPoint, roundUp(f32x4.splat(f32.div(f32.neg(low), d))));
        f.set(rounded, f32.convert_i32_s(i32x4.extract_lane(zeroPoint, 0)));
        f.set(rounded, select<"f32">(f32.const(0), rounded, isZero));
      } else f.set(rounded, f32.const(middle));
      f.set(zeroPoint, f32x4.splat(rounded));
      return { scale: coder(d).code, ...(middle === undefined && { offset: i32.trunc_sat_f32_s(rounded) }) };
    };
    return { choose, state: [inverse, zeroPoint], encode };
  },

  marked(frame, block, { steps, factors, elements }) {
    const { f, from, size } = frame;
    const { emax } = block.steps;
    const largest = largestReader(frame);
    const scaleOf = stepReader(f, steps, block.shift);
    const [factor, mark] = f.locals("v128", 2);
    const [bits, code, place] = f.locals("i32", 3);
    const lanes = laneEncoder(f, block.element, { noNaN: true, table: elements });
    const encode = encodeRun(f, block.elementBits, lanes, (x) => f.set(x, f32x4.mul(x, factor)));
    const [cut, top] = [24 - block.elementBits, 2 ** (block.elementBits - 1)];
    const choose = () => {
      const { amax, at } = largest();
      const scale = scaleOf(amax);
      f.set(factor, v128.load32_splat(i32.add(factors, i32.shl(scale, 2))));
      const isMarked = i32.ge_s(amax, powerBits(emax - 127));
      f.set(place, select(i32.shr_u(i32.sub(at, from), 2), i32.const(255), isMarked));
      // The trailing significand, rounded to nearest even as prefixes are.
      f.set(bits, i32.and(amax, 0x7fffff));
      const odd = i32.and(i32.shr_u(bits, cut), 1);
      f.set(code, i32.shr_u(i32.add(i32.add(bits, 2 ** (cut - 1) - 1), odd), cut));
      f.set(code, select(code, i32.const(top - 1), i32.lt_u(code, top)));
      f.set(code, i32.add(code, i32.mul(i32.shr_u(i32.load(at), 31), top)));
      f.set(mark, i32x4.replace_lane(i32x4.splat(code), 0, place));
      return { scale, offset: place };
    };
    const finish = (end: Local<"i32">) => {
      f.set(place, i32x4.extract_lane(mark, 0));
      f.if(i32.lt_u(place, size), () =>
        f.emit(i32.store8(i32.add(i32.sub(end, size), place), i32x4.extract_lane(mark, 1))),
      );
    };
    return { choose, state: [factor, mark], encode, finish };
  },

  mixture(frame, block, { codes, values }) {
    const { f, from } = frame;
    const amax = amaxReader(frame);
    const coder = finiteCoder(frame, block.scale, block.scaleDecode, true);
    const [divisor, live, chosen] = f.locals("v128", 3);
    const [tag, scale, at, to, list] = f.locals("i32", 5);
    const [error, least] = f.locals("f64", 2);
    const errorOf = errorReader(frame, "square", list);
    const encoders = block.variants.map((variant) =>
      encodeRun(f, block.elementBits, laneEncoder(f, variant, { noNaN: true }), (x) =>
        f.set(x, v128.and(f32x4.div(x, divisor), live)),
      ),
    );
    const choose = () => {
      const peak = amax();
      f.set(least, f64.const(Infinity));
      f.set(tag, 0);
      encoders.forEach((encode, i) => {
        const { code, value } = coder(f32.div(f32.reinterpret_i32(peak), f32.const(block.steps.largest[i])));
        f.set(divisor, f32x4.splat(value));
        f.set(live, f32x4.gt(divisor, zero));
        f.set(at, from);
        f.set(to, codes);
        overRuns(frame, () => {
          encode(at, to);
          f.advance(at, 4 * run);
          f.advance(to, run);
        });
        f.set(list, i32.add(values, i * 8 * 2 ** block.elementBits));
        f.set(error, errorOf(codes, f64.promote_f32(value)));
        const better = f64.lt(error, least);
        f.if(i === 0 ? i32.const(1) : better, () => {
          f.set(least, error);
          f.set(scale, code);
          f.set(tag, i);
          f.set(chosen, divisor);
        });
      });
      f.set(divisor, chosen);
      f.set(live, f32x4.gt(divisor, zero));
      f.set(chosen, i32x4.splat(tag));
      return { scale, offset: tag };
    };
    const encode = (source: Local<"i32">, target: Local<"i32">) => {
      f.set(tag, i32x4.extract_lane(chosen, 0));
      encoders.forEach((one, i) => {
        f.if(i32.eq(tag, i), () => one(source, target));
      });
    };
    return { choose, state: [divisor, live, chosen], encode };
  },
};
