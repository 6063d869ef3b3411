/** Weights of a block as f32, one vector for each k: raw values times scale, with the offset. */
import { cellBytes, cellColumns } from "./cells.js";
import { decoder } from "./decode.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { f32x4, i32, v128 } from "./instructions.js";
import type { Layout } from "./layout.js";
import { sharedReader } from "./shared.js";

/** The weights of a block: raw values times scale, with the offset. */
interface Block {
  readonly scale?: Local<"v128">;
  /** Loads the header at `address` (and moves on to the codes) into this block's registers. */
  enter(address: Local<"i32">): void;
  weight(raw: Expression<"v128">): Expression<"v128">;
}

export function blockOf(f: FunctionBuilder, layout: Layout): Block {
  const { scale: scaleForm, offsets: offsetForm, offset, factor, headerBytes, fused } = layout;
  const readScale = scaleForm && sharedReader(f, scaleForm);
  const readOffset = offsetForm && sharedReader(f, offsetForm);
  const constant = !readScale && factor !== 1 ? f.let(f32x4.splat(factor)) : undefined;
  const scale = readScale ? f.local("v128") : constant;
  const M = readOffset && f.local("v128");
  return {
    scale,
    enter(address) {
      if (readScale && scale) f.set(scale, readScale(address, 0));
      if (readOffset && M) f.set(M, readOffset(address, scaleForm?.bytes ?? 0));
      f.advance(address, headerBytes);
    },
    weight(raw) {
      if (M && offset === "min" && scale) return multiplyAdd(fused, raw, scale, M);
      const shifted = M && offset === "zeroPoint" ? f32x4.sub(raw, M) : raw;
      const scaled = scale ? f32x4.mul(shifted, scale) : shifted;
      return M && offset === "min" ? f32x4.add(scaled, M) : scaled;
    },
  };
}

type Vector = Expression<"v128">;

/** a b + c: two roundings in a fixed order, or as the host likes. */
export function multiplyAdd(fused: boolean, a: Vector, b: Vector, c: Vector): Vector {
  return fused ? f32x4.relaxed_madd(a, b, c) : f32x4.add(c, f32x4.mul(a, b));
}

/** Runs `body` for every unrolled group of cells of a block. */
export function overCells(
  f: FunctionBuilder,
  layout: Layout,
  runtimeCells: Local<"i32">,
  body: (group: number) => void,
) {
  const { blocks, blockCells } = layout;
  const counter = f.local("i32");
  const group = unrolled(layout);
  if (blocks <= 1) {
    f.repeat(counter, i32.div_u(runtimeCells, group), () => body(group));
  } else if (blockCells === group) body(group);
  else f.repeat(counter, blockCells / group, () => body(group));
}

/** Cells handled by one round of the inner loop: about 8 columns, more would only lengthen the code. */
function unrolled({ blocks, blockCells, decode }: Layout): number {
  const wanted = Math.max(1, 8 / cellColumns(decode.bits));
  return blocks <= 1 || blockCells % wanted === 0 ? wanted : 1;
}

/**
 * Decodes `count` blocks (or one block of `cells` cells) of a quad into a panel: k after k, `stride` bytes apart.
 * `header` is where the first header stands, `codes` where its codes begin.
 */
export function emitPanel(
  f: FunctionBuilder,
  layout: Layout,
  { header, codes, count, cells, table, to, stride, shift }: PanelSource,
): void {
  const block = blockOf(f, layout);
  const decode = decoder(f, layout, table, shift);
  const { width, parts } = decode;
  const { beside, blocks, blockBytes, headerBytes } = layout;
  const bytes = beside * cellBytes(layout.decode.bits);
  f.repeat(f.local("i32"), count, () => {
    block.enter(header);
    overCells(f, layout, cells, (group) => {
      for (let part = 0; part < group * parts; part++) {
        decode.decode(codes, bytes * Math.floor(part / parts), part % parts, (k, raw) =>
          f.emit(v128.store(to, block.weight(raw), (part * width + k) * stride)),
        );
      }
      f.advance(codes, bytes * group);
      f.advance(to, group * parts * width * stride);
    });
    if (blocks > 1) f.advance(header, beside * blockBytes - headerBytes);
    f.advance(codes, beside * headerBytes);
  });
}

export interface PanelSource {
  readonly header: Local<"i32">;
  readonly codes: Local<"i32">;
  readonly count: Local<"i32">;
  readonly cells: Local<"i32">;
  readonly table: Local<"i32">;
  readonly to: Local<"i32">;
  readonly stride: number;
  /** The lowest bit of the quad's codes in bytes that several share. */
  readonly shift?: Local<"i32">;
}
