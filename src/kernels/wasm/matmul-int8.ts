/**
 * The kernels that multiply activations rounded to int8 with small-integer weights, as int8.ts defines it: `roundRows`
 * rounds activations, `gemvInt8` takes one row of them, `gemmInt8` unpacks a panel of eight columns once for many rows.
 * Sums within a block are exact integers, so the relaxed dot, the i16 dot and the reference agree to the bit.
 *
 * With the relaxed dot activations are bytes, four k in a 32-bit word that is splatted over the four columns. Without
 * it they are i16 in the order k0 k2 k1 k3: the even bytes of a weight vector, as i16, meet (k0, k2), the odd ones
 * (k1, k3), and `i32x4.dot_i16x8_s` leaves one sum for each column in its lane.
 */
import { smallestAmax } from "../int8.js";
import { codeParts } from "./decode.js";
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32, f32x4, i8x16, i16x8, i32, i32x4, memory, select, v128 } from "./instructions.js";
import { defineKernel, type Fields, type KernelSignature, type Range } from "./kernel.js";
import { overLanes, zeroVector } from "./lanes.js";
import type { ByteDot, Layout } from "./layout.js";

/** Items: blocks of rows. q: rounded activations; scales and sums: d and X of each block, in order. */
export const roundRows: KernelSignature<
  "x" | "columns" | "blocks" | "blockColumns" | "paddedBlock" | "q" | "scales" | "sums"
> = {
  name: "roundRows",
  fields: ["x", "columns", "blocks", "blockColumns", "paddedBlock", "q", "scales", "sums"],
};

export const gemvInt8: KernelSignature<
  "out" | "q" | "scales" | "sums" | "weights" | "quadBytes" | "quads" | "quadsPerItem" | "blocks"
> = {
  name: "gemvInt8",
  fields: ["out", "q", "scales", "sums", "weights", "quadBytes", "quads", "quadsPerItem", "blocks"],
};

/** Items: runs of panels. Activations are [batch][blocks][block], scales and sums [batch][blocks]. */
export const gemmInt8: KernelSignature<
  | ("out" | "outBytes" | "q" | "qBytes" | "scales" | "sums" | "batch" | "weights" | "quadBytes" | "panels")
  | ("panelsPerItem" | "blocks" | "scratch" | "scratchBytes")
> = {
  name: "gemmInt8",
  fields: [
    ...(["out", "outBytes", "q", "qBytes", "scales", "sums", "batch", "weights", "quadBytes", "panels"] as const),
    ...(["panelsPerItem", "blocks", "scratch", "scratchBytes"] as const),
  ],
};

type Int8Layout = Layout & { readonly dot: ByteDot };

/** Bytes of one rounded activation. */
export function activationBytes({ arithmetic }: ByteDot): number {
  return arithmetic === "relaxed" ? 1 : 2;
}

/** Bytes of an unpacked panel: eight columns of all k. */
export function panelBytes(layout: Int8Layout): number {
  return layout.paddedColumns * 8 * activationBytes(layout.dot);
}

export function defineInt8(m: ModuleBuilder, layout: Int8Layout): void {
  defineKernel(m, roundRows, (f, args, range) => emitRoundRows(f, layout.dot, args, range));
  defineKernel(m, gemvInt8, (f, args, range) => emitGemv(f, layout, args, range));
  defineKernel(m, gemmInt8, (f, args, range) => emitGemm(f, layout, args, range));
}

function emitRoundRows(
  f: FunctionBuilder,
  { arithmetic }: ByteDot,
  args: Fields<(typeof roundRows.fields)[number]>,
  { from, to }: Range,
): void {
  const { x, columns, blocks, blockColumns, paddedBlock, q, scales, sums } = args;
  const bytes = arithmetic === "relaxed" ? 1 : 2;
  const [item, row, count] = f.locals("i32", 3);
  const [v, largest, total] = f.locals("v128", 3);
  const [amax, inverse] = f.locals("f32", 2);
  f.for(item, from, to, 1, () => {
    f.set(row, i32.div_u(item, blocks));
    const start = f.let(i32.mul(i32.sub(item, i32.mul(row, blocks)), blockColumns));
    f.set(count, i32.sub(columns, start));
    f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
    const source = f.let(i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)));
    const target = f.let(i32.add(q, i32.mul(item, i32.mul(paddedBlock, bytes))));
    const values = (offset: Local<"i32">, mask?: Local<"v128">) => {
      const loaded = v128.load(i32.add(source, offset));
      return mask ? v128.and(loaded, mask) : loaded;
    };

    f.set(largest, zeroVector);
    overLanes(f, count, (offset, mask) => f.set(largest, f32x4.max(largest, f32x4.abs(values(offset, mask)))));
    const lane = (i: number) => f32x4.extract_lane(largest, i);
    f.set(amax, f32.max(f32.max(lane(0), lane(1)), f32.max(lane(2), lane(3))));
    f.set(inverse, select(f32.div(127, amax), f32.const(0), f32.gt(amax, smallestAmax)));

    f.set(total, zeroVector);
    const clear = i32.mul(i32.sub(paddedBlock, i32.and(count, -4)), bytes);
    f.if(i32.ne(count, paddedBlock), () =>
      f.emit(memory.fill(i32.add(target, i32.mul(i32.and(count, -4), bytes)), 0, clear)),
    );
    overLanes(f, count, (offset, mask) => {
      const scaled = f32x4.mul(values(offset, mask), f32x4.splat(inverse));
      f.set(v, i32x4.trunc_sat_f32x4_s(f32x4.nearest(scaled)));
      f.set(total, i32x4.add(total, v));
      f.set(v, i16x8.narrow_i32x4_s(v, v));
      if (arithmetic === "relaxed") {
        const at = i32.add(target, i32.shr_u(offset, 2));
        f.emit(v128.store32_lane(at, i8x16.narrow_i16x8_s(v, v), 0));
      } else {
        const order = [0, 1, 4, 5, 2, 3, 6, 7];
        const at = i32.add(target, i32.shr_u(offset, 1));
        f.emit(v128.store64_lane(at, i8x16.shuffle(v, v, [...order, ...order]), 0));
      }
    });
    const part = (i: number) => i32x4.extract_lane(total, i);
    const place = f.let(i32.shl(item, 2));
    f.emit(f32.store(i32.add(scales, place), f32.div(amax, 127)));
    f.emit(i32.store(i32.add(sums, place), i32.add(i32.add(part(0), part(1)), i32.add(part(2), part(3)))));
  });
}

/** The header of a block as int8 kernels use it, and how a block's integer sum becomes part of the result. */
interface BlockTail {
  /** Loads scales and offsets at `address`. */
  enter(address: Expression<"i32">): void;
  /** -(bias + Z) X: where the integer sum begins, so that it ends as the sum of q (i - Z). */
  start(sum: Expression<"v128">): Expression<"v128">;
  /** The f32 sum with the block's contribution. `scale` is d, `scaledSum` X d, as splats. */
  finish(
    total: Expression<"v128">,
    dot: Expression<"v128">,
    scale: Expression<"v128">,
    scaledSum: () => Expression<"v128">,
  ): Expression<"v128">;
}

function blockTail(f: FunctionBuilder, { offset, dot }: Int8Layout): BlockTail {
  const S = f.local("v128");
  const M = offset === "none" ? undefined : f.local("v128");
  return {
    enter(address) {
      f.set(S, v128.load(address));
      if (M && offset === "min") f.set(M, v128.load(address, 16));
      if (M && offset === "zeroPoint") f.set(M, i32x4.trunc_sat_f32x4_s(v128.load(address, 16)));
    },
    start(sum) {
      if (M && offset === "zeroPoint") return i32x4.mul(sum, i32x4.sub(i32x4.splat(-dot.bias), M));
      return i32x4.mul(sum, i32x4.splat(-dot.bias));
    },
    finish(total, integer, scale, scaledSum) {
      const main = f32x4.add(total, f32x4.mul(f32x4.convert_i32x4_s(integer), f32x4.mul(S, scale)));
      return M && offset === "min" ? f32x4.add(main, f32x4.mul(scaledSum(), M)) : main;
    },
  };
}

/** Weights out of stored vectors: as bytes, or as i16 split into even and odd bytes. */
function weightReader(f: FunctionBuilder, { bits, lookup, arithmetic }: ByteDot) {
  const parts = 8 / bits;
  const take = codeParts(f, bits);
  const table = lookup && f.let(v128.const(Uint8Array.from({ length: 16 }, (_, i) => lookup[i] ?? 0)));
  const bytes = (stored: Expression<"v128">, part: number) => {
    const codes = take(stored, part);
    return table ? i8x16.swizzle(table, codes) : codes;
  };
  if (arithmetic === "relaxed") return { parts, bytes, halves: () => [] };
  const split = f.local("v128");
  const mask = f.let(i16x8.splat(table ? 0xff : 2 ** bits - 1));
  const halves = (stored: Expression<"v128">, part: number) => {
    if (table) {
      f.set(split, bytes(stored, part));
      return [v128.and(split, mask), i16x8.shr_u(split, 8)];
    }
    // Codes go from the stored vector to their i16 in one step; the topmost need no mask.
    const at = (shift: number) => {
      const moved = shift === 0 ? stored : i16x8.shr_u(stored, shift);
      return shift + bits === 16 ? moved : v128.and(moved, mask);
    };
    return [at(part * bits), at(8 + part * bits)];
  };
  return { parts, bytes, halves };
}

/** The largest divisor of `count` that is at most `limit`. */
function divisor(count: number, limit: number): number {
  let best = 1;
  for (let d = 1; d <= limit; d++) if (count % d === 0) best = d;
  return best;
}

function emitGemv(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemvInt8.fields)[number]>,
  range: Range,
) {
  // The plain arithmetic needs registers for more than sums; spilling them costs more than streams gain.
  const streams = layout.dot.arithmetic === "relaxed" ? 6 : 2;
  const { quads, quadsPerItem } = args;
  const [quad, end, run, i] = f.locals("i32", 4);
  f.set(quad, i32.mul(range.from, quadsPerItem));
  f.set(end, i32.mul(range.to, quadsPerItem));
  f.if(i32.gt_u(end, quads), () => f.set(end, quads));
  f.if(i32.ge_u(quad, end), () => f.return());
  f.set(run, i32.div_u(i32.sub(end, quad), streams));
  // Each stream walks its own run of quads, so that memory is read in several places at once.
  f.for(i, 0, run, 1, () => {
    const starts = Array.from({ length: streams }, (_, s) => f.let(i32.add(quad, i32.add(i, i32.mul(run, s)))));
    emitQuads(f, layout, args, starts);
  });
  f.set(quad, i32.add(quad, i32.mul(run, streams)));
  f.for(i, quad, end, 1, () => emitQuads(f, layout, args, [i]));
}

function emitQuads(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, q, scales, sums, weights, quadBytes, blocks }: Fields<(typeof gemvInt8.fields)[number]>,
  quads: readonly Local<"i32">[],
): void {
  const { dot, headerBytes, blockVectors } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const { parts, bytes, halves } = weightReader(f, dot);
  const tail = blockTail(f, layout);
  const [x, y, sum, scale, stored] = f.locals("v128", 5);
  const at = f.let(q);
  const index = f.let(i32.const(0));
  const streams = quads.map((quad) => ({
    quad,
    address: f.let(i32.add(weights, i32.mul(quad, quadBytes))),
    integer: f.local("v128"),
    total: f.let(zeroVector),
  }));
  const group = divisor(blockVectors, 4);
  const vector = (g: number) => {
    for (let part = 0; part < parts; part++) {
      const k = (g * parts + part) * 4;
      f.set(x, v128.load32_splat(at, relaxed ? k : 2 * k));
      if (!relaxed) f.set(y, v128.load32_splat(at, 2 * k + 4));
      for (const { address, integer } of streams) {
        f.set(stored, v128.load(address, headerBytes + 16 * g));
        if (relaxed) {
          f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, bytes(stored, part), integer));
        } else {
          halves(stored, part).forEach((half, odd) => {
            f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(half, odd ? y : x)));
          });
        }
      }
    }
  };
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, v128.load32_splat(i32.add(sums, index)));
    const headers = streams.map(({ address }) => f.let(address));
    streams.forEach(({ integer, address }) => {
      if (layout.offset === "zeroPoint") tail.enter(address);
      f.set(integer, tail.start(sum));
    });
    const rounds = blockVectors / group;
    const round = () => {
      for (let g = 0; g < group; g++) vector(g);
      for (const { address } of streams) f.advance(address, 16 * group);
      f.advance(at, group * parts * (relaxed ? 4 : 8));
    };
    if (rounds === 1) round();
    else f.repeat(f.local("i32"), rounds, round);
    f.set(scale, v128.load32_splat(i32.add(scales, index)));
    const scaledSum = layout.offset === "min" ? f.let(f32x4.mul(f32x4.convert_i32x4_s(sum), scale)) : scale;
    streams.forEach(({ address, integer, total }, s) => {
      tail.enter(headers[s]);
      f.set(
        total,
        tail.finish(total, integer, scale, () => scaledSum),
      );
      f.advance(address, headerBytes);
    });
    f.advance(index, 4);
  });
  for (const { total, quad } of streams) f.emit(v128.store(i32.add(out, i32.shl(quad, 4)), total));
}

function emitGemm(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemmInt8.fields)[number]>,
  range: Range,
) {
  const { weights, quadBytes, panels, panelsPerItem, scratch, scratchBytes, batch } = args;
  const tallest = layout.dot.arithmetic === "relaxed" ? 6 : +(globalThis.process?.env.H ?? 4);
  const [panel, end, row, left, quad] = f.locals("i32", 5);
  f.set(end, i32.mul(range.to, panelsPerItem));
  f.if(i32.gt_u(end, panels), () => f.set(end, panels));
  const mine = f.let(i32.add(scratch, i32.mul(range.thread, scratchBytes)));
  f.for(panel, i32.mul(range.from, panelsPerItem), end, 1, () => {
    f.set(quad, i32.add(weights, i32.mul(i32.shl(panel, 1), quadBytes)));
    emitUnpack(f, layout, args, quad, mine);
    f.set(row, 0);
    f.block((done) =>
      f.loop((next) => {
        f.set(left, i32.sub(batch, row));
        f.branchIf(done, i32.lt_s(left, tallest));
        emitTile(f, layout, args, { panel, quad, mine, row }, tallest);
        f.advance(row, tallest);
        f.branch(next);
      }),
    );
    for (let height = 1; height < tallest; height++) {
      f.if(i32.eq(left, height), () => emitTile(f, layout, args, { panel, quad, mine, row }, height));
    }
  });
}

/** Unpacks two quads: for each four k the vectors of both (with i16 arithmetic: even, even, odd, odd). */
function emitUnpack(
  f: FunctionBuilder,
  layout: Int8Layout,
  { quadBytes, blocks }: Fields<(typeof gemmInt8.fields)[number]>,
  quad: Local<"i32">,
  panel: Local<"i32">,
): void {
  const { dot, blockVectors, headerBytes } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const { parts, bytes, halves } = weightReader(f, dot);
  const stored = f.local("v128");
  const to = f.let(panel);
  const sources = [f.let(quad), f.let(i32.add(quad, quadBytes))];
  const stride = relaxed ? 32 : 64;
  f.repeat(f.local("i32"), blocks, () => {
    for (const source of sources) f.advance(source, headerBytes);
    f.repeat(f.local("i32"), blockVectors, () => {
      for (let part = 0; part < parts; part++) {
        sources.forEach((source, half) => {
          f.set(stored, v128.load(source));
          const at = part * stride + half * 16;
          if (relaxed) f.emit(v128.store(to, bytes(stored, part), at));
          halves(stored, part).forEach((weights, odd) => {
            f.emit(v128.store(to, weights, at + 32 * odd));
          });
        });
      }
      for (const source of sources) f.advance(source, 16);
      f.advance(to, parts * stride);
    });
  });
}

interface TilePlace {
  readonly panel: Local<"i32">;
  readonly quad: Local<"i32">;
  readonly mine: Local<"i32">;
  readonly row: Local<"i32">;
}

/** `height` rows times eight columns. Sums of finished blocks wait in `out`: registers are needed for integers. */
function emitTile(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, outBytes, q, qBytes, scales, sums, quadBytes, blocks }: Fields<(typeof gemmInt8.fields)[number]>,
  { panel, quad, mine, row }: TilePlace,
  height: number,
): void {
  const { dot, blockVectors, headerBytes } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const steps = blockVectors * (8 / dot.bits);
  const group = divisor(steps, relaxed ? 4 : 2);
  const tails = [blockTail(f, layout), blockTail(f, layout)];
  const [w0, w1, x, sum] = f.locals("v128", 4);
  const b = f.let(mine);
  const headers = [f.let(quad), f.let(i32.add(quad, quadBytes))];
  const index = f.let(i32.const(0));
  const rows = Array.from({ length: height }, (_, i) => {
    const m = i32.add(row, i);
    return {
      from: f.let(i32.add(q, i32.mul(m, qBytes))),
      to: f.let(i32.add(i32.add(out, i32.mul(m, outBytes)), i32.shl(panel, 5))),
      index: f.let(i32.shl(i32.mul(m, blocks), 2)),
      integers: f.locals("v128", 2),
    };
  });
  for (const { to } of rows) f.emit(v128.store(to, zeroVector), v128.store(to, zeroVector, 16));
  f.repeat(f.local("i32"), blocks, () => {
    tails.forEach((tail, half) => {
      tail.enter(headers[half]);
    });
    for (const { integers, index: first } of rows) {
      f.set(sum, v128.load32_splat(i32.add(sums, i32.add(first, index))));
      integers.forEach((integer, half) => {
        f.set(integer, tails[half].start(sum));
      });
    }
    const step = (g: number) => {
      const pairs = relaxed ? [0] : [0, 32];
      for (const pair of pairs) {
        f.set(w0, v128.load(b, g * (relaxed ? 32 : 64) + pair));
        f.set(w1, v128.load(b, g * (relaxed ? 32 : 64) + pair + 16));
        for (const { from, integers } of rows) {
          f.set(x, v128.load32_splat(from, relaxed ? 4 * g : 8 * g + pair / 8));
          [w0, w1].forEach((w, half) => {
            const integer = integers[half];
            if (relaxed) f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, w, integer));
            else f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(w, x)));
          });
        }
      }
    };
    f.repeat(f.local("i32"), steps / group, () => {
      for (let g = 0; g < group; g++) step(g);
      for (const { from } of rows) f.advance(from, group * (relaxed ? 4 : 8));
      f.advance(b, group * (relaxed ? 32 : 64));
    });
    for (const { to, integers, index: first } of rows) {
      f.set(x, v128.load32_splat(i32.add(scales, i32.add(first, index))));
      const scaledSum = () =>
        f32x4.mul(f32x4.convert_i32x4_s(v128.load32_splat(i32.add(sums, i32.add(first, index)))), x);
      integers.forEach((integer, half) => {
        f.emit(v128.store(to, tails[half].finish(v128.load(to, 16 * half), integer, x, scaledSum), 16 * half));
      });
    }
    for (const header of headers) f.advance(header, headerBytes + 16 * blockVectors);
    f.advance(index, 4);
  });
}
