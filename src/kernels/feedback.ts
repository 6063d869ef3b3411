/**
 * What rounding did to the columns of a block, taken off a column that is still to be rounded, for all rows of a matrix: the inner
 * loop of methods that round columns in turn. w -= f_k e_k for one k after another, in binary64, rounded to f32 each time: the bits
 * of the same loop in JavaScript, some eight times faster.
 */
import { createModule, type FunctionBuilder, type Local } from "./wasm/emitter.js";
import { f32x4, f64, f64x2, i8x16, i32, v128 } from "./wasm/instructions.js";

export interface Feedback {
  /** [columns of a block, stride], to be filled from row 0 of the matrix on. */
  readonly errors: Float32Array;
  /** Numbers from one column's errors to the next's. */
  readonly stride: number;
  /** One for each column of a block. */
  readonly factors: Float64Array;
  /** w - sum of factors[k] errors[k] over the first `count` columns, in place; at most `stride` numbers. */
  takeOff(w: Float32Array, count: number): void;
}

/** Rows that pass over the columns together: enough sums that do not wait for each other. */
const QUADS = 4;

/** Room for a block of columns of a matrix of `rows` rows, until this thread asks for the next. */
export function openFeedback(rows: number, block: number): Feedback {
  const stride = 4 * QUADS * Math.ceil(rows / (4 * QUADS));
  const [errorsAt, columnAt] = [8 * block, 8 * block + 4 * block * stride];
  const { memory, takeOff } = kernelWith(columnAt + 4 * stride);
  const column = new Float32Array(memory.buffer, columnAt, stride);
  return {
    errors: new Float32Array(memory.buffer, errorsAt, block * stride),
    stride,
    factors: new Float64Array(memory.buffer, 0, block),
    takeOff(w, count) {
      column.set(w);
      takeOff(columnAt, 4 * stride, errorsAt, count);
      w.set(column.subarray(0, w.length));
    },
  };
}

interface Kernel {
  readonly memory: WebAssembly.Memory;
  takeOff(column: number, bytes: number, errors: number, count: number): void;
}

let opened: Kernel | undefined;

/** The kernel of this thread with at least so much memory. */
function kernelWith(bytes: number): Kernel {
  if (!opened) {
    const memory = new WebAssembly.Memory({ initial: 1 });
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code()), { env: { memory } });
    opened = { memory, takeOff: exports.takeOff as Kernel["takeOff"] };
  }
  const { memory } = opened;
  const missing = bytes - memory.buffer.byteLength;
  if (missing > 0) memory.grow(Math.ceil(missing / 65536));
  return opened;
}

const HIGH = [8, 9, 10, 11, 12, 13, 14, 15, 8, 9, 10, 11, 12, 13, 14, 15];
const LOW_OF_BOTH = [0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23];

function code(): Uint8Array<ArrayBuffer> {
  const m = createModule();
  m.func("takeOff", { column: "i32", bytes: "i32", errors: "i32", count: "i32" }, "void", (f, args) => {
    const { column, bytes, errors, count } = args;
    const end = f.let(i32.add(column, bytes));
    const from = f.let(errors);
    const at = f.let(column);
    f.for(at, column, end, 16 * QUADS, () => {
      emitRows(f, at, from, bytes, count);
      f.advance(from, 16 * QUADS);
    });
  });
  return m.bytes();
}

/** Some rows of a column; `from`: their errors in the first column of the block. */
function emitRows(
  f: FunctionBuilder,
  at: Local<"i32">,
  from: Local<"i32">,
  bytes: Local<"i32">,
  count: Local<"i32">,
): void {
  const w = Array.from({ length: QUADS }, (_, quad) => halvesOf(f, f.let(v128.load(at, 16 * quad))));
  const [k, errors] = [f.local("i32"), f.let(from)];
  const factor = f.local("v128");
  f.for(k, 0, i32.shl(count, 3), 8, () => {
    f.set(factor, v128.load64_splat(k));
    // Nothing is taken off, not even a zero that could change a sign.
    f.if(f64.ne(f64x2.extract_lane(factor, 0), 0), () => {
      for (const [quad, halves] of w.entries()) {
        for (const [i, e] of halvesOf(f, f.let(v128.load(errors, 16 * quad))).entries()) {
          const rest = f64x2.sub(halves[i], f64x2.mul(factor, e));
          f.set(halves[i], f64x2.promote_low_f32x4(f32x4.demote_f64x2_zero(rest)));
        }
      }
    });
    f.advance(errors, bytes);
  });
  for (const [quad, [low, high]] of w.entries()) {
    const both = i8x16.shuffle(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), LOW_OF_BOTH);
    f.emit(v128.store(at, both, 16 * quad));
  }
}

/** Four f32 as two times two f64. */
function halvesOf(f: FunctionBuilder, x: Local<"v128">): readonly Local<"v128">[] {
  return [f.let(f64x2.promote_low_f32x4(x)), f.let(f64x2.promote_low_f32x4(i8x16.shuffle(x, x, HIGH)))];
}
