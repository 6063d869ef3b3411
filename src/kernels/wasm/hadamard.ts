/**
 * Rotation of blocks by a Hadamard matrix, as hadamard.ts defines it. Code is made for one order: every sign of a factor is
 * known when it is written, so a factor is a chain of additions and subtractions. One item is one block of one row.
 */
import { hadamardFactors, hadamardMatrix } from "../hadamard.js";
import { createModule, type FunctionBuilder, type Local, type MemoryLimits } from "./emitter.js";
import { f32x4, f32x4Const, i32, v128 } from "./instructions.js";
import { defineKernel, type KernelSignature } from "./kernel.js";
import { mapLanes } from "./lanes.js";

type Field = "out" | "x" | "signs" | "blocks" | "scratch" | "scratchBytes";

/** blocks: of one row. scratch: room for two blocks, for each thread. */
export const hadamard: KernelSignature<Field> = {
  name: "hadamard",
  fields: ["out", "x", "signs", "blocks", "scratch", "scratchBytes"],
  writes: ["out", "scratch"],
  reads: ["x", "signs"],
};

/** The module that rotates blocks of this order, which must have factors. */
export function hadamardModule(block: number, limits: MemoryLimits): Uint8Array<ArrayBuffer> {
  const factors = hadamardFactors(block) as readonly number[];
  const m = createModule(limits);
  defineKernel(m, hadamard, (f, { out, x, signs, blocks, scratch, scratchBytes }, { from, to, thread }) => {
    const item = f.local("i32");
    const first = f.let(i32.add(scratch, i32.mul(thread, scratchBytes)));
    const second = f.let(i32.add(first, 4 * block));
    const scale = f32x4.splat(Math.fround(1 / Math.sqrt(block)));
    f.for(item, from, to, 1, () => {
      const place = f.let(i32.mul(item, 4 * block));
      const source = f.let(i32.add(x, place));
      const sign = f.let(i32.add(signs, i32.mul(i32.rem_u(item, blocks), 4 * block)));
      mapLanes(f, first, i32.const(block), (offset) =>
        f32x4.mul(v128.load(i32.add(source, offset)), v128.load(i32.add(sign, offset))),
      );
      let [now, next] = [first, second];
      factors.forEach((factor, index) => {
        const stride = factors.slice(0, index).reduce((a, b) => a * b, 1);
        if (index === 0) innermost(f, now, next, block, factor);
        else apart(f, now, next, block, factor, stride);
        [now, next] = [next, now];
      });
      const target = f.let(i32.add(out, place));
      mapLanes(f, target, i32.const(block), (offset) => f32x4.mul(v128.load(i32.add(now, offset)), scale));
    });
  });
  return m.bytes();
}

/** A factor whose elements are neighbours: four outputs at a time, each input spread over the lanes. */
function innermost(f: FunctionBuilder, from: Local<"i32">, to: Local<"i32">, block: number, factor: number): void {
  const h = hadamardMatrix(factor) as Int8Array;
  const offset = f.local("i32");
  f.for(offset, 0, 4 * block, 4 * factor, () => {
    const [x, y] = [f.let(i32.add(from, offset)), f.let(i32.add(to, offset))];
    for (let a = 0; a < factor; a += 4) {
      const sign = (row: number, j: number) => h[row * factor + j];
      const column = (j: number) => f32x4Const([sign(a, j), sign(a + 1, j), sign(a + 2, j), sign(a + 3, j)]);
      const term = (j: number) => f32x4.mul(v128.load32_splat(x, 4 * j), column(j));
      let sum = term(0);
      for (let j = 1; j < factor; j++) sum = f32x4.add(sum, term(j));
      f.emit(v128.store(y, sum, 4 * a));
    }
  });
}

/** A factor whose elements stand `stride` apart, a multiple of four: four neighbours at a time. */
function apart(
  f: FunctionBuilder,
  from: Local<"i32">,
  to: Local<"i32">,
  block: number,
  factor: number,
  stride: number,
): void {
  const h = hadamardMatrix(factor) as Int8Array;
  const [start, inside] = f.locals("i32", 2);
  f.for(start, 0, 4 * block, 4 * factor * stride, () => {
    f.for(inside, 0, 4 * stride, 16, () => {
      const offset = f.let(i32.add(start, inside));
      const [x, y] = [f.let(i32.add(from, offset)), f.let(i32.add(to, offset))];
      const values = Array.from({ length: factor }, (_, j) => f.let(v128.load(x, 4 * stride * j)));
      for (let a = 0; a < factor; a++) {
        const row = h.subarray(a * factor, (a + 1) * factor);
        let sum = row[0] > 0 ? values[0] : f32x4.neg(values[0]);
        for (let j = 1; j < factor; j++) sum = row[j] > 0 ? f32x4.add(sum, values[j]) : f32x4.sub(sum, values[j]);
        f.emit(v128.store(y, sum, 4 * stride * a));
      }
    });
  });
}
