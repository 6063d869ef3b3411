/** The kernel for many rows of activations rounded to int8: panels of weights are unpacked once and multiplied in tiles. */
import { cellBytes } from "./cells.js";
import type { FunctionBuilder, Local } from "./emitter.js";
import { i32, i32x4, v128 } from "./instructions.js";
import { blockArithmetic, type Int8Layout } from "./int8-layout.js";
import type { Fields, KernelSignature, Range } from "./kernel.js";
import { zeroVector } from "./lanes.js";
import { divisor } from "./layout.js";
import { quadPlace } from "./places.js";
import { activationBytes } from "./round-activations.js";
import { overTiles, type Tiling } from "./tile.js";
import { weightReader } from "./weight-bytes.js";

/** Items: runs of panels. Activations, scales and sums lie by tiles, as `roundRows` leaves them. */
export const gemmInt8: KernelSignature<
  | ("out" | "outBytes" | "q" | "qBytes" | "scales" | "sums" | "batch" | "weights" | "quadBytes" | "panels")
  | ("panelsPerItem" | "blocks" | "scratch" | "scratchBytes" | keyof Tiling)
> = {
  name: "gemmInt8",
  fields: [
    ...(["out", "outBytes", "q", "qBytes", "scales", "sums", "batch", "weights", "quadBytes", "panels"] as const),
    ...(["panelsPerItem", "blocks", "scratch", "scratchBytes", "height", "tallRows"] as const),
  ],
  writes: ["out", "scratch"],
  reads: ["q", "scales", "sums"],
};

/** Vectors of a block of a panel before its codes: S of each quad, and M or what begins the integer sums. */
const headVectors = ({ offset, tile }: Int8Layout) => (offset === "none" ? 1 : 2) * tile.quads;

function panelBlockBytes(layout: Int8Layout): number {
  const { paddedBlock, dot, tile } = layout;
  return 16 * headVectors(layout) + paddedBlock * 4 * tile.quads * activationBytes(dot);
}

/** Blocks of a panel that are unpacked at a time: about 32 KiB, which stay in the L1 cache. */
function chunkBlocks(layout: Int8Layout): number {
  return Math.max(1, Math.floor(32768 / panelBlockBytes(layout)));
}

/** Bytes of scratch memory that one thread needs: a chunk of a panel. */
export function panelBytes(layout: Int8Layout): number {
  return chunkBlocks(layout) * panelBlockBytes(layout);
}

export function emitGemm(
  f: FunctionBuilder,
  layout: Int8Layout,
  args: Fields<(typeof gemmInt8.fields)[number]>,
  range: Range,
) {
  const { weights, quadBytes, panels, panelsPerItem, scratch, scratchBytes, blocks } = args;
  const [panel, end, block, count, header, codes] = f.locals("i32", 6);
  f.set(end, i32.mul(range.to, panelsPerItem));
  f.if(i32.gt_u(end, panels), () => f.set(end, panels));
  const mine = f.let(i32.add(scratch, i32.mul(range.thread, scratchBytes)));
  const chunk = chunkBlocks(layout);
  f.for(block, 0, blocks, chunk, () => {
    f.set(count, i32.sub(blocks, block));
    f.if(i32.gt_u(count, chunk), () => f.set(count, chunk));
    f.for(panel, i32.mul(range.from, panelsPerItem), end, 1, () => {
      const first = quadPlace(f, layout, { weights, quadBytes }, i32.mul(panel, layout.tile.quads));
      const chunkAt = f.let(i32.mul(block, layout.beside * layout.blockBytes));
      f.set(header, i32.add(first.header, chunkAt));
      f.set(codes, i32.add(first.codes, chunkAt));
      const shift = first.shift && !fillsBytes(layout) ? f.let(first.shift) : undefined;
      emitUnpack(f, layout, quadBytes, { header, codes, count, panel: mine, shift });
      const place = { panel, block, count, mine };
      overTiles(f, layout.tile, args, (row, height) => emitTile(f, layout, args, place, row, height));
    });
  });
}

/** Whether the quads of a panel are those that share bytes. */
const fillsBytes = ({ dot, tile }: Int8Layout) => dot.together === tile.quads;

interface PanelSource {
  readonly header: Local<"i32">;
  readonly codes: Local<"i32">;
  readonly count: Local<"i32">;
  readonly panel: Local<"i32">;
  /** The lowest bit of the first quad's codes in bytes that more quads share than a panel has. */
  readonly shift?: Local<"i32">;
}

/**
 * Unpacks `count` blocks of a panel: for each its head, then for each four k the vectors of its quads (as i16: all even, then
 * all odd bytes).
 */
function emitUnpack(
  f: FunctionBuilder,
  layout: Int8Layout,
  quadBytes: Local<"i32">,
  { header, codes, count, panel, shift }: PanelSource,
): void {
  const { dot, blockCells, blockBytes, headerBytes, beside, offset, tile } = layout;
  const arithmetic = blockArithmetic(f, layout);
  const head = f.local("i32");
  const relaxed = dot.arithmetic === "relaxed";
  const fills = fillsBytes(layout);
  const reader = weightReader(f, dot, fills ? 0 : shift);
  // From quad to quad: another run, the next byte, or the next bits of the same bytes.
  const apart = beside === 1 ? quadBytes : dot.together > 1 ? 0 : 1;
  const to = f.local("i32");
  const source = f.local("i32");
  const stride = tile.quads * 16 * activationBytes(dot);
  for (let i = 0; i < tile.quads; i++) {
    f.set(to, i32.add(panel, 16 * i));
    f.set(source, i32.add(codes, i32.mul(apart, i)));
    f.set(head, i32.add(header, i32.mul(beside === 1 ? quadBytes : headerBytes, i)));
    const { parts, bytes, halves } = fills && i > 0 ? weightReader(f, dot, i * dot.bits) : reader;
    if (shift && i > 0) f.set(shift, i32.add(shift, dot.bits));
    f.repeat(f.local("i32"), count, () => {
      f.emit(v128.store(to, arithmetic.scale(head)));
      if (offset !== "none") {
        f.emit(v128.store(to, offset === "min" ? arithmetic.min(head) : arithmetic.zero(head), 16 * tile.quads));
      }
      f.advance(head, beside * blockBytes);
      f.advance(to, 16 * headVectors(layout));
      f.repeat(f.local("i32"), blockCells, () => {
        for (let part = 0; part < parts; part++) {
          if (relaxed) f.emit(v128.store(to, bytes(source, 0, part), part * stride));
          halves(source, 0, part).forEach((half, odd) => {
            f.emit(v128.store(to, half, part * stride + 16 * tile.quads * odd));
          });
        }
        f.advance(source, beside * cellBytes(dot.bits));
        f.advance(to, parts * stride);
      });
      f.advance(source, beside * headerBytes);
    });
  }
}

interface TilePlace {
  readonly panel: Local<"i32">;
  /** The chunk's first block, and its blocks. */
  readonly block: Local<"i32">;
  readonly count: Local<"i32">;
  readonly mine: Local<"i32">;
}

/** `height` rows times a panel. Sums of finished blocks wait in `out`: registers are needed for integers. */
function emitTile(
  f: FunctionBuilder,
  layout: Int8Layout,
  { out, outBytes, q, qBytes, scales, sums, blocks }: Fields<(typeof gemmInt8.fields)[number]>,
  { panel, block, count, mine }: TilePlace,
  row: Local<"i32">,
  height: number,
): void {
  const { dot, paddedBlock, tile } = layout;
  const relaxed = dot.arithmetic === "relaxed";
  const width = activationBytes(dot);
  const arithmetic = blockArithmetic(f, layout);
  const [zeros, S, M] = [0, 1, 2].map(() => f.locals("v128", tile.quads));
  const weights = f.locals("v128", tile.quads);
  const [x, sum] = f.locals("v128", 2);
  const b = f.let(mine);
  const head = f.let(mine);
  const fromHead = (locals: readonly Local<"v128">[], place: number) =>
    locals.forEach((local, i) => {
      f.set(local, v128.load(head, 16 * (place * tile.quads + i)));
    });
  const from = f.let(i32.add(i32.add(q, i32.mul(row, qBytes)), i32.mul(block, paddedBlock * width * height)));
  const index = f.let(i32.shl(i32.add(i32.mul(row, blocks), i32.mul(block, height)), 2));
  const [scaleAt, sumAt] = [f.let(i32.add(scales, index)), f.let(i32.add(sums, index))];
  const rows = Array.from({ length: height }, (_, i) => ({
    to: f.let(i32.add(i32.add(out, i32.mul(i32.add(row, i), outBytes)), i32.mul(panel, tile.quads * 16))),
    integers: f.locals("v128", tile.quads),
  }));
  f.if(i32.eqz(block), () => {
    for (const { to } of rows) {
      for (let i = 0; i < tile.quads; i++) f.emit(v128.store(to, zeroVector, 16 * i));
    }
  });
  // One 32-bit word of activations of each row: four bytes, or two i16.
  const step = (g: number) => {
    weights.forEach((weight, i) => {
      f.set(weight, v128.load(b, 16 * (tile.quads * g + i)));
    });
    rows.forEach(({ integers }, r) => {
      f.set(x, v128.load32_splat(from, 4 * (g * height + r)));
      integers.forEach((integer, i) => {
        if (relaxed) f.set(integer, i32x4.relaxed_dot_i8x16_i7x16_add_s(x, weights[i], integer));
        else f.set(integer, i32x4.add(integer, i32x4.dot_i16x8_s(weights[i], x)));
      });
    });
  };
  const steps = (paddedBlock / 4) * width;
  const group = divisor(steps, relaxed ? 8 : 1);
  const round = () => {
    for (let g = 0; g < group; g++) step(g);
    f.advance(from, 4 * height * group);
    f.advance(b, 16 * tile.quads * group);
  };
  f.repeat(f.local("i32"), count, () => {
    f.set(b, i32.add(head, 16 * headVectors(layout)));
    if (layout.offset === "zeroPoint") fromHead(zeros, 1);
    rows.forEach(({ integers }, r) => {
      f.set(sum, arithmetic.prepare(sumAt, 4 * r));
      integers.forEach((integer, i) => {
        f.set(integer, arithmetic.start(zeros[i], sum));
      });
    });
    if (steps === group) round();
    else f.repeat(f.local("i32"), steps / group, round);
    fromHead(S, 0);
    if (layout.offset === "min") fromHead(M, 1);
    f.advance(head, panelBlockBytes(layout));
    rows.forEach(({ to, integers }, r) => {
      f.set(x, v128.load32_splat(scaleAt, 4 * r));
      if (layout.offset === "min") f.set(sum, arithmetic.scaledSum(sumAt, 4 * r, x));
      integers.forEach((integer, i) => {
        const total = arithmetic.finish(v128.load(to, 16 * i), integer, S[i], x, M[i], sum);
        f.emit(v128.store(to, total, 16 * i));
      });
    });
    f.advance(scaleAt, 4 * height);
    f.advance(sumAt, 4 * height);
  });
}
