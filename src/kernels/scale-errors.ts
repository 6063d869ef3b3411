/**
 * What many scales and shifts would do to one group of weights, two of them in a vector: with w = m + s v, v the nearest of evenly
 * spaced levels, the sum over the group of h (x - w)^2, and the sums that the least-squares scale and shift for those v come from;
 * in binary64, one weight after another: the bits of the same loops in JavaScript, some ten times faster.
 */
import { createModule, type FunctionBuilder, type Local } from "./wasm/emitter.js";
import { f64, f64x2, i32, v128 } from "./wasm/instructions.js";

/** Levels first, first + step, ..., count of them. */
export interface EvenLevels {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

/** One number for each scale. */
export interface LevelSums {
  /** sum h v. */
  readonly v1: Float64Array;
  /** sum h v^2. */
  readonly v2: Float64Array;
  /** sum h x v. */
  readonly xv: Float64Array;
}

/** Of scales s (none 0) with shifts m, for the group in hand; what is given is valid until the next call. */
export interface ScaleErrors {
  /** Weights x of importance h. */
  take(x: Float32Array, h: Float64Array): void;
  /** sum h (x - w)^2, v = trunc((x - m) (1 / (s step)) + (0.5 - first / step)) steps from the first. */
  errors(levels: EvenLevels, scales: ArrayLike<number>, shifts: ArrayLike<number>): Float64Array;
  /** With v = Math.round(((x - m) / s - first) / step) steps from the first. */
  sums(levels: EvenLevels, scales: ArrayLike<number>, shifts: ArrayLike<number>): LevelSums;
}

/** Vectors of numbers that each pair of candidates has: m, 1 / (s step), 0.5 - first / step, s step, m + s first. */
const ERROR_FIELDS = 5;
/** m, s. */
const SUM_FIELDS = 2;
/** Pairs of candidates that pass over the weights together. */
const PAIRS = 2;
const TOGETHER = 2 * PAIRS;

let opened: ScaleErrors | undefined;

/** The kernel of this thread, compiled when it is asked for first. */
export function scaleErrors(): ScaleErrors {
  opened ??= openScaleErrors();
  return opened;
}

type Run = (count: number, tries: number, end: number, to: number, first: number, step: number, top: number) => void;

function openScaleErrors(): ScaleErrors {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(kernels()), { env: { memory } });
  let numbers = new Float64Array(memory.buffer);
  let count = 0;
  const reserve = (length: number) => {
    const missing = 8 * length - memory.buffer.byteLength;
    if (missing <= 0) return;
    memory.grow(Math.ceil(missing / 65536));
    numbers = new Float64Array(memory.buffer);
  };
  /** Runs a kernel; `fill` writes the fields of a candidate, two numbers apart. Where the results begin, and how many each has. */
  function run(
    kernel: "errors" | "sums",
    fields: number,
    { first, step, count: levels }: EvenLevels,
    tried: number,
    results: number,
    fill: (numbers: Float64Array, at: number, from: number) => void,
  ) {
    const candidates = TOGETHER * Math.ceil(tried / TOGETHER);
    const tries = 2 * count;
    const to = tries + fields * candidates;
    reserve(to + results * candidates);
    for (let i = 0; i < candidates; i++) {
      fill(numbers, tries + fields * (i - (i % 2)) + (i % 2), Math.min(i, tried - 1));
    }
    (exports[kernel] as Run)(16 * count, 8 * tries, 8 * to, 8 * to, first, step, levels - 1);
    return { to, candidates };
  }
  return {
    take(x, h) {
      count = x.length;
      reserve(2 * count);
      // Weights and importances in turn.
      for (let i = 0; i < count; i++) {
        numbers[2 * i] = x[i];
        numbers[2 * i + 1] = h[i];
      }
    },
    errors(levels, scales, shifts) {
      const { first, step } = levels;
      const { to } = run("errors", ERROR_FIELDS, levels, scales.length, 1, (fields, at, from) => {
        const [s, m] = [scales[from], shifts[from]];
        fields[at] = m;
        fields[at + 2] = 1 / (s * step);
        fields[at + 4] = 0.5 - first / step;
        fields[at + 6] = s * step;
        fields[at + 8] = m + s * first;
      });
      return numbers.subarray(to, to + scales.length);
    },
    sums(levels, scales, shifts) {
      const { to, candidates } = run("sums", SUM_FIELDS, levels, scales.length, 3, (fields, at, from) => {
        fields[at] = shifts[from];
        fields[at + 2] = scales[from];
      });
      const plane = (k: number) => numbers.subarray(to + k * candidates, to + k * candidates + scales.length);
      return { v1: plane(0), v2: plane(1), xv: plane(2) };
    },
  };
}

/** Bytes of weights, which stand at 0; candidates from and to; results; levels. */
const PARAMETERS = {
  ...({ count: "i32", tries: "i32", end: "i32", to: "i32" } as const),
  ...({ first: "f64", step: "f64", top: "f64" } as const),
};

function kernels(): Uint8Array<ArrayBuffer> {
  const m = createModule();
  m.func("errors", PARAMETERS, "void", (f, { count, tries, end, to, top }) => {
    const [zero, last] = [f.let(v128.const(new Uint8Array(16))), f.let(f64x2.splat(top))];
    eachPair(f, { tries, end, fields: ERROR_FIELDS, sums: 1, zero }, (pairs) => {
      eachWeight(f, count, (x, h) => {
        for (const { fields, sums } of pairs) {
          const [shift, inverse, half, width, origin] = fields;
          const place = f64x2.add(f64x2.mul(f64x2.sub(x, shift), inverse), half);
          const level = f64x2.trunc(f64x2.pmin(f64x2.pmax(zero, place), last));
          const e = f.let(f64x2.sub(f64x2.sub(x, origin), f64x2.mul(width, level)));
          f.set(sums[0], f64x2.add(sums[0], f64x2.mul(f64x2.mul(h, e), e)));
        }
      });
      pairs.forEach(({ sums }, pair) => {
        f.emit(v128.store(to, sums[0], 16 * pair));
      });
      f.set(to, i32.add(to, 16 * PAIRS));
    });
  });
  m.func("sums", PARAMETERS, "void", (f, { count, tries, end, to, first, step, top }) => {
    const [zero, last] = [f.let(v128.const(new Uint8Array(16))), f.let(f64x2.splat(top))];
    const [start, width] = [first, step].map((x) => f.let(f64x2.splat(x)));
    const [one, half] = [1, 0.5].map((x) => f.let(f64x2.splat(f64.const(x))));
    // Results of each sum lie together: one plane has as many bytes as a field of all candidates.
    const plane = f.let(i32.div_u(i32.sub(end, tries), SUM_FIELDS));
    eachPair(f, { tries, end, fields: SUM_FIELDS, sums: 3, zero }, (pairs) => {
      eachWeight(f, count, (x, h) => {
        const hx = f.let(f64x2.mul(h, x));
        for (const { fields, sums } of pairs) {
          const [shift, s] = fields;
          const place = f.let(f64x2.div(f64x2.sub(f64x2.div(f64x2.sub(x, shift), s), start), width));
          // Math.round: half a step goes up.
          const above = f.let(f64x2.ceil(place));
          const down = v128.and(f64x2.gt(f64x2.sub(above, half), place), one);
          const level = f64x2.pmin(f64x2.pmax(zero, f64x2.sub(above, down)), last);
          const v = f.let(f64x2.add(start, f64x2.mul(level, width)));
          const hv = f.let(f64x2.mul(h, v));
          f.set(sums[0], f64x2.add(sums[0], hv));
          f.set(sums[1], f64x2.add(sums[1], f64x2.mul(hv, v)));
          f.set(sums[2], f64x2.add(sums[2], f64x2.mul(hx, v)));
        }
      });
      const at = f.let(to);
      for (let sum = 0; sum < 3; sum++) {
        pairs.forEach(({ sums }, pair) => {
          f.emit(v128.store(at, sums[sum], 16 * pair));
        });
        f.set(at, i32.add(at, plane));
      }
      f.set(to, i32.add(to, 16 * PAIRS));
    });
  });
  return m.bytes();
}

interface Pair {
  readonly fields: readonly Local<"v128">[];
  readonly sums: readonly Local<"v128">[];
}

interface Tries {
  readonly tries: Local<"i32">;
  readonly end: Local<"i32">;
  readonly fields: number;
  readonly sums: number;
  readonly zero: Local<"v128">;
}

/** For every few pairs of candidates: their fields, and sums that are 0. */
function eachPair(f: FunctionBuilder, { tries, end, fields, sums, zero }: Tries, body: (pairs: Pair[]) => void): void {
  const at = f.local("i32");
  const several = (count: number, make: (i: number) => Local<"v128">) =>
    Array.from({ length: count }, (_, i) => make(i));
  f.for(at, tries, end, 16 * fields * PAIRS, () => {
    body(
      Array.from({ length: PAIRS }, (_, pair) => ({
        fields: several(fields, (field) => f.let(v128.load(at, 16 * (fields * pair + field)))),
        sums: several(sums, () => f.let(zero)),
      })),
    );
  });
}

function eachWeight(f: FunctionBuilder, count: Local<"i32">, body: (x: Local<"v128">, h: Local<"v128">) => void): void {
  const i = f.local("i32");
  f.for(i, 0, count, 16, () => {
    body(f.let(v128.load64_splat(i, 0)), f.let(v128.load64_splat(i, 8)));
  });
}
