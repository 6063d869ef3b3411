/**
 * One row of activations times weights of 2 or 4 bits whose bytes hold the codes of several rows for one k: those of quad s in
 * the bits from s b on. As bytes are read as unsigned, the sums of nested parts of a byte
 *
 *     S[0] = sum q (c[0]),  S[1] = sum q (c[0] + 2^b c[1]),  ..  with the whole byte at last
 *
 * take a mask less than there are quads, and no shift. A block's end takes them apart, exactly:
 * sum q c[s] = (S[s] - S[s - 1]) / 2^(b s).
 */
import type { Expression, FunctionBuilder } from "./emitter.js";
import type { gemvInt8 } from "./gemv-int8.js";
import { i8x16, i32, i32x4, v128 } from "./instructions.js";
import { blockArithmetic, type Int8Layout } from "./int8-layout.js";
import type { Fields } from "./kernel.js";
import { zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";
import type { QuadInHand } from "./streams.js";

/** Vectors of four k that are unrolled, mostly a whole block: engines spill some of the sums around an inner loop. */
const unrolled = 32;

/** Some groups of quads that share bytes, at once. */
export function emitSharedBytes(
  f: FunctionBuilder,
  layout: Int8Layout,
  { q, scales, sums, blocks, quads }: Fields<(typeof gemvInt8.fields)[number]>,
  groups: readonly QuadInHand[],
): void {
  const { dot, headerBytes, paddedBlock, offset } = layout;
  const { bits, together, step = 1 } = dot;
  const block = blockArithmetic(f, layout);
  // What all columns begin with can be in the sums from the start; what each begins with is added at the end.
  const early = step === 1 && offset !== "zeroPoint";
  const [sum, d, Xd, x] = f.locals("v128", 4);
  const at = f.let(q);
  const index = f.let(i32.const(0));
  const masks = Array.from({ length: together - 1 }, (_, s) => f.let(i8x16.splat(2 ** (bits * (s + 1)) - 1)));
  const starts = f.locals("v128", together);
  const streams = groups.map(({ address, to, quad }) => ({
    ...{ address, to, quad, header: f.local("i32"), stored: f.local("v128") },
    integers: f.locals("v128", together),
    totals: Array.from({ length: together }, () => f.let(zeroVector)),
  }));
  const four = (k: number) => {
    f.set(x, v128.load32_splat(at, k));
    for (const { address, stored, integers } of streams) {
      f.set(stored, v128.load(address, 4 * k));
      integers.forEach((integer, s) => {
        const codes = s < masks.length ? v128.and(stored, masks[s]) : stored;
        f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, codes, integer));
      });
    }
  };
  const fours = divisor(paddedBlock / 4, unrolled);
  const round = () => {
    for (let i = 0; i < fours; i++) four(4 * i);
    for (const { address } of streams) f.advance(address, 16 * fours);
    f.advance(at, 4 * fours);
  };
  f.repeat(f.local("i32"), blocks, () => {
    f.set(sum, block.prepare(i32.add(sums, index)));
    starts.forEach((start, s) => {
      const before = s === 0 ? sum : i32x4.add(starts[s - 1], i32x4.shl(sum, bits * s));
      f.set(start, early ? before : zeroVector);
    });
    for (const { address, header, integers } of streams) {
      f.set(header, address);
      f.advance(address, together * headerBytes);
      integers.forEach((integer, s) => {
        f.set(integer, starts[s]);
      });
    }
    if (paddedBlock === 4 * fours) round();
    else f.repeat(f.local("i32"), paddedBlock / 4 / fours, round);
    f.set(d, v128.load32_splat(i32.add(scales, index)));
    if (offset === "min") f.set(Xd, block.scaledSum(i32.add(sums, index), 0, d));
    for (const { header, integers, totals } of streams) {
      totals.forEach((total, s) => {
        const place = s * headerBytes;
        const own: Expression<"v128"> =
          s === 0 ? integers[0] : i32x4.shr_s(i32x4.sub(integers[s], integers[s - 1]), bits * s);
        const codes = step === 1 ? own : i32x4.shl(own, Math.log2(step));
        const integer = early ? codes : i32x4.add(codes, block.start(block.zero(header, place), sum));
        f.set(total, block.finish(total, integer, block.scale(header, place), d, block.min(header, place), Xd));
      });
    }
    f.advance(index, 4);
  });
  for (const { to, quad, totals } of streams) {
    totals.forEach((total, s) => {
      const store = () => f.emit(v128.store(to, total, 16 * s));
      if (s === 0) store();
      else f.if(i32.lt_u(i32.add(i32.mul(quad, together), s), quads), store);
    });
  }
}
