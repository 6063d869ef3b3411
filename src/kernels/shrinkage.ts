/**
 * One step of half-quadratic splitting over a group of weights (quantize/hqq.ts): errors to the nearest of evenly spaced levels,
 * their p-norm, and the sum that the next shift comes from. Two weights in a vector, sums in order: the bits of the
 * same loop in JavaScript, in a third of the time.
 */
import { createModule, type Expression, type FunctionBuilder, type Local } from "./wasm/emitter.js";
import { f32x4, f64, f64x2, i8x16, i32, i32x4, v128 } from "./wasm/instructions.js";

/** |x|^p by straight lines (a, b): a + b |x| for the x whose f32 bits, shifted right by 15, are `first`, `first` + 1, ... */
export interface PowerLines {
  readonly lines: Float64Array;
  readonly first: number;
}

export interface ShrinkageSums {
  /** sum |e|^p, e in steps of the scale. */
  readonly cost: number;
  /** sum of s (e - e'), e' the thresholded error. */
  readonly rest: number;
}

export interface Shrinkage {
  /** The weights in hand; an even number. */
  take(x: Float32Array): void;
  /**
   * For w = s v + m: u = (x - m) / s, v the nearest of `count` levels first, first + step, ..., e = u - v and
   * e' = e max(0, 1 - |e|^p / (beta (e^2 + least))). Undefined if an error lies beyond the lines.
   */
  run(s: number, m: number, beta: number): ShrinkageSums | undefined;
}

/** Levels and lines are fixed. */
export function openShrinkage(
  { first, step, count }: { readonly first: number; readonly step: number; readonly count: number },
  { lines, first: firstLine }: PowerLines,
): Shrinkage {
  const memory = new WebAssembly.Memory({ initial: 1 + Math.ceil((8 * lines.length + TABLE) / 65536) });
  const { exports } = new WebAssembly.Instance(compiled(), { env: { memory } });
  const run = exports.run as (...numbers: number[]) => number;
  const start = TABLE + 8 * lines.length;
  let numbers = new Float64Array(memory.buffer);
  numbers.set(lines, TABLE / 8);
  let bytes = 0;
  const last = lines.length / 2 - 1;
  return {
    take(x) {
      bytes = 8 * x.length;
      const missing = start + bytes - memory.buffer.byteLength;
      if (missing > 0) {
        memory.grow(Math.ceil(missing / 65536));
        numbers = new Float64Array(memory.buffer);
      }
      numbers.set(x, start / 8);
    },
    run(s, m, beta) {
      const beyond = run(
        start,
        start + bytes,
        s,
        m,
        1 / s,
        first,
        step,
        1 / step,
        count - 1,
        1 / beta,
        firstLine,
        last,
      );
      if (beyond > last) return undefined;
      return { rest: numbers[0], cost: numbers[1] };
    },
  };
}

/** Sums stand at 0; a line of zeros, for errors below the first, before the others. */
const TABLE = 32;

let known: WebAssembly.Module | undefined;

function compiled(): WebAssembly.Module {
  known ??= new WebAssembly.Module(code());
  return known;
}

function code(): Uint8Array<ArrayBuffer> {
  const m = createModule();
  const parameters = {
    ...({ from: "i32", to: "i32", s: "f64", m: "f64", inverse: "f64", first: "f64", step: "f64" } as const),
    ...({ perStep: "f64", top: "f64", perBeta: "f64", firstLine: "i32", last: "i32" } as const),
  };
  m.func("run", parameters, "i32", (f, given) => {
    const spread = (value: Expression<"f64">) => f.let(f64x2.splat(value));
    const [s, shift, inverse, first] = [given.s, given.m, given.inverse, given.first].map(spread);
    const [step, perStep, top, perBeta] = [given.step, given.perStep, given.top, given.perBeta].map(spread);
    const [half, one, least] = [0.5, 1, Number.MIN_VALUE].map((value) => spread(f64.const(value)));
    const zero = f.let(i32x4.splat(0));
    const [sums, most] = [f.let(zero), f.let(zero)];
    const i = f.local("i32");
    f.for(i, given.from, given.to, 16, () => {
      const x = f.let(v128.load(i));
      const u = f.let(f64x2.mul(f64x2.sub(x, shift), inverse));
      const place = f64x2.add(f64x2.mul(f64x2.sub(u, first), perStep), half);
      const level = f64x2.trunc(f64x2.pmin(f64x2.pmax(zero, place), top));
      const v = f.let(f64x2.add(first, f64x2.mul(level, step)));
      const e = f.let(f64x2.sub(u, v));
      const size = f.let(f64x2.abs(e));
      const bits = i32x4.shr_s(f32x4.demote_f64x2_zero(size), 15);
      const line = f.let(i32x4.max_s(i32x4.sub(bits, i32x4.splat(given.firstLine)), i32x4.splat(-1)));
      f.set(most, i32x4.max_s(most, line));
      const raised = f.let(onLines(f, f.let(i32x4.min_s(line, i32x4.splat(given.last))), size));
      const threshold = f64x2.div(f64x2.mul(raised, perBeta), f64x2.add(f64x2.mul(e, e), least));
      const left = f.let(f64x2.sub(one, threshold));
      const kept = f.let(f64x2.mul(e, f64x2.mul(half, f64x2.add(left, f64x2.abs(left)))));
      addInOrder(f, sums, f.let(f64x2.mul(f64x2.sub(e, kept), s)), raised);
    });
    f.emit(v128.store(i32.const(0), sums));
    const [a, b] = [0, 1].map((lane) => f.let(i32x4.extract_lane(most, lane)));
    return f.let(i32x4.extract_lane(f.let(i32x4.max_s(i32x4.splat(a), i32x4.splat(b))), 0));
  });
  return m.bytes();
}

const LOW = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];
const HIGH = LOW.map((byte) => byte + 8);

/** a + b size of the lines with these numbers. */
function onLines(f: FunctionBuilder, line: Local<"v128">, size: Local<"v128">): Expression<"v128"> {
  const [left, right] = [0, 1].map((lane) =>
    f.let(v128.load(i32.add(i32.shl(i32x4.extract_lane(line, lane), 4), TABLE))),
  );
  return f64x2.add(i8x16.shuffle(left, right, LOW), f64x2.mul(i8x16.shuffle(left, right, HIGH), size));
}

/** Both sums of `sums`, of a and of b, go through the lanes one after the other. */
function addInOrder(f: FunctionBuilder, sums: Local<"v128">, a: Local<"v128">, b: Local<"v128">): void {
  f.set(sums, f64x2.add(f64x2.add(sums, i8x16.shuffle(a, b, LOW)), i8x16.shuffle(a, b, HIGH)));
}
