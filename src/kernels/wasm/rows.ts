/** The kernels that work on rows of f32: norms, softmax, rotary embedding, sums. One item is one row, or 1024 elements. */
import type { Expression, FunctionBuilder, ModuleBuilder } from "./emitter.js";
import { f32, f32x4, i32, memory, v128 } from "./instructions.js";
import { defineKernel, signature } from "./kernel.js";
import { expLanes, geluLanes, geluTanhLanes, largest, mapAndSumLanes, mapLanes, sumLanes, totalOf } from "./lanes.js";
import { defineRope } from "./rope.js";

/** Elements of one item of the elementwise kernels. */
export const elementsPerItem = 1024;

export const rmsNorm = signature("rmsNorm", ["out"], ["x", "gain"], ["size", "epsilon"]);
export const layerNorm = signature("layerNorm", ["out"], ["x", "gain", "bias"], ["size", "epsilon"]);
export const softmax = signature("softmax", ["out"], ["x"], ["columns"]);
export const siluMultiply = signature("siluMultiply", ["out"], ["gate", "up"], ["length"]);
export const gelu = signature("gelu", ["out"], ["x"], ["length"]);
export const geluTanh = signature("geluTanh", ["out"], ["x"], ["length"]);
export const add = signature("add", ["out"], ["a", "b"], ["length"]);
/** out[row] += bias. */
export const addBias = signature("addBias", ["out"], ["bias"], ["columns"]);
/** out[row] = x[row] / scales, and x[row] * scales, element by element. */
export const divideColumns = signature("divideColumns", ["out"], ["x", "scales"], ["columns"]);
export const multiplyColumns = signature("multiplyColumns", ["out"], ["x", "scales"], ["columns"]);
/** Copies rows into wider ones whose end is zero: item i from x + i * xBytes to out + i * outBytes. */
export const padRows = signature("padRows", ["out"], ["x"], ["xBytes", "outBytes"]);
/** The same for blocks inside of rows: item i is block i mod blocks of row i / blocks. */
export const padBlocks = signature("padBlocks", ["out"], ["x"], ["columns", "blocks", "blockColumns", "paddedBlock"]);
/** Copies the first xBytes of rows that are outBytes apart: the way back of padRows. */
export const cutRows = signature("cutRows", ["out"], ["x"], ["xBytes", "outBytes"]);

/** Item i is row i mod rows of matrix i / rows; its elements stand `rows` apart in out. */
export const transposeRows = signature("transposeRows", ["out"], ["x"], ["rows", "columns"]);
/** Item i is 1024 elements from 1024 i on. */
export const copyElements = signature("copyElements", ["out"], ["x"], ["length"]);

export function defineRowKernels(m: ModuleBuilder): void {
  const at = (base: Expression<"i32">, offset: Expression<"i32">) => v128.load(i32.add(base, offset));

  defineKernel(m, rmsNorm, (f, { out, x, gain, size, epsilon }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const start = f.let(i32.shl(i32.mul(row, size), 2));
      const source = f.let(i32.add(x, start));
      const v = f.local("v128");
      const squares = sumLanes(f, size, (offset) => {
        f.set(v, at(source, offset));
        return f32x4.mul(v, v);
      });
      const mean = f32.div(totalOf(squares), f32.convert_i32_u(size));
      const deviation = f32.sqrt(f32.add(mean, f32.reinterpret_i32(epsilon)));
      const scale = f.let(f32x4.splat(f32.div(1, deviation)));
      mapLanes(f, i32.add(out, start), size, (offset) =>
        f32x4.mul(f32x4.mul(at(source, offset), scale), at(gain, offset)),
      );
    });
  });

  defineKernel(m, layerNorm, (f, { out, x, gain, bias, size, epsilon }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const start = f.let(i32.shl(i32.mul(row, size), 2));
      const source = f.let(i32.add(x, start));
      const v = f.local("v128");
      const count = f.let(f32.convert_i32_u(size));
      const sums = sumLanes(f, size, (offset) => at(source, offset));
      const mean = f.let(f32x4.splat(f32.div(totalOf(sums), count)));
      const squares = sumLanes(f, size, (offset) => {
        f.set(v, f32x4.sub(at(source, offset), mean));
        return f32x4.mul(v, v);
      });
      const deviation = f32.sqrt(f32.add(f32.div(totalOf(squares), count), f32.reinterpret_i32(epsilon)));
      const scale = f.let(f32x4.splat(f32.div(1, deviation)));
      mapLanes(f, i32.add(out, start), size, (offset) => {
        const normed = f32x4.mul(f32x4.sub(at(source, offset), mean), scale);
        return f32x4.add(f32x4.mul(normed, at(gain, offset)), at(bias, offset));
      });
    });
  });

  defineKernel(m, softmax, (f, { out, x, columns }, { from, to }) => {
    const row = f.local("i32");
    const exp = expLanes(f);
    f.for(row, from, to, 1, () => {
      const start = f.let(i32.shl(i32.mul(row, columns), 2));
      const [source, target] = [f.let(i32.add(x, start)), f.let(i32.add(out, start))];
      const max = largest(f, columns, (offset) => at(source, offset));
      const sums = mapAndSumLanes(f, target, columns, (offset) => exp(f32x4.sub(at(source, offset), max)));
      const total = f.let(f32x4.splat(totalOf(sums)));
      mapLanes(f, target, columns, (offset) => f32x4.div(at(target, offset), total));
    });
  });

  defineKernel(m, siluMultiply, (f, { out, gate, up, length }, { from, to }) => {
    const exp = expLanes(f);
    const g = f.local("v128");
    overItems(f, length, from, to, (start, count) => {
      const source = f.let(i32.add(gate, start));
      mapLanes(f, i32.add(out, start), count, (offset) => {
        f.set(g, at(source, offset));
        const sigmoidInverse = f32x4.add(f32x4.splat(1), exp(f32x4.neg(g)));
        return f32x4.mul(f32x4.div(g, sigmoidInverse), v128.load(i32.add(i32.add(up, start), offset)));
      });
    });
  });

  for (const [kernel, lanes] of [[gelu, geluLanes] as const, [geluTanh, geluTanhLanes] as const]) {
    defineKernel(m, kernel, (f, { out, x, length }, { from, to }) => {
      const of = lanes(f);
      overItems(f, length, from, to, (start, count) => {
        const source = f.let(i32.add(x, start));
        mapLanes(f, i32.add(out, start), count, (offset) => of(at(source, offset)));
      });
    });
  }

  defineKernel(m, add, (f, { out, a, b, length }, { from, to }) => {
    overItems(f, length, from, to, (start, count) =>
      mapLanes(f, i32.add(out, start), count, (offset) =>
        f32x4.add(v128.load(i32.add(i32.add(a, start), offset)), v128.load(i32.add(i32.add(b, start), offset))),
      ),
    );
  });

  defineKernel(m, addBias, (f, { out, bias, columns }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const target = f.let(i32.add(out, i32.shl(i32.mul(row, columns), 2)));
      mapLanes(f, target, columns, (offset) => f32x4.add(at(target, offset), at(bias, offset)));
    });
  });

  for (const [kernel, apply] of [[divideColumns, f32x4.div] as const, [multiplyColumns, f32x4.mul] as const]) {
    defineKernel(m, kernel, (f, { out, x, scales, columns }, { from, to }) => {
      const row = f.local("i32");
      f.for(row, from, to, 1, () => {
        const start = f.let(i32.shl(i32.mul(row, columns), 2));
        const source = f.let(i32.add(x, start));
        mapLanes(f, i32.add(out, start), columns, (offset) => apply(at(source, offset), at(scales, offset)));
      });
    });
  }

  defineRope(m);
  definePadding(m);
  defineMoves(m);
}

/** Calls `body` with the byte offset and the count of the elements that items from .. to - 1 cover. */
function overItems(
  f: FunctionBuilder,
  length: Expression<"i32">,
  from: Expression<"i32">,
  to: Expression<"i32">,
  body: (start: Expression<"i32">, count: Expression<"i32">) => void,
): void {
  const first = f.let(i32.mul(from, elementsPerItem));
  const end = f.let(i32.mul(to, elementsPerItem));
  f.if(i32.gt_u(end, length), () => f.set(end, length));
  body(f.let(i32.shl(first, 2)), f.let(i32.sub(end, first)));
}

function defineMoves(m: ModuleBuilder): void {
  defineKernel(m, transposeRows, (f, { out, x, rows, columns }, { from, to }) => {
    const [item, column] = f.locals("i32", 2);
    const step = f.let(i32.shl(rows, 2));
    f.for(item, from, to, 1, () => {
      const matrix = f.let(i32.div_u(item, rows));
      const row = f.let(i32.sub(item, i32.mul(matrix, rows)));
      const source = f.let(i32.add(x, i32.shl(i32.mul(item, columns), 2)));
      const start = i32.add(i32.mul(matrix, i32.mul(rows, columns)), row);
      const target = f.let(i32.add(out, i32.shl(start, 2)));
      f.for(column, 0, columns, 1, () => {
        f.emit(i32.store(target, i32.load(source)));
        f.advance(source, 4);
        f.advance(target, step);
      });
    });
  });

  defineKernel(m, copyElements, (f, { out, x, length }, { from, to }) => {
    const begin = f.let(i32.shl(i32.mul(from, elementsPerItem), 2));
    const end = f.let(i32.mul(to, elementsPerItem));
    f.if(i32.gt_u(end, length), () => f.set(end, length));
    f.emit(memory.copy(i32.add(out, begin), i32.add(x, begin), i32.sub(i32.shl(end, 2), begin)));
  });
}

function definePadding(m: ModuleBuilder): void {
  defineKernel(m, padRows, (f, { out, x, xBytes, outBytes }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () => {
      const target = f.let(i32.add(out, i32.mul(row, outBytes)));
      f.emit(memory.copy(target, i32.add(x, i32.mul(row, xBytes)), xBytes));
      f.emit(memory.fill(i32.add(target, xBytes), 0, i32.sub(outBytes, xBytes)));
    });
  });

  defineKernel(m, padBlocks, (f, { out, x, columns, blocks, blockColumns, paddedBlock }, { from, to }) => {
    const [item, row, block, count] = f.locals("i32", 4);
    f.for(item, from, to, 1, () => {
      f.set(row, i32.div_u(item, blocks));
      f.set(block, i32.sub(item, i32.mul(row, blocks)));
      const start = f.let(i32.mul(block, blockColumns));
      f.set(count, i32.sub(columns, start));
      f.if(i32.gt_u(count, blockColumns), () => f.set(count, blockColumns));
      const target = f.let(i32.add(out, i32.shl(i32.mul(item, paddedBlock), 2)));
      const bytes = f.let(i32.shl(count, 2));
      f.emit(memory.copy(target, i32.add(x, i32.shl(i32.add(i32.mul(row, columns), start), 2)), bytes));
      f.emit(memory.fill(i32.add(target, bytes), 0, i32.sub(i32.shl(paddedBlock, 2), bytes)));
    });
  });

  defineKernel(m, cutRows, (f, { out, x, xBytes, outBytes }, { from, to }) => {
    const row = f.local("i32");
    f.for(row, from, to, 1, () =>
      f.emit(memory.copy(i32.add(out, i32.mul(row, xBytes)), i32.add(x, i32.mul(row, outBytes)), xBytes)),
    );
  });
}
