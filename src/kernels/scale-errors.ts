/**
 * What many scales and shifts would cost one group of weights, two of them in a vector: the sum over the group of
 *
 *     h (x - w)^2,   w = m + s v,   v the nearest of evenly spaced levels,
 *
 * in binary64, one weight after another: the bits of the same loop in JavaScript, some ten times faster.
 */
import { createModule, type Local } from "./wasm/emitter.js";
import { f64x2, i32, v128 } from "./wasm/instructions.js";

/** Levels first, first + step, ..., count of them. */
export interface EvenLevels {
  readonly first: number;
  readonly step: number;
  readonly count: number;
}

export interface ScaleErrors {
  /** The errors of scales s (none 0) with shifts m for weights x of importance h; valid until the next call. */
  of(
    x: Float32Array,
    h: Float64Array,
    levels: EvenLevels,
    scales: ArrayLike<number>,
    shifts: ArrayLike<number>,
  ): Float64Array;
}

/** Vectors of numbers that each pair of candidates has: m, 1 / (s step), 0.5 - first / step, s step, m + s first. */
const FIELDS = 5;
/** Pairs of candidates that pass over the weights together. */
const PAIRS = 2;

let opened: ScaleErrors | undefined;

/** The kernel of this thread, compiled when it is asked for first. */
export function scaleErrors(): ScaleErrors {
  opened ??= openScaleErrors();
  return opened;
}

function openScaleErrors(): ScaleErrors {
  const memory = new WebAssembly.Memory({ initial: 1 });
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(kernel()), { env: { memory } });
  const run = exports.run as (count: number, tries: number, end: number, sums: number, top: number) => void;
  let numbers = new Float64Array(memory.buffer);
  return {
    of(x, h, { first, step, count: levels }, scales, shifts) {
      const count = x.length;
      const together = 2 * PAIRS;
      const candidates = together * Math.ceil(scales.length / together);
      const [tries, sums] = [2 * count, 2 * count + FIELDS * candidates];
      const missing = 8 * (sums + candidates) - memory.buffer.byteLength;
      if (missing > 0) {
        memory.grow(Math.ceil(missing / 65536));
        numbers = new Float64Array(memory.buffer);
      }
      // Weights and importances in turn.
      for (let i = 0; i < count; i++) {
        numbers[2 * i] = x[i];
        numbers[2 * i + 1] = h[i];
      }
      for (let i = 0; i < candidates; i++) {
        const from = Math.min(i, scales.length - 1);
        const [s, m] = [scales[from], shifts[from]];
        const at = tries + FIELDS * (i - (i % 2)) + (i % 2);
        numbers[at] = m;
        numbers[at + 2] = 1 / (s * step);
        numbers[at + 4] = 0.5 - first / step;
        numbers[at + 6] = s * step;
        numbers[at + 8] = m + s * first;
      }
      run(16 * count, 8 * tries, 8 * sums, 8 * sums, levels - 1);
      return numbers.subarray(sums, sums + scales.length);
    },
  };
}

/** run(bytes of weights, candidates from and to, sums, top level); weights stand at 0. */
function kernel(): Uint8Array<ArrayBuffer> {
  const m = createModule();
  const parameters = { count: "i32", tries: "i32", end: "i32", sums: "i32", top: "f64" } as const;
  m.func("run", parameters, "void", (f, { count, tries, end, sums, top }) => {
    const last = f.let(f64x2.splat(top));
    const zero = f.let(v128.const(new Uint8Array(16)));
    const [at, i] = f.locals("i32", 2);
    f.for(at, tries, end, 16 * FIELDS * PAIRS, () => {
      const pairs = Array.from({ length: PAIRS }, (_, pair) => ({
        fields: Array.from({ length: FIELDS }, (_, field) => f.let(v128.load(at, 16 * (FIELDS * pair + field)))),
        sum: f.let(zero),
      }));
      f.for(i, 0, count, 16, () => {
        const x = f.let(v128.load64_splat(i, 0));
        const h = f.let(v128.load64_splat(i, 8));
        for (const { fields, sum } of pairs) {
          const [shift, inverse, half, width, origin] = fields as readonly Local<"v128">[];
          const place = f64x2.add(f64x2.mul(f64x2.sub(x, shift), inverse), half);
          const level = f64x2.trunc(f64x2.pmin(f64x2.pmax(zero, place), last));
          const e = f.let(f64x2.sub(f64x2.sub(x, origin), f64x2.mul(width, level)));
          f.set(sum, f64x2.add(sum, f64x2.mul(f64x2.mul(h, e), e)));
        }
      });
      pairs.forEach(({ sum }, pair) => {
        f.emit(v128.store(sums, sum, 16 * pair));
      });
      f.set(sums, i32.add(sums, 16 * PAIRS));
    });
  });
  return m.bytes();
}
