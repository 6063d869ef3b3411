/**
 * The instructions, one object for each of WebAssembly's own prefixes, spelled as the text format spells them:
 * `i32x4.dot_i16x8_s` is `i32x4.dot_i16x8_s(a, b)`. Loads and stores take the address first and the constant offset
 * last. Only what the kernels need is listed; a new line is all that another instruction takes.
 * Source: WebAssembly Core 3.0, section 5.4.
 */
import {
  type Code,
  constant,
  type Expression,
  expression,
  type Operand,
  type Statement,
  unsigned,
  type ValueType,
} from "./emitter.js";

/** What an instruction takes and gives, kept on its function so that tests can walk over all of them. */
export interface Signature {
  readonly operands: readonly ValueType[];
  readonly result: ValueType | "void";
  readonly immediate?: "offset" | "lane" | "offset lane" | "lanes";
}

function described<F extends object>(make: F, signature: Signature): F & { readonly signature: Signature } {
  return Object.assign(make, { signature });
}

function unary<A extends ValueType, R extends ValueType>(operand: A, result: R, opcode: Code) {
  const make = (a: Operand<A>): Expression<R> => ({ type: result, code: [expression(operand, a).code, opcode] });
  return described(make, { operands: [operand], result });
}

function binary<A extends ValueType, B extends ValueType, R extends ValueType>(a: A, b: B, result: R, opcode: Code) {
  const make = (x: Operand<A>, y: Operand<B>): Expression<R> => ({
    type: result,
    code: [expression(a, x).code, expression(b, y).code, opcode],
    space: spaceOf(x) ?? spaceOf(y),
  });
  return described(make, { operands: [a, b], result });
}

const spaceOf = (operand: Operand<ValueType>) => (typeof operand === "number" ? undefined : operand.space);

/** The place of an access: alignment, the memory if it is not the first (flag 0x40), and the offset. */
function place(address: Operand<"i32">, align: number, offset: number): Code {
  const space = spaceOf(address) ?? 0;
  return space === 0 ? [align, unsigned(offset)] : [align | 0x40, space, unsigned(offset)];
}

function load<R extends ValueType>(result: R, opcode: Code, align: number) {
  const make = (address: Operand<"i32">, offset = 0): Expression<R> => ({
    type: result,
    code: [expression("i32", address).code, opcode, place(address, align, offset)],
  });
  return described(make, { operands: ["i32"], result, immediate: "offset" });
}

function store<A extends ValueType>(operand: A, opcode: Code, align: number) {
  const make = (address: Operand<"i32">, value: Operand<A>, offset = 0): Statement => ({
    type: "void",
    code: [expression("i32", address).code, expression(operand, value).code, opcode, place(address, align, offset)],
  });
  return described(make, { operands: ["i32", operand], result: "void", immediate: "offset" });
}

/** An atomic read-modify-write: the old value. Atomic accesses state their natural alignment. */
function modify<A extends "i32" | "i64">(operand: A, opcode: number) {
  const align = operand === "i32" ? 2 : 3;
  const make = (address: Operand<"i32">, value: Operand<A>, offset = 0): Expression<A> => ({
    type: operand,
    code: [expression("i32", address).code, expression(operand, value).code, 0xfe, opcode, align, unsigned(offset)],
  });
  return described(make, { operands: ["i32", operand], result: operand, immediate: "offset" });
}

function compareExchange<A extends "i32" | "i64">(operand: A, opcode: number) {
  const align = operand === "i32" ? 2 : 3;
  const make = (address: Operand<"i32">, expected: Operand<A>, value: Operand<A>, offset = 0): Expression<A> => ({
    type: operand,
    code: [
      expression("i32", address).code,
      expression(operand, expected).code,
      expression(operand, value).code,
      ...[0xfe, opcode, align, unsigned(offset)],
    ],
  });
  return described(make, { operands: ["i32", operand, operand], result: operand, immediate: "offset" });
}

/** Opcodes of the vector prefix. */
const simd = (opcode: number): Code => [0xfd, unsigned(opcode)];

function vectorBinary(opcode: number) {
  return binary("v128", "v128", "v128", simd(opcode));
}

function vectorUnary(opcode: number) {
  return unary("v128", "v128", simd(opcode));
}

function vectorShift(opcode: number) {
  return binary("v128", "i32", "v128", simd(opcode));
}

function vectorTernary(opcode: number) {
  const make = (a: Operand<"v128">, b: Operand<"v128">, c: Operand<"v128">): Expression<"v128"> => ({
    type: "v128",
    code: [a.code, b.code, c.code, simd(opcode)],
  });
  return described(make, { operands: ["v128", "v128", "v128"], result: "v128" });
}

function extractLane<R extends ValueType>(result: R, opcode: number) {
  const make = (a: Operand<"v128">, lane: number): Expression<R> => ({
    type: result,
    code: [a.code, simd(opcode), lane],
  });
  return described(make, { operands: ["v128"], result, immediate: "lane" });
}

function replaceLane<A extends ValueType>(operand: A, opcode: number) {
  const make = (a: Operand<"v128">, lane: number, value: Operand<A>): Expression<"v128"> => ({
    type: "v128",
    code: [a.code, expression(operand, value).code, simd(opcode), lane],
  });
  return described(make, { operands: ["v128", operand], result: "v128", immediate: "lane" });
}

function loadLane(opcode: number, align: number) {
  const make = (address: Operand<"i32">, a: Operand<"v128">, lane: number, offset = 0): Expression<"v128"> => ({
    type: "v128",
    code: [expression("i32", address).code, a.code, simd(opcode), place(address, align, offset), lane],
  });
  return described(make, { operands: ["i32", "v128"], result: "v128", immediate: "offset lane" });
}

function storeLane(opcode: number, align: number) {
  const make = (address: Operand<"i32">, a: Operand<"v128">, lane: number, offset = 0): Statement => ({
    type: "void",
    code: [expression("i32", address).code, a.code, simd(opcode), place(address, align, offset), lane],
  });
  return described(make, { operands: ["i32", "v128"], result: "void", immediate: "offset lane" });
}

function vectorLoad(opcode: number) {
  return load("v128", simd(opcode), 0);
}

/** value where condition is not zero, otherwise `otherwise`; both are computed. */
export function select<T extends ValueType>(
  value: Expression<T>,
  otherwise: Expression<T>,
  condition: Expression<"i32">,
): Expression<T> {
  return { type: value.type, code: [value.code, otherwise.code, condition.code, 0x1b] };
}

export const i32 = {
  const: (value: number) => constant("i32", value),
  eqz: unary("i32", "i32", [0x45]),
  eq: binary("i32", "i32", "i32", [0x46]),
  ne: binary("i32", "i32", "i32", [0x47]),
  lt_s: binary("i32", "i32", "i32", [0x48]),
  lt_u: binary("i32", "i32", "i32", [0x49]),
  gt_s: binary("i32", "i32", "i32", [0x4a]),
  gt_u: binary("i32", "i32", "i32", [0x4b]),
  le_s: binary("i32", "i32", "i32", [0x4c]),
  le_u: binary("i32", "i32", "i32", [0x4d]),
  ge_s: binary("i32", "i32", "i32", [0x4e]),
  ge_u: binary("i32", "i32", "i32", [0x4f]),
  add: binary("i32", "i32", "i32", [0x6a]),
  sub: binary("i32", "i32", "i32", [0x6b]),
  mul: binary("i32", "i32", "i32", [0x6c]),
  div_s: binary("i32", "i32", "i32", [0x6d]),
  div_u: binary("i32", "i32", "i32", [0x6e]),
  rem_u: binary("i32", "i32", "i32", [0x70]),
  and: binary("i32", "i32", "i32", [0x71]),
  or: binary("i32", "i32", "i32", [0x72]),
  xor: binary("i32", "i32", "i32", [0x73]),
  shl: binary("i32", "i32", "i32", [0x74]),
  shr_s: binary("i32", "i32", "i32", [0x75]),
  shr_u: binary("i32", "i32", "i32", [0x76]),
  ctz: unary("i32", "i32", [0x68]),
  wrap_i64: unary("i64", "i32", [0xa7]),
  trunc_sat_f32_s: unary("f32", "i32", [0xfc, 0]),
  reinterpret_f32: unary("f32", "i32", [0xbc]),
  load: load("i32", [0x28], 2),
  load8_s: load("i32", [0x2c], 0),
  load8_u: load("i32", [0x2d], 0),
  load16_s: load("i32", [0x2e], 1),
  load16_u: load("i32", [0x2f], 1),
  store: store("i32", [0x36], 2),
  store8: store("i32", [0x3a], 0),
  store16: store("i32", [0x3b], 1),
  atomic_load: load("i32", [0xfe, 0x10], 2),
  atomic_store: store("i32", [0xfe, 0x17], 2),
  atomic_rmw_add: modify("i32", 0x1e),
  atomic_rmw_sub: modify("i32", 0x25),
  atomic_rmw_xchg: modify("i32", 0x41),
  atomic_rmw_cmpxchg: compareExchange("i32", 0x48),
};

export const i64 = {
  const: (value: bigint | number) => constant("i64", value),
  eqz: unary("i64", "i32", [0x50]),
  eq: binary("i64", "i64", "i32", [0x51]),
  ne: binary("i64", "i64", "i32", [0x52]),
  add: binary("i64", "i64", "i64", [0x7c]),
  sub: binary("i64", "i64", "i64", [0x7d]),
  mul: binary("i64", "i64", "i64", [0x7e]),
  and: binary("i64", "i64", "i64", [0x83]),
  or: binary("i64", "i64", "i64", [0x84]),
  shl: binary("i64", "i64", "i64", [0x86]),
  shr_u: binary("i64", "i64", "i64", [0x88]),
  extend_i32_s: unary("i32", "i64", [0xac]),
  extend_i32_u: unary("i32", "i64", [0xad]),
  load: load("i64", [0x29], 3),
  store: store("i64", [0x37], 3),
  store8: store("i64", [0x3c], 0),
  store16: store("i64", [0x3d], 1),
  store32: store("i64", [0x3e], 2),
  atomic_load: load("i64", [0xfe, 0x11], 3),
  atomic_store: store("i64", [0xfe, 0x18], 3),
  atomic_rmw_add: modify("i64", 0x1f),
  atomic_rmw_cmpxchg: compareExchange("i64", 0x49),
};

export const f32 = {
  const: (value: number) => constant("f32", value),
  eq: binary("f32", "f32", "i32", [0x5b]),
  lt: binary("f32", "f32", "i32", [0x5d]),
  gt: binary("f32", "f32", "i32", [0x5e]),
  abs: unary("f32", "f32", [0x8b]),
  neg: unary("f32", "f32", [0x8c]),
  nearest: unary("f32", "f32", [0x90]),
  sqrt: unary("f32", "f32", [0x91]),
  add: binary("f32", "f32", "f32", [0x92]),
  sub: binary("f32", "f32", "f32", [0x93]),
  mul: binary("f32", "f32", "f32", [0x94]),
  div: binary("f32", "f32", "f32", [0x95]),
  min: binary("f32", "f32", "f32", [0x96]),
  max: binary("f32", "f32", "f32", [0x97]),
  convert_i32_s: unary("i32", "f32", [0xb2]),
  convert_i32_u: unary("i32", "f32", [0xb3]),
  demote_f64: unary("f64", "f32", [0xb6]),
  reinterpret_i32: unary("i32", "f32", [0xbe]),
  load: load("f32", [0x2a], 2),
  store: store("f32", [0x38], 2),
};

export const f64 = {
  const: (value: number) => constant("f64", value),
  ne: binary("f64", "f64", "i32", [0x62]),
  lt: binary("f64", "f64", "i32", [0x63]),
  abs: unary("f64", "f64", [0x99]),
  sqrt: unary("f64", "f64", [0x9f]),
  add: binary("f64", "f64", "f64", [0xa0]),
  sub: binary("f64", "f64", "f64", [0xa1]),
  mul: binary("f64", "f64", "f64", [0xa2]),
  div: binary("f64", "f64", "f64", [0xa3]),
  convert_i32_s: unary("i32", "f64", [0xb7]),
  promote_f32: unary("f32", "f64", [0xbb]),
  load: load("f64", [0x2b], 3),
  store: store("f64", [0x39], 3),
};

export const v128 = {
  const: (bytes: ArrayLike<number>): Expression<"v128"> => ({
    type: "v128",
    code: [...simd(12), ...Array.from(bytes)],
  }),
  load: vectorLoad(0),
  load8x8_s: vectorLoad(1),
  load8x8_u: vectorLoad(2),
  load16x4_s: vectorLoad(3),
  load16x4_u: vectorLoad(4),
  load8_splat: vectorLoad(7),
  load16_splat: vectorLoad(8),
  load32_splat: vectorLoad(9),
  load64_splat: vectorLoad(10),
  load32_zero: vectorLoad(92),
  load64_zero: vectorLoad(93),
  load8_lane: loadLane(84, 0),
  load16_lane: loadLane(85, 0),
  load32_lane: loadLane(86, 0),
  load64_lane: loadLane(87, 0),
  store: store("v128", simd(11), 0),
  store8_lane: storeLane(88, 0),
  store16_lane: storeLane(89, 0),
  store32_lane: storeLane(90, 0),
  store64_lane: storeLane(91, 0),
  not: vectorUnary(77),
  and: vectorBinary(78),
  /** a & ~b */
  andnot: vectorBinary(79),
  or: vectorBinary(80),
  xor: vectorBinary(81),
  /** Bits of a where the mask c is 1, of b where it is 0. */
  bitselect: vectorTernary(82),
  any_true: unary("v128", "i32", simd(83)),
};

export const i8x16 = {
  shuffle: described(
    (a: Operand<"v128">, b: Operand<"v128">, lanes: readonly number[]): Expression<"v128"> => ({
      type: "v128",
      code: [a.code, b.code, simd(13), lanes],
    }),
    { operands: ["v128", "v128"], result: "v128", immediate: "lanes" },
  ),
  /** a[b[i]], 0 where b[i] > 15. */
  swizzle: vectorBinary(14),
  min_u: vectorBinary(119),
  splat: unary("i32", "v128", simd(15)),
  extract_lane_s: extractLane("i32", 21),
  extract_lane_u: extractLane("i32", 22),
  replace_lane: replaceLane("i32", 23),
  eq: vectorBinary(35),
  lt_s: vectorBinary(37),
  gt_s: vectorBinary(39),
  gt_u: vectorBinary(40),
  abs: vectorUnary(96),
  neg: vectorUnary(97),
  popcnt: vectorUnary(98),
  bitmask: unary("v128", "i32", simd(100)),
  narrow_i16x8_s: vectorBinary(101),
  narrow_i16x8_u: vectorBinary(102),
  shl: vectorShift(107),
  shr_s: vectorShift(108),
  shr_u: vectorShift(109),
  add: vectorBinary(110),
  sub: vectorBinary(113),
  /** a[b[i]]; for b[i] > 15 as the host likes, so keep b in 0..15. */
  relaxed_swizzle: vectorBinary(0x100),
};

export const i16x8 = {
  splat: unary("i32", "v128", simd(16)),
  extadd_pairwise_i8x16_s: vectorUnary(124),
  extadd_pairwise_i8x16_u: vectorUnary(125),
  narrow_i32x4_s: vectorBinary(133),
  extend_low_i8x16_s: vectorUnary(135),
  extend_high_i8x16_s: vectorUnary(136),
  extend_low_i8x16_u: vectorUnary(137),
  extend_high_i8x16_u: vectorUnary(138),
  shl: vectorShift(139),
  shr_s: vectorShift(140),
  shr_u: vectorShift(141),
  add: vectorBinary(142),
  sub: vectorBinary(145),
  mul: vectorBinary(149),
  relaxed_dot_i8x16_i7x16_s: vectorBinary(0x112),
};

export const i32x4 = {
  splat: unary("i32", "v128", simd(17)),
  extract_lane: extractLane("i32", 27),
  replace_lane: replaceLane("i32", 28),
  eq: vectorBinary(55),
  ne: vectorBinary(56),
  lt_s: vectorBinary(57),
  gt_s: vectorBinary(59),
  bitmask: unary("v128", "i32", simd(164)),
  extadd_pairwise_i16x8_s: vectorUnary(126),
  extadd_pairwise_i16x8_u: vectorUnary(127),
  extend_low_i16x8_s: vectorUnary(167),
  extend_high_i16x8_s: vectorUnary(168),
  extend_low_i16x8_u: vectorUnary(169),
  extend_high_i16x8_u: vectorUnary(170),
  shl: vectorShift(171),
  shr_s: vectorShift(172),
  shr_u: vectorShift(173),
  add: vectorBinary(174),
  sub: vectorBinary(177),
  mul: vectorBinary(181),
  min_s: vectorBinary(182),
  max_s: vectorBinary(184),
  /** Products of i16 pairs, summed in pairs: lane i = a[2i] b[2i] + a[2i+1] b[2i+1]. */
  dot_i16x8_s: vectorBinary(186),
  trunc_sat_f32x4_s: vectorUnary(248),
  /** c + products of bytes summed in fours; a signed, b in 0..127 for the same result on every host. */
  relaxed_dot_i8x16_i7x16_add_s: vectorTernary(0x113),
};

export const i64x2 = {
  splat: unary("i64", "v128", simd(18)),
  replace_lane: replaceLane("i64", 30),
};

export const f32x4 = {
  splat: unary("f32", "v128", simd(19)),
  extract_lane: extractLane("f32", 31),
  replace_lane: replaceLane("f32", 32),
  eq: vectorBinary(65),
  lt: vectorBinary(67),
  gt: vectorBinary(68),
  ge: vectorBinary(70),
  nearest: vectorUnary(106),
  abs: vectorUnary(224),
  neg: vectorUnary(225),
  sqrt: vectorUnary(227),
  add: vectorBinary(228),
  sub: vectorBinary(229),
  mul: vectorBinary(230),
  div: vectorBinary(231),
  min: vectorBinary(232),
  max: vectorBinary(233),
  /** b < a ? b : a: one machine instruction where `min` takes several. */
  pmin: vectorBinary(234),
  /** a < b ? b : a */
  pmax: vectorBinary(235),
  /** Two f64 as f32, and zeros. */
  demote_f64x2_zero: vectorUnary(94),
  convert_i32x4_s: vectorUnary(250),
  convert_i32x4_u: vectorUnary(251),
  /** a b + c, fused or not as the host likes. */
  relaxed_madd: vectorTernary(0x105),
};

export const f64x2 = {
  splat: unary("f64", "v128", simd(20)),
  /** Lanes 0 and 1 of four f32. */
  promote_low_f32x4: vectorUnary(95),
  extract_lane: extractLane("f64", 33),
  /** Lanes of ones where a > b, else of zeros. */
  gt: vectorBinary(74),
  ceil: vectorUnary(116),
  trunc: vectorUnary(122),
  abs: vectorUnary(236),
  add: vectorBinary(240),
  sub: vectorBinary(241),
  mul: vectorBinary(242),
  div: vectorBinary(243),
  /** b < a ? b : a */
  pmin: vectorBinary(246),
  /** a < b ? b : a */
  pmax: vectorBinary(247),
};

/** Instructions on memory as a whole and between threads. */
export const memory = {
  copy: (to: Operand<"i32">, from: Operand<"i32">, bytes: Operand<"i32">): Statement => ({
    type: "void",
    code: [expression("i32", to).code, expression("i32", from).code, expression("i32", bytes).code, 0xfc, 10, 0, 0],
  }),
  fill: (to: Operand<"i32">, value: Operand<"i32">, bytes: Operand<"i32">): Statement => ({
    type: "void",
    code: [expression("i32", to).code, expression("i32", value).code, expression("i32", bytes).code, 0xfc, 11, 0],
  }),
  /** Sleeps while the number at `address` is `expected`: 0 woken, 1 not equal, 2 timed out (nanoseconds, -1: never). */
  atomic_wait32: (address: Operand<"i32">, expected: Operand<"i32">, timeout: Operand<"i64">): Expression<"i32"> => ({
    type: "i32",
    code: [
      expression("i32", address).code,
      expression("i32", expected).code,
      expression("i64", timeout).code,
      ...[0xfe, 0x01, 2, 0],
    ],
  }),
  /** Wakes at most `count` sleepers; how many were woken. */
  atomic_notify: (address: Operand<"i32">, count: Operand<"i32">): Expression<"i32"> => ({
    type: "i32",
    code: [expression("i32", address).code, expression("i32", count).code, 0xfe, 0x00, 2, 0],
  }),
};

/** Throws a value away. */
export function drop(value: Expression<ValueType>): Statement {
  return { type: "void", code: [value.code, 0x1a] };
}

/** A v128 constant of four f32. */
export function f32x4Const(values: readonly [number, number, number, number]): Expression<"v128"> {
  return v128.const(new Uint8Array(new Float32Array(values).buffer));
}

/** A v128 constant of four i32. */
export function i32x4Const(values: readonly [number, number, number, number]): Expression<"v128"> {
  return v128.const(new Uint8Array(new Int32Array(values).buffer));
}
