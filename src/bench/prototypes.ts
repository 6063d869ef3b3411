/**
 * Kernels for one layout and one shape each, written by hand to find out how fast such products can be. They cut every
 * corner: shapes that divide, scales in f32, no offsets, no threads, sums in whatever order. The generated kernels, which
 * take any scheme and shape, must not be slower.
 */
import { createModule, type Expression, type FunctionBuilder, type Local } from "../kernels/wasm/emitter.js";
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from "../kernels/wasm/instructions.js";
import type { KernelCase } from "./kernels.js";

const zero = v128.const(new Uint8Array(16));
const page = 65536;

/** A case that runs `emit` on memory of its own; all of it holds small numbers, so that no sum becomes subnormal. */
function prototype(
  { op, scheme, shape, macs, bytes, integers }: Omit<KernelCase, "start"> & { readonly bytes: number },
  memoryBytes: number,
  emit: (f: FunctionBuilder) => void,
): KernelCase {
  return {
    ...{ op: `prototype ${op}`, scheme, shape, macs, integers },
    start() {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(memoryBytes / page) });
      new Float32Array(memory.buffer).fill(1e-3);
      const m = createModule();
      m.func("run", {}, "void", (f) => emit(f));
      const { run } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes()), { env: { memory } }).exports;
      return { bytes, run: run as () => void, dispose() {} };
    },
  };
}

const dot = (sum: Local<"v128">, x: Expression<"v128">, weight: Expression<"v128">) =>
  i32x4.relaxed_dot_i8x16_i7x16_add_s(x, weight, sum);

/**
 * int4 in groups of 32 times one row: panels of four columns in `streams` places at once, their scales in a stream of
 * their own, the first sum of a group given.
 */
function gemv(streams: number, rows: number, columns: number): KernelCase {
  const panels = Math.floor(rows / 4 / streams);
  const groups = columns / 32;
  const codes = (rows * columns) / 2;
  const [x, scales, sums, out, weights] = [0, 1, 2, 3, 4].map((i) => page * (1 + 16 * i));
  const weightScales = weights + codes;
  const used = panels * 4 * streams;
  const what = {
    ...{ op: "gemv int8", scheme: `int4-g32, ${streams} streams`, shape: `1x${used}x${columns}`, integers: true },
    ...{ macs: used * columns, bytes: used * columns * 0.625 },
  };
  return prototype(what, weightScales + codes / 4, (f) => {
    const [panel, at, group] = f.locals("i32", 3);
    const [a, b, code, first] = f.locals("v128", 4);
    const low = f.let(i8x16.splat(15));
    f.for(panel, 0, panels, 1, () => {
      const addresses = Array.from({ length: streams }, (_, s) => {
        return f.let(i32.add(weights + s * panels * columns * 2, i32.mul(panel, columns * 2)));
      });
      const scaleAt = f.let(i32.add(weightScales, i32.mul(panel, groups * streams * 16)));
      const integers = f.locals("v128", streams);
      const totals = Array.from({ length: streams }, () => f.let(zero));
      f.set(at, x);
      f.for(group, 0, 4 * groups, 4, () => {
        f.set(first, v128.load32_splat(group, sums));
        for (const integer of integers) f.set(integer, first);
        for (let j = 0; j < 4; j++) {
          f.set(a, v128.load32_splat(at, 8 * j));
          f.set(b, v128.load32_splat(at, 8 * j + 4));
          integers.forEach((integer, s) => {
            f.set(code, v128.load(addresses[s], 16 * j));
            f.set(integer, dot(integer, a, v128.and(code, low)));
            f.set(integer, dot(integer, b, v128.and(i16x8.shr_u(code, 4), low)));
          });
        }
        f.set(a, v128.load32_splat(group, scales));
        totals.forEach((total, s) => {
          const scale = f32x4.mul(a, v128.load(scaleAt, 16 * s));
          f.set(total, f32x4.relaxed_madd(f32x4.convert_i32x4_s(integers[s]), scale, total));
          f.advance(addresses[s], 64);
        });
        f.advance(at, 32);
        f.advance(scaleAt, 16 * streams);
      });
      totals.forEach((total, s) => {
        f.emit(v128.store(i32.mul(panel, 16 * streams), total, out + 16 * s));
      });
    });
  });
}

/**
 * int8 x int4 for 128 rows, one scale for each row of activations: a panel of eight columns is unpacked to bytes once,
 * then multiplied in tiles of 6 rows.
 */
function gemmInt4(groupSize: number, batch: number, rows: number, columns: number): KernelCase {
  const tiles = Math.ceil(batch / 6);
  const groups = columns / groupSize;
  const x = page;
  const sums = x + 6 * tiles * columns;
  const out = sums + 24 * tiles * groups;
  const panel = out + 24 * tiles * rows;
  const weights = panel + 8 * columns;
  const scales = weights + (rows * columns) / 2;
  const what = {
    ...{ op: "gemm int8", scheme: `int4-g${groupSize}`, shape: `${batch}x${rows}x${columns}`, integers: true },
    ...{ macs: batch * rows * columns, bytes: (rows * columns) / 2 },
  };
  return prototype(what, scales + 4 * rows * groups, (f) => {
    const [n, m, from, to, scaleAt, group] = f.locals("i32", 6);
    const [t, code] = f.locals("v128", 2);
    const low = f.let(i8x16.splat(15));
    const w = f.locals("v128", 2);
    const at = f.locals("i32", 6);
    const sumAt = f.locals("i32", 6);
    const integers = at.map(() => f.locals("v128", 2));
    const totals = at.map(() => f.locals("v128", 2));
    f.for(n, 0, rows / 8, 1, () => {
      f.set(from, i32.add(weights, i32.mul(n, columns * 4)));
      f.for(to, panel, panel + 8 * columns, 64, () => {
        for (let v = 0; v < 2; v++) {
          f.set(code, v128.load(from, 16 * v));
          f.emit(v128.store(to, v128.and(code, low), 16 * v));
          f.emit(v128.store(to, v128.and(i16x8.shr_u(code, 4), low), 32 + 16 * v));
        }
        f.advance(from, 32);
      });
      f.for(m, 0, 6 * tiles, 6, () => {
        f.set(from, panel);
        f.set(scaleAt, i32.add(scales, i32.mul(n, groups * 32)));
        at.forEach((address, i) => {
          f.set(address, i32.add(x, i32.mul(i32.add(m, i), columns)));
          f.set(sumAt[i], i32.add(sums, i32.mul(i32.add(m, i), groups * 4)));
          for (const total of totals[i]) f.set(total, zero);
        });
        f.repeat(group, groups, () => {
          integers.forEach((pair, i) => {
            f.set(pair[0], v128.load32_splat(sumAt[i]));
            f.set(pair[1], pair[0]);
            f.advance(sumAt[i], 4);
          });
          f.repeat(f.local("i32"), groupSize / 32, () => {
            for (let step = 0; step < 8; step++) {
              w.forEach((weight, v) => {
                f.set(weight, v128.load(from, 32 * step + 16 * v));
              });
              integers.forEach((pair, i) => {
                f.set(t, v128.load32_splat(at[i], 4 * step));
                pair.forEach((integer, v) => {
                  f.set(integer, dot(integer, t, w[v]));
                });
              });
            }
            for (const address of at) f.advance(address, 32);
            f.advance(from, 256);
          });
          integers.forEach((pair, i) => {
            pair.forEach((integer, v) => {
              const scale = v128.load(scaleAt, 16 * v);
              f.set(totals[i][v], f32x4.relaxed_madd(f32x4.convert_i32x4_s(integer), scale, totals[i][v]));
            });
          });
          f.advance(scaleAt, 32);
        });
        totals.forEach((pair, i) => {
          const row = i32.add(i32.mul(i32.add(m, i), 4 * rows), i32.mul(n, 32));
          pair.forEach((total, v) => {
            f.emit(v128.store(row, total, out + 16 * v));
          });
        });
      });
    });
  });
}

/** f32 in panels of eight columns and tiles of 6 rows, with fused multiply-adds or a product and a sum. */
function gemmF32(fused: boolean, batch: number, rows: number, columns: number): KernelCase {
  const tiles = Math.ceil(batch / 6);
  const x = page;
  const weights = x + 24 * tiles * columns;
  const out = weights + 4 * rows * columns;
  const what = {
    ...{ op: `gemm f32, ${fused ? "fused" : "product and sum"}`, scheme: "f32", shape: `${batch}x${rows}x${columns}` },
    ...{ macs: batch * rows * columns, bytes: 4 * rows * columns },
  };
  return prototype(what, out + 24 * tiles * rows, (f) => {
    const [n, m, from] = f.locals("i32", 3);
    const t = f.local("v128");
    const w = f.locals("v128", 2);
    const at = f.locals("i32", 6);
    const sums = at.map(() => f.locals("v128", 2));
    f.for(n, 0, rows / 8, 1, () =>
      f.for(m, 0, 6 * tiles, 6, () => {
        f.set(from, i32.add(weights, i32.mul(n, 32 * columns)));
        at.forEach((address, i) => {
          f.set(address, i32.add(x, i32.mul(i32.add(m, i), 4 * columns)));
          for (const sum of sums[i]) f.set(sum, zero);
        });
        f.repeat(f.local("i32"), columns / 2, () => {
          for (let step = 0; step < 2; step++) {
            w.forEach((weight, v) => {
              f.set(weight, v128.load(from, 32 * step + 16 * v));
            });
            sums.forEach((pair, i) => {
              f.set(t, v128.load32_splat(at[i], 4 * step));
              pair.forEach((sum, v) => {
                f.set(sum, fused ? f32x4.relaxed_madd(t, w[v], sum) : f32x4.add(sum, f32x4.mul(t, w[v])));
              });
            });
          }
          for (const address of at) f.advance(address, 8);
          f.advance(from, 64);
        });
        sums.forEach((pair, i) => {
          const row = i32.add(i32.mul(i32.add(m, i), 4 * rows), i32.mul(n, 32));
          pair.forEach((sum, v) => {
            f.emit(v128.store(row, sum, out + 16 * v));
          });
        });
      }),
    );
  });
}

/** They need relaxed SIMD. */
export const prototypeCases: readonly KernelCase[] = [
  ...[2, 4, 6, 8].flatMap((streams) => [gemv(streams, 4096, 4096), gemv(streams, 196608, 4096)]),
  gemmInt4(128, 128, 2048, 2048),
  gemmInt4(32, 128, 2048, 2048),
  gemmF32(true, 512, 512, 512),
  gemmF32(false, 512, 512, 512),
];
