/**
 * Products of integers by counting bits. With u of W planes w and q of A planes b in two's complement, for a block
 *
 *     sum q u = sum over j, p of 2^j s_p popcount(w_j and b_p),  s_p = 2^p, but -2^p for the last plane
 *
 * and with one bit, q = 2 b - 1, sum q w_j = sum b - popcount(w_j xor b). Weights i = step u + low then make the I of int8.ts:
 *
 *     I = step (sum q u) + low X
 *
 * Umuroglu et al. 2018 (BISMO), arXiv:1806.08862, section II; Rastegari et al. 2016 (XNOR-Net), arXiv:1603.05279.
 *
 * A count of one vector is at most 8 in each byte, eight vectors are added up before counts are widened. A few quads are walked
 * at once, so that a word of activations is read once for all of them.
 */
import { type BitLayout, mostTogether } from "./bit-planes.js";
import { createModule, type Expression, type FunctionBuilder, type Local, type MemoryLimits } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { storeLanes, zeroVector } from "./lanes.js";
import { emitRoundToPlanes, roundToPlanes } from "./round-to-planes.js";
import { sharedReader } from "./shared.js";

type CountField = "out" | "weights" | "planes" | "scales" | "sums" | "ones" | "quadsPerItem";

/** Items: runs of quads, for one row of activations. */
export const countBits: KernelSignature<CountField> = {
  name: "countBits",
  fields: ["out", "weights", "planes", "scales", "sums", "ones", "quadsPerItem"],
  writes: ["out"],
  reads: ["planes", "scales", "sums", "ones"],
};

/** Items: ids of rows. scratch: 32 bytes for each thread. */
export const embedBits: KernelSignature<"out" | "ids" | "weights" | "scratch"> = {
  name: "embedBits",
  fields: ["out", "ids", "weights", "scratch"],
  writes: ["out", "scratch"],
  reads: ["ids"],
};

/** What the code depends on. */
export function bitsKey(layout: BitLayout): string {
  const { integers: _integers, why: _why, bytes: _bytes, ...rest } = layout;
  return `bits ${JSON.stringify(rest)}`;
}

export function bitsModule(layout: BitLayout, limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const m = createModule(limits);
  defineKernel(m, roundToPlanes, (f, args, range) => emitRoundToPlanes(f, layout, args, range));
  defineKernel(m, countBits, (f, args, range) => emitProducts(f, layout, args, range));
  defineKernel(m, embedBits, (f, args, range) => emitRows(f, layout, args, range));
  return m.bytes();
}

/** Vectors whose counts are added up in bytes: 8 * 8 of them fit, and i16 then hold all planes. */
const chunk = 8;

function emitProducts(f: FunctionBuilder, layout: BitLayout, args: Fields<CountField>, { from, to }: Range): void {
  const { rows, weightBits, bits, step, low, blocks, words, scale, offset, offsets, quads, quadBytes } = layout;
  const together = Math.max(1, Math.floor(mostTogether / bits));
  const [quad, end, plane, left] = f.locals("i32", 4);
  const readScale = sharedReader(f, scale);
  const readOffset = offsets && sharedReader(f, offsets);
  const members = Array.from({ length: together }, () => ({
    address: f.local("i32"),
    total: f.local("v128"),
    integer: f.local("v128"),
    stored: f.local("v128"),
    factor: f.local("v128"),
    shift: f.local("v128"),
    counts: f.locals("v128", bits),
  }));
  const [d, X] = f.locals("v128", 2);
  const activation = f.local("v128");
  const [block, sums, scales, ones] = f.locals("i32", 4);

  const countChunk = (vectors: number, j: number) => {
    for (const { counts } of members) for (const count of counts) f.set(count, zeroVector);
    for (let w = 0; w < vectors; w++) {
      for (const { stored, address } of members) f.set(stored, v128.load(address, 16 * w));
      for (let p = 0; p < bits; p++) {
        f.set(activation, v128.load32_splat(plane, 4 * (w * bits + p)));
        for (const { stored, counts } of members) {
          const met = bits === 1 ? v128.xor(stored, activation) : v128.and(stored, activation);
          f.set(counts[p], i8x16.add(counts[p], i8x16.popcnt(met)));
        }
      }
    }
    for (const { counts, integer, address } of members) {
      const wide = i32x4.extadd_pairwise_i16x8_s(weighted(counts));
      const moved = j === 0 ? wide : i32x4.shl(wide, j);
      f.set(integer, bits === 1 ? i32x4.sub(integer, moved) : i32x4.add(integer, moved));
      f.advance(address, 16 * vectors);
    }
    f.advance(plane, 4 * bits * vectors);
  };

  f.set(quad, i32.mul(from, args.quadsPerItem));
  f.set(end, i32.mul(to, args.quadsPerItem));
  f.if(i32.gt_u(end, quads), () => f.set(end, quads));
  f.for(quad, quad, end, together, () => {
    members.forEach(({ address, total }, i) => {
      f.set(address, i32.add(args.weights, i32.mul(i32.add(quad, i), quadBytes)));
      f.set(total, zeroVector);
    });
    f.set(block, args.planes);
    f.set(sums, args.sums);
    f.set(scales, args.scales);
    f.set(ones, args.ones);
    f.repeat(left, blocks, () => {
      f.set(d, v128.load32_splat(scales));
      f.set(X, v128.load32_splat(sums));
      for (const { address, factor, shift, integer } of members) {
        f.set(factor, f32x4.mul(readScale(address, 0), d));
        if (readOffset) f.set(shift, readOffset(address, scale.bytes));
        f.set(integer, bits === 1 ? i32x4.splat(i32.mul(i32.load(ones), 2 ** weightBits - 1)) : zeroVector);
        f.advance(address, layout.headerBytes);
      }
      for (let j = 0; j < weightBits; j++) {
        f.set(plane, block);
        const whole = Math.floor(words / chunk);
        if (whole > 1) f.repeat(f.local("i32"), whole, () => countChunk(chunk, j));
        else if (whole === 1) countChunk(chunk, j);
        if (words % chunk > 0) countChunk(words % chunk, j);
      }
      for (const { total, integer, factor, shift } of members) {
        const least = i32x4.splat(low);
        const base = offset === "zeroPoint" ? i32x4.sub(least, i32x4.trunc_sat_f32x4_s(shift)) : least;
        const sum = i32x4.add(step === 1 ? integer : i32x4.mul(integer, i32x4.splat(step)), i32x4.mul(X, base));
        f.set(total, f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(sum), factor)));
        if (offset === "min") {
          f.set(total, f32x4.add(total, f32x4.mul(f32x4.mul(f32x4.convert_i32x4_s(X), d), shift)));
        }
      }
      f.advance(block, 4 * bits * words);
      for (const address of [sums, scales, ones]) f.advance(address, 4);
    });
    members.forEach(({ total }, i) => {
      const own = f.let(i32.add(quad, i));
      const target = f.let(i32.add(args.out, i32.shl(own, 4)));
      f.if(
        i32.lt_u(i32.shl(own, 2), rows - (rows % 4)),
        () => storeLanes(f, target, total),
        () => f.if(i32.lt_u(own, quads), () => storeLanes(f, target, total, f.let(i32.const(rows % 4)))),
      );
    });
  });
}

/** Sum of counts, each as its plane of two's complement weighs, in i16: at most 16 * 8 * 128. */
function weighted(counts: readonly Local<"v128">[]): Expression<"v128"> {
  return counts
    .map((count, p) => {
      const wide = i16x8.extadd_pairwise_i8x16_u(count);
      return p === 0 ? wide : i16x8.shl(wide, p);
    })
    .reduce((sum, term, p) => (p === counts.length - 1 ? i16x8.sub(sum, term) : i16x8.add(sum, term)));
}

/** out[i] = row ids[i], as weight-rows.ts defines it. */
function emitRows(
  f: FunctionBuilder,
  layout: BitLayout,
  { out, ids, weights, scratch }: Fields<"out" | "ids" | "weights" | "scratch">,
  { from, to, thread }: Range,
): void {
  const { columns, weightBits, step, low, blocks, blockColumns, blockBytes, quadBytes, headerBytes, words } = layout;
  const { scale, offset, offsets } = layout;
  const [readScale, readOffset] = [sharedReader(f, scale), offsets && sharedReader(f, offsets)];
  const [item, block, k, level, word] = f.locals("i32", 5);
  const [s, o] = f.locals("f32", 2);
  const own = f.let(i32.add(scratch, i32.shl(thread, 5)));
  f.for(item, from, to, 1, () => {
    const row = f.let(i32.load(i32.add(ids, i32.shl(item, 2))));
    const lane = f.let(i32.shl(i32.and(row, 3), 2));
    const header = f.let(i32.add(weights, i32.mul(i32.shr_u(row, 2), quadBytes)));
    const target = f.let(i32.add(out, i32.mul(item, 4 * columns)));
    f.for(block, 0, blocks, 1, () => {
      f.emit(v128.store(own, readScale(header, 0)));
      if (readOffset) f.emit(v128.store(own, readOffset(header, scale.bytes), 16));
      f.set(s, f32.load(i32.add(own, lane)));
      f.set(o, f32.load(i32.add(own, lane), 16));
      const count = f.let(i32.sub(columns, i32.mul(block, blockColumns)));
      f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
      f.for(k, 0, count, 1, () => {
        f.set(word, i32.add(i32.add(header, lane), i32.shl(i32.shr_u(k, 5), 4)));
        f.set(level, 0);
        for (let j = 0; j < weightBits; j++) {
          const bit = i32.and(i32.shr_u(i32.load(word, headerBytes + 16 * words * j), i32.and(k, 31)), 1);
          f.set(level, i32.or(level, i32.shl(bit, j)));
        }
        const integer = f32.convert_i32_s(i32.add(i32.mul(level, step), low));
        const value =
          offset === "zeroPoint"
            ? f32.mul(s, f32.sub(integer, o))
            : offset === "min"
              ? f32.add(f32.mul(s, integer), o)
              : f32.mul(s, integer);
        f.emit(f32.store(target, value));
        f.advance(target, 4);
      });
      f.advance(header, blockBytes);
    });
  });
}
