/** Rotary embedding, alone or on the way to the cache. */
import type { Expression, FunctionBuilder, Local, ModuleBuilder } from "./emitter.js";
import { f32x4, i32, memory, v128 } from "./instructions.js";
import { defineKernel, signature } from "./kernel.js";
import { overLanes, storeLanes } from "./lanes.js";

/** In place; item b is row b, at position + b. */
export const rope = signature("rope", ["x"], ["cos", "sin"], ["heads", "headSize", "position"], ["position"]);
/** Rotary embedding of q in place; that of k, and v, to the rows of the cache from `row` on. Item b is row b. */
export const ropeAndStore = signature(
  "ropeAndStore",
  ["q", "keys", "values"],
  ["k", "v", "cos", "sin"],
  ["heads", "kvHeads", "headSize", "position", "row"],
  ["position", "row"],
);

export function defineRope(m: ModuleBuilder): void {
  type Addresses = Readonly<Record<"x" | "out" | "heads" | "headSize" | "cos" | "sin", Local<"i32">>>;
  /** The heads of a row at x, turned by the angles of a position, to out, which may be x. */
  const turn = (f: FunctionBuilder, { x, out, heads, headSize, cos, sin }: Addresses, position: Expression<"i32">) => {
    const [head, offset] = f.locals("i32", 2);
    const [a, b, c, s] = f.locals("v128", 4);
    const half = f.let(i32.shr_u(headSize, 1));
    const angle = f.let(i32.shl(i32.mul(position, half), 2));
    const [cosines, sines] = [f.let(i32.add(cos, angle)), f.let(i32.add(sin, angle))];
    f.for(head, 0, heads, 1, () => {
      f.set(offset, i32.shl(i32.mul(head, headSize), 2));
      const [first, low] = [f.let(i32.add(x, offset)), f.let(i32.add(out, offset))];
      const [second, high] = [first, low].map((start) => f.let(i32.add(start, i32.shl(half, 2))));
      overLanes(f, half, (i, _, rest) => {
        f.set(a, v128.load(i32.add(first, i)));
        f.set(b, v128.load(i32.add(second, i)));
        f.set(c, v128.load(i32.add(cosines, i)));
        f.set(s, v128.load(i32.add(sines, i)));
        storeLanes(f, i32.add(low, i), f32x4.sub(f32x4.mul(a, c), f32x4.mul(b, s)), rest);
        storeLanes(f, i32.add(high, i), f32x4.add(f32x4.mul(b, c), f32x4.mul(a, s)), rest);
      });
    });
  };

  defineKernel(m, rope, (f, { x, heads, headSize, cos, sin, position }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const own = f.let(i32.add(x, i32.shl(i32.mul(i32.mul(row, heads), headSize), 2)));
      turn(f, { x: own, out: own, heads, headSize, cos, sin }, i32.add(position, row));
    });
  });

  defineKernel(m, ropeAndStore, (f, args, { from, to }) => {
    const { q, k, v, keys, values, cos, sin, heads, kvHeads, headSize, position, row: first } = args;
    const row = f.local("i32");
    const [queryBytes, rowBytes] = [heads, kvHeads].map((count) => f.let(i32.shl(i32.mul(count, headSize), 2)));
    const angles = { headSize, cos, sin };
    f.for(row, from, to, 1, () => {
      const query = f.let(i32.add(q, i32.mul(row, queryBytes)));
      turn(f, { x: query, out: query, heads, ...angles }, i32.add(position, row));
      const [fresh, stored] = [f.let(i32.mul(row, rowBytes)), f.let(i32.mul(i32.add(first, row), rowBytes))];
      const [key, keptKey] = [f.let(i32.add(k, fresh)), f.let(i32.add(keys, stored))];
      turn(f, { x: key, out: keptKey, heads: kvHeads, ...angles }, i32.add(position, row));
      f.emit(memory.copy(i32.add(values, stored), i32.add(v, fresh), rowBytes));
    });
  });
}
