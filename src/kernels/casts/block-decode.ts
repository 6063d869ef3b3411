/** Unpacked codes with their scales and offsets (already f32) to values, in the order of operations of dequantize.ts. */
import type { OffsetCodec, TagCodec } from "../../formats/scheme.js";
import type { Local, ModuleBuilder } from "../wasm/emitter.js";
import { f32, f32x4, i32, v128 } from "../wasm/instructions.js";
import { codeBytes, laneDecoder } from "./decode-lanes.js";
import type { LaneDecode } from "./decode-plan.js";
import type { Vector } from "./lanes.js";

const parameters = {
  codes: "i32",
  scales: "i32",
  offsets: "i32",
  to: "i32",
  groups: "i32",
  size: "i32",
  table: "i32",
} as const;

/**
 * decodeBlocks(codes, scales, offsets, to, groups, size, table): groups of `size` codes, a positive multiple of 16, each
 * with one f32 of `scales` and of `offsets`.
 */
export function defineBlockDecode(m: ModuleBuilder, element: LaneDecode, offset?: OffsetCodec["kind"]) {
  return m.func("decodeBlocks", parameters, "void", (f, { codes, scales, offsets, to, groups, size, table }) => {
    const decoder = laneDecoder(f, element, table);
    const [scale, shift] = f.locals("v128", 2);
    const value = (v: Vector): Vector => {
      if (offset === "zeroPoint") return f32x4.mul(scale, f32x4.sub(v, shift));
      const scaled = f32x4.mul(v, scale);
      return offset === "min" ? f32x4.add(scaled, shift) : scaled;
    };
    f.repeat(f.local("i32"), groups, () => {
      f.set(scale, v128.load32_splat(scales));
      f.advance(scales, 4);
      if (offset) {
        f.set(shift, v128.load32_splat(offsets));
        f.advance(offsets, 4);
      }
      f.repeat(f.local("i32"), i32.div_u(size, decoder.run), () => {
        decoder.decode(codes, (index, v) => f.emit(v128.store(to, value(v), 16 * index)));
        f.advance(codes, decoder.run * codeBytes(element.bits));
        f.advance(to, 4 * decoder.run);
      });
    });
  });
}

/** The same where `offsets` holds a tag for each group (a word), and `table` the values of widened codes of `bits` + more bits. */
export function defineTaggedDecode(m: ModuleBuilder, bits: number, kind: NonNullable<TagCodec["kind"]>) {
  return m.func("decodeBlocks", parameters, "void", (f, { codes, scales, offsets, to, groups, size, table }) => {
    const [tag, list, at] = f.locals("i32", 3);
    const scale = f.local("f32");
    const value = (from: Local<"i32">, code: Local<"i32">, offset = 0) =>
      f32.mul(scale, f32.load(i32.add(from, i32.shl(i32.load8_u(code), 2)), offset));
    f.repeat(f.local("i32"), groups, () => {
      f.set(scale, f32.load(scales));
      f.set(tag, i32.load(offsets));
      f.set(list, kind === "list" ? i32.add(table, i32.shl(tag, bits + 2)) : table);
      f.advance(scales, 4);
      f.advance(offsets, 4);
      f.repeat(f.local("i32"), size, () => {
        f.emit(f32.store(to, value(list, codes)));
        f.advance(codes, 1);
        f.advance(to, 4);
      });
      if (kind === "list") return;
      f.if(i32.lt_u(tag, size), () => {
        f.set(tag, i32.sub(size, tag));
        f.set(at, i32.sub(codes, tag));
        f.emit(f32.store(i32.sub(to, i32.shl(tag, 2)), value(list, at, 4 * 2 ** bits)));
      });
    });
  });
}
