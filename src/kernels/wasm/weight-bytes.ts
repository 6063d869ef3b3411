/** Weights out of cells, four k at a time, as operands of integer products. */
import { type ByteDot, byLookup } from "./byte-dot.js";
import { type CodeReader, cellColumns, codeReader, planesOf } from "./cells.js";
import { pickBytes } from "./decode.js";
import type { Expression, FunctionBuilder, Local } from "./emitter.js";
import { i16x8, v128 } from "./instructions.js";

/** A reader of weights: as bytes, or as i16 split into even and odd bytes. */
export function weightReader(f: FunctionBuilder, dot: ByteDot, shift?: Local<"i32"> | number) {
  const { bits, lookup, arithmetic } = dot;
  const parts = cellColumns(bits) / 4;
  const read = codeReader(f, bits, { byEight: byLookup(dot), shift });
  const table = lookup && f.let(v128.const(Uint8Array.from({ length: 16 }, (_, i) => lookup[i] ?? 0)));
  const toBytes = (codes: Expression<"v128">) => (table ? pickBytes(arithmetic === "relaxed")(table, codes) : codes);
  const bytes: CodeReader = (address, offset, part) => toBytes(read(address, offset, part));
  const split = f.local("v128");
  const simple = !table && planesOf(bits).length === 1 && !byLookup(dot);
  const mask = arithmetic === "relaxed" ? undefined : f.let(i16x8.splat(simple ? 2 ** bits - 1 : 0xff));
  const halves = (address: Local<"i32">, offset: number, part: number) => {
    if (!mask) return [];
    if (!simple) {
      f.set(split, bytes(address, offset, part));
      return [v128.and(split, mask), i16x8.shr_u(split, 8)];
    }
    // Codes go from the stored vector to their i16 in one step; the topmost need no mask.
    const stored = v128.load(address, offset);
    const at = (shift: number) => {
      const moved = shift === 0 ? stored : i16x8.shr_u(stored, shift);
      return shift + bits === 16 ? moved : v128.and(moved, mask);
    };
    return [at(part * bits), at(8 + part * bits)];
  };
  return { parts, bytes, toBytes, halves };
}
