/**
 * Two forms of softmax side by side. The backend's: largest element, then exponentials with their sum, then division. The
 * other has no pass for the largest: exp(x) is kept as a pair, m 2^n with m near 1, pairs are added by their exponents,
 * and a second pass computes exp(x) again relative to the sum's exponent. It reads memory twice where the backend's form
 * goes over the row three times, and computes every exponential twice. Dukhan and Ablavatski 2020, "The Two-Pass Softmax
 * Algorithm".
 */

import type { Backend } from "../kernels/backend.js";
import { expConstants } from "../kernels/exp.js";
import { createModule, type Expression, type FunctionBuilder, type Local } from "../kernels/wasm/emitter.js";
import { f32, f32x4, f32x4Const, i32, i32x4, v128 } from "../kernels/wasm/instructions.js";
import type { KernelCase } from "./kernels.js";
import { numbers } from "./numbers.js";

const splat = (value: number) => f32x4Const([value, value, value, value]);

/** Sets m and n (an integer in f32) so that exp(x) = m 2^n. */
function pairOf(f: FunctionBuilder, x: Expression<"v128">, m: Local<"v128">, n: Local<"v128">): void {
  const { log2e, ln2High, ln2Low, coefficients } = expConstants;
  const value = f.let(x);
  f.set(n, f32x4.nearest(f32x4.mul(value, splat(log2e))));
  const r = f.let(f32x4.sub(value, f32x4.mul(n, splat(ln2High))));
  f.set(r, f32x4.sub(r, f32x4.mul(n, splat(ln2Low))));
  f.set(m, splat(coefficients[0]));
  for (const c of coefficients.slice(1)) f.set(m, f32x4.add(f32x4.mul(m, r), splat(c)));
  f.set(m, f32x4.add(f32x4.add(f32x4.mul(m, f32x4.mul(r, r)), r), splat(1)));
}

/** 2^e for integers e <= 0 in f32; 0 below -126. */
function powerOf(e: Expression<"v128">): Expression<"v128"> {
  const held = f32x4.pmax(e, splat(-127));
  return i32x4.shl(i32x4.trunc_sat_f32x4_s(f32x4.add(held, splat(127))), 23);
}

/** twoPass(out, x, rows, columns); columns is a multiple of four. */
export function twoPassSoftmax(): Uint8Array<ArrayBuffer> {
  const module = createModule();
  module.func(
    "twoPass",
    { out: "i32", x: "i32", rows: "i32", columns: "i32" },
    "void",
    (f, { out, x, rows, columns }) => {
      const [row, offset] = f.locals("i32", 2);
      const [m, n, sum, top, next] = f.locals("v128", 5);
      const bytes = f.let(i32.shl(columns, 2));
      f.for(row, 0, rows, 1, () => {
        const [from, to] = [f.let(i32.add(x, i32.mul(row, bytes))), f.let(i32.add(out, i32.mul(row, bytes)))];
        f.set(sum, splat(0));
        f.set(top, splat(-1e9));
        f.for(offset, 0, bytes, 16, () => {
          pairOf(f, v128.load(i32.add(from, offset)), m, n);
          f.set(next, f32x4.pmax(top, n));
          const before = f32x4.mul(sum, powerOf(f32x4.sub(top, next)));
          f.set(sum, f32x4.add(before, f32x4.mul(m, powerOf(f32x4.sub(n, next)))));
          f.set(top, next);
        });
        const lane = (v: Local<"v128">, i: number) => f32x4.extract_lane(v, i);
        const most = f32.max(f32.max(lane(top, 0), lane(top, 1)), f32.max(lane(top, 2), lane(top, 3)));
        f.set(next, f32x4.splat(most));
        f.set(sum, f32x4.mul(sum, powerOf(f32x4.sub(top, next))));
        const total = f32.add(f32.add(lane(sum, 0), lane(sum, 1)), f32.add(lane(sum, 2), lane(sum, 3)));
        const inverse = f.let(f32x4.splat(f32.div(1, total)));
        f.for(offset, 0, bytes, 16, () => {
          pairOf(f, v128.load(i32.add(from, offset)), m, n);
          const scaled = f32x4.mul(f32x4.mul(m, powerOf(f32x4.sub(n, next))), inverse);
          f.emit(v128.store(i32.add(to, offset), scaled));
        });
      });
    },
  );
  return module.bytes();
}

/** Softmax of rows of `columns` in the form without a pass for the largest. */
export function twoPassCase(rows: number, columns: number): KernelCase {
  return {
    ...{ op: "softmax two-pass", scheme: "f32", shape: `${rows}x${columns}`, macs: 8 * rows * columns },
    start(_backend: Backend) {
      const bytes = 4 * rows * columns;
      const memory = new WebAssembly.Memory({ initial: Math.ceil((2 * bytes) / 65536) });
      new Float32Array(memory.buffer, 0, rows * columns).set(numbers(rows * columns));
      const { twoPass } = new WebAssembly.Instance(new WebAssembly.Module(twoPassSoftmax()), { env: { memory } })
        .exports;
      const run = twoPass as (out: number, x: number, rows: number, columns: number) => void;
      return { bytes: 2 * bytes, run: () => run(bytes, 0, rows, columns), dispose() {} };
    },
  };
}
