/**
 * The inner loops of factorising a symmetric matrix and of inverting its triangular factor, in binary64: four rows or columns pass
 * over the rest of the matrix together, two numbers in a vector. The matrix lies in the kernel's own memory.
 */
import { createModule, type Expression, type FunctionBuilder, type Local } from "./wasm/emitter.js";
import { f64, f64x2, i32, v128 } from "./wasm/instructions.js";

/** Rows or columns of a block. */
export const TRIANGULAR_BLOCK = 4;

export interface TriangularKernel {
  /** [n, n], row-major, to be filled and read. */
  readonly matrix: Float64Array;
  /** [4, n], for `takeOffBelow`. */
  readonly factors: Float64Array;
  /** a_ij -= sum_{k >= end} a_ik a_jk for j = end - 4 .. end - 1 and all i < end. */
  takeOffLater(end: number): void;
  /** a_ij -= sum_{k >= end} factor_ik a_kj for i = end - 4 .. end - 1 and all j >= end, where a_kj = 0 below the diagonal. */
  takeOffBelow(end: number): void;
}

/** Room for a matrix of n x n; n - end must be a multiple of 4 in all calls. */
export function openTriangular(n: number): TriangularKernel {
  const numbers = n * n + TRIANGULAR_BLOCK * n;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((8 * numbers) / 65536) });
  const { exports } = new WebAssembly.Instance(compiled(), { env: { memory } });
  const run = exports as Record<"later" | "below", (n: number, end: number) => void>;
  return {
    matrix: new Float64Array(memory.buffer, 0, n * n),
    factors: new Float64Array(memory.buffer, 8 * n * n, TRIANGULAR_BLOCK * n),
    takeOffLater: (end) => run.later(n, end),
    takeOffBelow: (end) => run.below(n, end),
  };
}

let known: WebAssembly.Module | undefined;

function compiled(): WebAssembly.Module {
  known ??= new WebAssembly.Module(code());
  return known;
}

const FOUR = [0, 1, 2, 3];

function code(): Uint8Array<ArrayBuffer> {
  const m = createModule();
  m.func("later", { n: "i32", end: "i32" }, "void", (f, { n, end }) => {
    const row = f.let(i32.shl(n, 3));
    const first = f.let(i32.sub(end, TRIANGULAR_BLOCK));
    const block = FOUR.map((c) => f.let(i32.mul(i32.add(first, c), row)));
    const even = f.let(i32.and(end, -2));
    const i = f.local("i32");
    const both = (rows: number) => later(f, { i, row, block, first, n, end }, rows);
    f.for(i, 0, even, 2, () => both(2));
    f.for(i, even, end, 1, () => both(1));
  });
  m.func("below", { n: "i32", end: "i32" }, "void", (f, { n, end }) => {
    const row = f.let(i32.shl(n, 3));
    const factors = f.let(i32.mul(n, row));
    const [j, k] = f.locals("i32", 2);
    const at = f.local("i32");
    const from = f.local("i32");
    f.for(j, end, n, 4, () => {
      const target = f.let(i32.add(i32.mul(i32.sub(end, TRIANGULAR_BLOCK), row), i32.shl(j, 3)));
      const rows = FOUR.map((r) => (r === 0 ? target : f.let(i32.add(target, i32.mul(row, r)))));
      const sums = rows.map((address) => [0, 16].map((offset) => f.let(v128.load(address, offset))));
      f.set(at, i32.add(i32.mul(end, row), i32.shl(j, 3)));
      f.set(from, i32.add(factors, i32.shl(end, 3)));
      const last = f.let(i32.add(j, 4));
      f.for(k, end, last, 1, () => {
        const below = [0, 16].map((offset) => f.let(v128.load(at, offset)));
        sums.forEach((pair, r) => {
          const place = r === 0 ? from : i32.add(from, i32.mul(row, r));
          const factor = f.let(v128.load64_splat(place));
          for (const [v, sum] of pair.entries()) f.set(sum, f64x2.sub(sum, f64x2.mul(factor, below[v])));
        });
        f.set(at, i32.add(at, row));
        f.set(from, i32.add(from, 8));
      });
      for (const [r, pair] of sums.entries()) {
        for (const [v, sum] of pair.entries()) f.emit(v128.store(rows[r], sum, 16 * v));
      }
    });
  });
  return m.bytes();
}

interface Later {
  readonly i: Local<"i32">;
  readonly row: Local<"i32">;
  readonly block: readonly Local<"i32">[];
  readonly first: Local<"i32">;
  readonly n: Local<"i32">;
  readonly end: Local<"i32">;
}

/** One or two rows i against the four of the block. */
function later(f: FunctionBuilder, { i, row, block, first, n, end }: Later, rows: number): void {
  const own = Array.from({ length: rows }, (_, r) => f.let(i32.mul(i32.add(i, r), row)));
  const sums = own.map(() => block.map(() => f.let(v128.const(new Uint8Array(16)))));
  const k = f.local("i32");
  f.for(k, i32.shl(end, 3), i32.shl(n, 3), 16, () => {
    const left = own.map((address) => f.let(v128.load(i32.add(address, k))));
    block.forEach((address, c) => {
      const right = f.let(v128.load(i32.add(address, k)));
      for (const [r, some] of sums.entries()) f.set(some[c], f64x2.add(some[c], f64x2.mul(left[r], right)));
    });
  });
  own.forEach((address, r) => {
    const place = f.let(i32.add(address, i32.shl(first, 3)));
    for (const c of FOUR) f.emit(f64.store(place, f64.sub(f64.load(place, 8 * c), total(sums[r][c])), 8 * c));
  });
}

const total = (sum: Local<"v128">): Expression<"f64"> =>
  f64.add(f64x2.extract_lane(sum, 0), f64x2.extract_lane(sum, 1));
