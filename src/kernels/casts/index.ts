/**
 * Casts at native speed: f32 to codes and back, and whole block schemes, by WebAssembly SIMD modules generated for the
 * format at run time. Arrays live in the casts' own memory (`floats`, `bytes`), so nothing is copied. Results are those of
 * src/formats bit for bit, errors included; what has no kernel runs there, and the answer says so.
 */
import { InputError, NumericError, UnsupportedError } from "../../errors.js";
import {
  arrayEncoder,
  decodeArray,
  type EncodeOptions,
  isDeterministic,
  type NumberFormat,
  type Planes,
  type Scheme,
} from "../../formats/index.js";
import { createModule, type ModuleBuilder } from "../wasm/emitter.js";
import { detectFeatures } from "../wasm/features.js";
import { i16x8, i32, i32x4, v128 } from "../wasm/instructions.js";
import { BLOCK, defineBlockKernel, hasBlockKernel, powerTable } from "./blocks.js";
import { decodesInLanes, laneDecoder } from "./decode.js";
import { type LaneEncoding, laneEncoder, laneEncoding } from "./encode.js";
import { narrowBytes, narrowWords } from "./pack.js";

/** Who did the work: a generated kernel, or the TypeScript of src/formats where there is none. */
export type CastPath = "wasm" | "typescript";

export interface Casts {
  /** `count` f32 in the casts' memory. RangeError-free: InputError when the memory is full. */
  floats(count: number): Float32Array;
  /** `count` bytes in the casts' memory. */
  bytes(count: number): Uint8Array;
  /** One byte (or 16-bit word, for 9 to 16 bits) for each value; `codes` are bytes of this memory. */
  encode(format: NumberFormat, values: Float32Array, codes: Uint8Array, options?: EncodeOptions): CastPath;
  decode(format: NumberFormat, codes: Uint8Array, out: Float32Array): CastPath;
  /** Fills planes whose bytes lie in this memory. */
  quantize(scheme: Scheme, values: Float32Array, rows: number, columns: number, planes: Planes): CastPath;
  /** Forgets all arrays; their memory is given out again. */
  reset(): void;
}

type Kernel = (from: number, to: number, count: number) => number;
type BlockKernel = (from: number, codes: number, scales: number, blocks: number, table: number) => number;

/** Memory of `bytes` for arrays. UnsupportedError where the engine has no SIMD. */
export function createCasts(bytes: number): Casts {
  if (!detectFeatures().simd)
    throw new UnsupportedError("this engine has no WebAssembly SIMD", { try: "src/formats in plain TypeScript" });
  const pages = Math.ceil(bytes / 65536) + 2;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const limits = { initialPages: 1, maximumPages: pages };
  const kernels = new Map<string, (...operands: number[]) => number>();
  let used = RESERVED;

  const allocate = (count: number) => {
    const address = used;
    if (address + count <= memory.buffer.byteLength) {
      used = (address + count + 63) & ~63;
      return address;
    }
    throw new InputError(`the casts' memory of ${bytes} bytes is full`, {
      try: "more bytes for createCasts, or reset()",
    });
  };
  const kernel = (key: string, define: (m: ModuleBuilder) => void) => {
    let found = kernels.get(key);
    if (!found) {
      const m = createModule(limits);
      define(m);
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes()), { env: { memory } });
      found = Object.values(exports)[0] as (...operands: number[]) => number;
      kernels.set(key, found);
    }
    return found;
  };
  const check = (array: Uint8Array | Float32Array, what: string) => {
    if (array.buffer !== memory.buffer)
      throw new InputError(`${what} do not lie in the casts' memory`, { try: "floats() and bytes()" });
    return array.byteOffset;
  };

  return {
    floats: (count) => new Float32Array(memory.buffer, allocate(4 * count), count),
    bytes: (count) => new Uint8Array(memory.buffer, allocate(count), count),
    encode(format, values, codes, options = {}) {
      const [from, to] = [check(values, "values"), check(codes, "codes")];
      const encoding = isDeterministic(options.rounding) ? laneEncoding(format, options) : undefined;
      const whole = encoding ? values.length - (values.length % 16) : 0;
      if (encoding) {
        const key = `encode ${format.name} ${options.rounding} ${options.overflow}`;
        const run = kernel(key, (m) => defineEncoder(m, encoding)) as Kernel;
        if (run(from, to, whole) && !hasNaN(encoding)) throw new NumericError(`${format.name} has no NaN`);
      }
      const unpacked = format.bits <= 8 ? codes : new Uint16Array(memory.buffer, to, codes.length / 2);
      arrayEncoder(format, options)(values, whole, values.length - whole, unpacked, whole);
      return encoding ? "wasm" : "typescript";
    },
    decode(format, codes, out) {
      const [from, to] = [check(codes, "codes"), check(out, "values")];
      const lanes = decodesInLanes(format);
      const whole = lanes ? out.length - (out.length % 16) : 0;
      if (lanes) (kernel(`decode ${format.name}`, (m) => defineDecoder(m, format)) as Kernel)(from, to, whole);
      const unpacked = format.bits <= 8 ? codes : new Uint16Array(memory.buffer, from, codes.length / 2);
      decodeArray(format, unpacked.subarray(whole, out.length), out, whole, out.length - whole);
      return lanes ? "wasm" : "typescript";
    },
    quantize(scheme, values, rows, columns, planes) {
      if (!hasBlockKernel(scheme) || columns % BLOCK !== 0) {
        scheme.quantize(scheme, values, rows, columns, planes);
        return "typescript";
      }
      const run = kernel(`quantize ${scheme.name}`, (m) => defineBlockKernel(m, scheme)) as BlockKernel;
      if (scheme.lowering?.kind === "power-of-two")
        new Int32Array(memory.buffer, 0, 256).set(powerTable(scheme.lowering)!);
      const blocks = (rows * columns) / BLOCK;
      const done = run(
        check(values, "values"),
        check(planes.codes, "codes"),
        check(planes.scales!, "scales"),
        blocks,
        0,
      );
      // A block that a kernel leaves is one that the rule refuses, with an error that says why.
      if (done < blocks) scheme.quantize(scheme, values, rows, columns, planes);
      return done < blocks ? "typescript" : "wasm";
    },
    reset() {
      used = RESERVED;
    },
  };
}

/** The first bytes hold a rule's table of scales. */
const RESERVED = 1024;

const hasNaN = (encoding: LaneEncoding) => encoding.kind === "minifloat" && encoding.format.nonFinite !== "none";

/** encode(from, to, count): codes of 16 values at a time; returns whether there was a NaN. */
function defineEncoder(m: ModuleBuilder, encoding: LaneEncoding): void {
  const words = encoding.format.bits > 8;
  m.func("encode", { from: "i32", to: "i32", count: "i32" }, "i32", (f, { from, to, count }) => {
    const [seen, x] = f.locals("v128", 2);
    const i = f.local("i32");
    const encodeLanes = laneEncoder(f, encoding, seen);
    const part = (k: number) => {
      f.set(x, v128.load(from, 16 * k));
      return encodeLanes(x);
    };
    f.for(i, 0, count, 16, () => {
      if (words)
        for (const k of [0, 2])
          f.emit(
            v128.store(
              to,
              narrowWords(f, (j) => part(k + j)),
              8 * k,
            ),
          );
      else f.emit(v128.store(to, narrowBytes(f, part)));
      f.advance(from, 64);
      f.advance(to, words ? 32 : 16);
    });
    return v128.any_true(i32x4.gt_s(seen, i32x4.splat(0x7f800000)));
  });
}

/** decode(from, to, count): values of 16 codes at a time. */
function defineDecoder(m: ModuleBuilder, format: NumberFormat): void {
  const words = format.bits > 8;
  m.func("decode", { from: "i32", to: "i32", count: "i32" }, "i32", (f, { from, to, count }) => {
    const codes = f.local("v128");
    const i = f.local("i32");
    const decodeLanes = laneDecoder(f, format);
    f.for(i, 0, count, 16, () => {
      for (let k = 0; k < 4; k++) {
        f.set(
          codes,
          words
            ? v128.load16x4_u(from, 8 * k)
            : i32x4.extend_low_i16x8_u(i16x8.extend_low_i8x16_u(v128.load32_zero(from, 4 * k))),
        );
        f.emit(v128.store(to, decodeLanes(codes), 16 * k));
      }
      f.advance(from, words ? 32 : 16);
      f.advance(to, 64);
    });
    return i32.const(0);
  });
}
