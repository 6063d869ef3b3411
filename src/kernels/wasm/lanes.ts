/**
 * Loops over rows of f32 in vectors of four, with tails of one to three elements, and the sums in four lanes that the
 * reference defines: element i in sum i mod 4, ended as (s0 + s1) + (s2 + s3).
 */

import { expConstants } from "../exp.js";
import { geluConstants } from "../gelu.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32, f32x4, f32x4Const, i32, i32x4, i32x4Const, v128 } from "./instructions.js";

export const zeroVector = v128.const(new Uint8Array(16));

/** Calls `body` with a byte offset for each full vector, and with a mask of the lanes in use for a last short one. */
export function overLanes(
  f: FunctionBuilder,
  length: Expression<"i32">,
  body: (offset: Local<"i32">, mask?: Local<"v128">, rest?: Local<"i32">) => void,
): void {
  const offset = f.local("i32");
  const rest = f.let(i32.and(length, 3));
  const whole = f.let(i32.shl(i32.sub(length, rest), 2));
  f.for(offset, 0, whole, 16, () => body(offset));
  f.set(offset, whole);
  f.if(rest, () => {
    const mask = f.let(i32x4.gt_s(i32x4.splat(rest), i32x4Const([0, 1, 2, 3])));
    body(offset, mask, rest);
  });
}

/** Stores the first `rest` lanes, or all four. */
export function storeLanes(
  f: FunctionBuilder,
  address: Expression<"i32">,
  value: Expression<"v128">,
  rest?: Local<"i32">,
): void {
  if (!rest) {
    f.emit(v128.store(address, value));
    return;
  }
  const [to, lanes] = [f.let(address), f.let(value)];
  for (let lane = 0; lane < 3; lane++) {
    f.if(i32.gt_u(rest, lane), () => f.emit(v128.store32_lane(to, lanes, lane, 4 * lane)));
  }
}

/** out[i] = value(i) for a whole row. */
export function mapLanes(
  f: FunctionBuilder,
  out: Expression<"i32">,
  length: Expression<"i32">,
  value: (offset: Local<"i32">) => Expression<"v128">,
): void {
  overLanes(f, length, (offset, _, rest) => storeLanes(f, i32.add(out, offset), value(offset), rest));
}

/** Adds value(i) over a row into four sums; lanes beyond the end are ignored, whatever memory holds there. */
export function sumLanes(
  f: FunctionBuilder,
  length: Expression<"i32">,
  value: (offset: Local<"i32">) => Expression<"v128">,
): Local<"v128"> {
  const sums = f.local("v128");
  f.set(sums, zeroVector);
  overLanes(f, length, (offset, mask) => {
    const term = value(offset);
    f.set(sums, f32x4.add(sums, mask ? v128.and(term, mask) : term));
  });
  return sums;
}

/** (s0 + s1) + (s2 + s3) */
export function totalOf(s: Local<"v128">): Expression<"f32"> {
  const lane = (i: number) => f32x4.extract_lane(s, i);
  return f32.add(f32.add(lane(0), lane(1)), f32.add(lane(2), lane(3)));
}

/** The largest of four lanes, as a splat. */
export function largestLane(f: FunctionBuilder, v: Local<"v128">): Local<"v128"> {
  const lane = (i: number) => f32x4.extract_lane(v, i);
  return f.let(f32x4.splat(f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3)))));
}

/** out[i] = value(i) for a whole row, and the sums of it, in one pass. */
export function mapAndSumLanes(
  f: FunctionBuilder,
  out: Expression<"i32">,
  length: Expression<"i32">,
  value: (offset: Local<"i32">) => Expression<"v128">,
): Local<"v128"> {
  const sums = f.let(zeroVector);
  const term = f.local("v128");
  overLanes(f, length, (offset, mask, rest) => {
    f.set(term, value(offset));
    storeLanes(f, i32.add(out, offset), term, rest);
    f.set(sums, f32x4.add(sums, mask ? v128.and(term, mask) : term));
  });
  return sums;
}

/**
 * The largest element of a row, as a splat. NaN may be passed over: what is made of it, exp(x - max), is NaN all the same,
 * and so is every sum it is in.
 */
export function largest(
  f: FunctionBuilder,
  length: Expression<"i32">,
  value: (offset: Local<"i32">) => Expression<"v128">,
): Local<"v128"> {
  const low = f32x4.splat(-Infinity);
  const max = f.let(low);
  overLanes(f, length, (offset, mask) => {
    const candidate = mask ? v128.bitselect(value(offset), low, mask) : value(offset);
    f.set(max, f32x4.pmax(max, candidate));
  });
  return largestLane(f, max);
}

const splat = (value: number) => f32x4Const([value, value, value, value]);

/** exp of four lanes, the same operations as expF32 (exp.ts). To be made outside of loops: its constants are then held. */
export function expLanes(f: FunctionBuilder): (x: Expression<"v128">) => Expression<"v128"> {
  const { lowest, highest, log2e, round, ln2High, ln2Low, coefficients } = expConstants;
  const [x, n, r, p] = f.locals("v128", 4);
  const held = (value: number) => f.let(splat(value));
  const [low, high, scale, magic, one] = [lowest, highest, log2e, round, 1].map(held);
  const [high2, low2] = [ln2High, ln2Low].map(held);
  const [first, ...others] = coefficients.map(held);
  return (value) => {
    // Pseudo-minimum and -maximum are one instruction and keep NaN where it is the first operand.
    f.set(x, f32x4.pmin(f32x4.pmax(value, low), high));
    f.set(n, f32x4.add(f32x4.mul(x, scale), magic));
    const whole = f32x4.sub(n, magic);
    f.set(r, f32x4.sub(x, f32x4.mul(whole, high2)));
    f.set(r, f32x4.sub(r, f32x4.mul(whole, low2)));
    f.set(p, first);
    for (const c of others) f.set(p, f32x4.add(f32x4.mul(p, r), c));
    f.set(p, f32x4.add(f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), r), one));
    // The low bits of n + 1.5 * 2^23 are n itself; shifted into the exponent they make 2^n. The bits of 1 are its bias.
    const power = i32x4.add(i32x4.shl(n, 23), one);
    return f32x4.mul(p, power);
  };
}

/** gelu of four lanes, the same operations as geluF32 (gelu.ts). */
export function geluLanes(f: FunctionBuilder): (x: Expression<"v128">) => Expression<"v128"> {
  const { largest: most, slope, coefficients } = geluConstants;
  const exp = expLanes(f);
  const [x, a, t, p] = f.locals("v128", 4);
  return (value) => {
    f.set(x, value);
    f.set(a, f32x4.min(f32x4.abs(x), splat(most)));
    f.set(t, f32x4.div(splat(1), f32x4.add(splat(1), f32x4.mul(splat(slope), a))));
    f.set(p, splat(coefficients[0]));
    for (const c of coefficients.slice(1)) f.set(p, f32x4.add(f32x4.mul(p, t), splat(c)));
    f.set(p, f32x4.mul(p, t));
    const tail = f32x4.mul(exp(f32x4.mul(splat(-0.5), f32x4.mul(a, a))), p);
    return f32x4.sub(f32x4.max(x, splat(0)), f32x4.mul(a, tail));
  };
}

/** The tanh form of gelu for four lanes, the same operations as geluTanhF32 (gelu.ts). */
export function geluTanhLanes(f: FunctionBuilder): (x: Expression<"v128">) => Expression<"v128"> {
  const { cubic, scale } = geluConstants;
  const exp = expLanes(f);
  const x = f.local("v128");
  return (value) => {
    f.set(x, value);
    const cube = f32x4.mul(f32x4.mul(f32x4.mul(x, x), x), splat(cubic));
    return f32x4.div(x, f32x4.add(splat(1), exp(f32x4.mul(splat(scale), f32x4.add(x, cube)))));
  };
}
