/**
 * Reading rows held in a scheme (RowStore) inside of a kernel: a chunk of positions of one head as f32, in a few kilobytes that
 * stay in the nearest cache. Values are those of `unpack`, from the same decoders (casts/decode-lanes.ts), with the scales and
 * offsets decoded beside them.
 *
 * Rows that lie along positions (by channel) are turned on the way, so that a chunk is [positions, headSize] either way.
 */
import type { NumberFormat } from "../../formats/format.js";
import { groupSize } from "../../formats/planes.js";
import type { OffsetCodec, PlaneName } from "../../formats/scheme.js";
import type { Past, RowStore } from "../backend.js";
import { runUnpacker } from "../casts/array-kernels.js";
import { laneDecoder, needsTable, wideMinifloat } from "../casts/decode-lanes.js";
import type { LaneDecode, MinifloatDecode } from "../casts/decode-plan.js";
import { decodePlan, dequantizePlan } from "../casts/plans.js";
import { type RowPlanes, rowPlanes } from "../row-store.js";
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32x4, i8x16, i32, i32x4, v128 } from "./instructions.js";

/** How one number that several elements share becomes a splat of f32. */
type SharedDecode =
  | { readonly kind: "table"; readonly bits: number }
  | { readonly kind: "half"; readonly bits: 16; readonly plan: MinifloatDecode }
  | { readonly kind: "bfloat"; readonly bits: 16 }
  | { readonly kind: "binary32"; readonly bits: 32 };

interface SharedPlan {
  readonly decode: SharedDecode;
  /** Bytes of a row in its plane. */
  readonly rowBytes: number;
}

/** How a side of attention is read: everything that its code depends on. */
export interface PackedPlan {
  readonly kind: "packed";
  readonly axis: Past["axis"];
  readonly element: LaneDecode;
  readonly rowBytes: number;
  /** Elements of a row that share a scale. */
  readonly size: number;
  readonly scale?: SharedPlan;
  /** Whether scales are multiplied by a number of their row. */
  readonly tensorScale: boolean;
  readonly offset?: SharedPlan & { readonly meaning: OffsetCodec["kind"] };
}

/** Not read inside of the kernel, and why. */
export interface UnpackedPlan {
  readonly kind: "unpacked";
  readonly why: string;
}

/** Elements that a decoder takes at a time. */
const run = 16;

/** The addresses that a kernel needs of a side: planes, and tables of values. */
export const PACKED_FIELDS = [
  "codes",
  "scales",
  "superScales",
  "offsets",
  "table",
  "scaleTable",
  "offsetTable",
] as const;
export type PackedField = (typeof PACKED_FIELDS)[number];

export function planPacked({ store, axis }: Pick<Past, "store" | "axis">, headSize: number): PackedPlan | UnpackedPlan {
  const { scheme, columns } = store;
  const unpacked = (why: string): UnpackedPlan => ({ kind: "unpacked", why });
  const plan = dequantizePlan(scheme);
  if (plan.kind === "reference") return unpacked(plan.why);
  if (plan.kind === "blocks" && plan.tags) return unpacked("what codes mean depends on tags");
  const { element } = plan;
  const { scale, offset } = scheme;
  if (element.bits > 4 && element.bits < 8 && (element.kind === "table" || needsTable(element))) {
    return unpacked("codes of 5 to 7 bits that need a table");
  }
  const span = axis === "token" ? headSize : columns;
  const size = scale ? groupSize(scale.per, columns) : span;
  if (headSize % run !== 0 || span % run !== 0) return unpacked(`${span} elements are no whole runs of ${run}`);
  if (size % 4 !== 0 || (size % span !== 0 && span % size !== 0)) {
    return unpacked(`groups of ${size} do not fit ${span} elements`);
  }
  if (scale?.rows !== undefined) return unpacked("rows share scales");
  if (offset && (offset.per !== scale?.per || offset.super)) return unpacked("offsets have groups of their own");
  if (scale?.super && (scale.super.per !== "tensor" || decodePlan(scale.super.format).kind !== "copy")) {
    return unpacked("super-blocks");
  }
  const bytes = Object.fromEntries(rowPlanes(scheme, columns).sizes) as Partial<Record<PlaneName, number>>;
  const shared = (format: NumberFormat, plane: "scales" | "offsets"): SharedPlan | undefined => {
    const decode = planShared(format);
    return decode && { decode, rowBytes: bytes[plane] ?? 0 };
  };
  const scales = scale && shared(scale.format, "scales");
  const offsets = offset && shared(offset.format, "offsets");
  if ((scale && !scales) || (offset && !offsets)) return unpacked("the format of its scales");
  return {
    ...{ kind: "packed", axis, element, rowBytes: bytes.codes ?? 0, size, tensorScale: scale?.super !== undefined },
    ...(scales && { scale: scales }),
    ...(offset && offsets && { offset: { ...offsets, meaning: offset.kind } }),
  };
}

function planShared(format: NumberFormat): SharedDecode | undefined {
  const { bits } = format;
  if (bits <= 8) return { kind: "table", bits };
  const plan = decodePlan(format);
  if (plan.kind === "copy") return { kind: "binary32", bits: 32 };
  if (plan.kind === "prefix") return { kind: "bfloat", bits: 16 };
  const ieee = format.kind === "minifloat" && format.nonFinite === "ieee" && format.bits === 16;
  return plan.kind === "minifloat" && ieee ? { kind: "half", bits: 16, plan } : undefined;
}

/** The addresses of a store for its kernel. `valuesOf` gives those of tables. */
export function packedAddresses(
  store: RowStore & { readonly layout: RowPlanes; readonly address: number },
  plan: PackedPlan,
  valuesOf: (format: NumberFormat) => number,
): Readonly<Record<PackedField, number>> {
  const { scheme, layout, rows } = store;
  const found = Object.fromEntries(PACKED_FIELDS.map((field) => [field, 0])) as Record<PackedField, number>;
  let at = store.address;
  for (const [name, bytes] of layout.sizes) {
    found[name as PackedField] = at;
    at += rows * bytes;
  }
  if (needsTable(plan.element)) found.table = valuesOf(scheme.element);
  if (scheme.scale && plan.scale?.decode.kind === "table") found.scaleTable = valuesOf(scheme.scale.format);
  if (scheme.offset && plan.offset?.decode.kind === "table") found.offsetTable = valuesOf(scheme.offset.format);
  return found;
}

const integers = <F extends string>(names: readonly F[]) =>
  Object.fromEntries(names.map((name) => [name, "i32"])) as Readonly<Record<F, "i32">>;

/**
 * read(planes and tables, head, position, to, room): positions position .. position + chunk - 1 of key-value head `head` as f32 at
 * `to`, [chunk, headSize]. `room` takes as much again where rows lie along positions.
 */
export function definePackedRead(
  m: ModuleBuilder,
  name: string,
  plan: PackedPlan,
  { headSize, width, chunk }: { readonly headSize: number; readonly width: number; readonly chunk: number },
) {
  const parameters = integers([...PACKED_FIELDS, "head", "position", "to", "room"]);
  return m.func(name, parameters, "void", (f, args) => {
    const { head, position, to, room } = args;
    const byToken = plan.axis === "token";
    const [rows, span] = byToken ? [chunk, headSize] : [headSize, chunk];
    const first = byToken ? position : i32.add(i32.mul(i32.div_u(position, chunk), width), i32.mul(head, headSize));
    const target = f.let(byToken ? to : room);
    const start = byToken ? f.let(i32.mul(head, headSize)) : undefined;
    const read = spanReader(f, plan, span, args, f.let(first), start);
    f.repeat(f.local("i32"), rows, () => read(target));
    if (!byToken) emitTranspose(f, room, to, headSize, chunk);
  });
}

/** Emits the reading of `span` elements of one row after the other to an address that moves on; from element `start` of each. */
function spanReader(
  f: FunctionBuilder,
  plan: PackedPlan,
  span: number,
  { codes, scales, superScales, offsets, table, scaleTable, offsetTable }: Readonly<Record<PackedField, Local<"i32">>>,
  firstRow: Local<"i32">,
  start: Local<"i32"> | undefined,
): (to: Local<"i32">) => void {
  const { element, size, scale, offset } = plan;
  const { bits } = element;
  const packed = bits < 8;
  const decoder = laneDecoder(f, element, table, packed ? runUnpacker(f, bits) : undefined);
  const codesAt = (row: Local<"i32">) => {
    const address = i32.add(codes, i32.mul(row, plan.rowBytes));
    return start ? i32.add(address, i32.shr_u(i32.mul(start, bits), 3)) : address;
  };
  const code = f.let(codesAt(firstRow));
  const at = f.local("i32");
  const group = start ? f.let(i32.div_u(start, size)) : undefined;
  const walked = (base: Local<"i32">, rowBytes: number) => f.let(i32.add(base, i32.mul(firstRow, rowBytes)));
  const shared = (own: SharedPlan | undefined, base: Local<"i32">, values: Local<"i32">) =>
    own && {
      row: walked(base, own.rowBytes),
      rowBytes: own.rowBytes,
      read: sharedReader(f, own.decode, values, group),
    };
  const [s, o] = [shared(scale, scales, scaleTable), shared(offset, offsets, offsetTable)];
  const factor = plan.tensorScale ? walked(superScales, 4) : undefined;
  const groups = Math.max(1, span / size);
  const [scaled, shifted] = [f.locals("v128", s ? groups : 0), f.locals("v128", o ? groups : 0)];
  const value = (v: Expression<"v128">, g: number) => {
    if (!s) return v;
    if (!o) return f32x4.mul(v, scaled[g]);
    if (offset?.meaning === "zeroPoint") return f32x4.mul(scaled[g], f32x4.sub(v, shifted[g]));
    return f32x4.add(f32x4.mul(v, scaled[g]), shifted[g]);
  };
  return (to) => {
    for (let g = 0; g < groups; g++) {
      if (s) {
        const one = s.read(s.row, g);
        f.set(scaled[g], factor ? f32x4.mul(one, v128.load32_splat(factor)) : one);
      }
      if (o) f.set(shifted[g], o.read(o.row, g));
    }
    f.set(at, code);
    for (let done = 0; done < span; done += decoder.run) {
      decoder.decode(at, (index, v) => {
        const element = done + 4 * index;
        f.emit(v128.store(to, value(v, Math.floor(element / size) % groups), 4 * element));
      });
      f.advance(at, (decoder.run * bits) / 8);
    }
    f.advance(to, 4 * span);
    f.advance(code, plan.rowBytes);
    for (const one of [s, o]) if (one) f.advance(one.row, one.rowBytes);
    if (factor) f.advance(factor, 4);
  };
}

/** Reads shared number `g` from a row on, counted from group `first` of it, as a splat. */
function sharedReader(
  f: FunctionBuilder,
  decode: SharedDecode,
  table: Local<"i32">,
  first: Local<"i32"> | undefined,
): (row: Local<"i32">, g: number) => Expression<"v128"> {
  const { bits } = decode;
  const half = decode.kind === "half" ? halfSplat(f, decode.plan) : undefined;
  const bit = f.local("i32");
  return (row, g) => {
    if (bits >= 8) {
      const size = bits / 8;
      const address = first ? i32.add(row, i32.mul(first, size)) : row;
      if (decode.kind === "binary32") return v128.load32_splat(address, size * g);
      if (decode.kind === "bfloat") return i32x4.shl(i32x4.splat(i32.load16_u(address, size * g)), 16);
      if (half) return half(i32x4.splat(i32.load16_u(address, size * g)));
      return v128.load32_splat(i32.add(table, i32.shl(i32.load8_u(address, size * g), 2)));
    }
    // Codes of a few bits, which may cross into the next byte.
    f.set(bit, first ? i32.mul(i32.add(first, g), bits) : g * bits);
    const word = i32.load16_u(i32.add(row, i32.shr_u(bit, 3)));
    const code = i32.and(i32.shr_u(word, i32.and(bit, 7)), 2 ** bits - 1);
    return v128.load32_splat(i32.add(table, i32.shl(code, 2)));
  };
}

/** IEEE binary16 in i32 lanes to f32, infinities and NaN too. */
function halfSplat(f: FunctionBuilder, plan: MinifloatDecode): (codes: Expression<"v128">) => Expression<"v128"> {
  const value = wideMinifloat(f, plan);
  const codes = f.local("v128");
  const top = f.let(i32x4.splat(0x7c00));
  const special = f.let(i32x4.splat(0x7f800000));
  return (read) => {
    f.set(codes, read);
    return v128.or(value(codes), v128.and(i32x4.eq(v128.and(codes, top), top), special));
  };
}

/** to [columns, rows] = from [rows, columns] transposed, in squares of four. */
function emitTranspose(f: FunctionBuilder, from: Local<"i32">, to: Local<"i32">, rows: number, columns: number): void {
  const [row, column] = f.locals("i32", 2);
  const [a, b, c, d, ab, cd] = f.locals("v128", 6);
  const words = (x: Local<"v128">, y: Local<"v128">, ...order: number[]) =>
    i8x16.shuffle(
      x,
      y,
      order.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
    );
  const source = f.let(from);
  f.for(row, 0, 4 * rows, 16, () => {
    const target = f.let(i32.add(to, row));
    f.for(column, 0, columns, 4, () => {
      for (const [i, v] of [a, b, c, d].entries()) f.set(v, v128.load(source, 4 * columns * i));
      for (const [i, lanes] of [[0, 4, 1, 5] as const, [2, 6, 3, 7] as const].entries()) {
        f.set(ab, words(a, b, ...lanes));
        f.set(cd, words(c, d, ...lanes));
        const low = i8x16.shuffle(ab, cd, [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23]);
        const high = i8x16.shuffle(ab, cd, [8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31]);
        f.emit(v128.store(target, low, 8 * rows * i), v128.store(target, high, 8 * rows * i + 4 * rows));
      }
      f.advance(source, 16);
      f.advance(target, 16 * rows);
    });
    f.advance(source, 12 * columns);
  });
}
