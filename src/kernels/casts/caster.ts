/**
 * Casting arrays of any length with the generated kernels: the array is copied through WebAssembly memory in pieces that
 * stay in the caches, and with threads in larger ones that all of them share. Every result has the bytes of the reference (`encodeArray`, `quantize`, `dequantize`); where no
 * kernel can be generated, or where a value is to be refused, the reference itself does the work, and `plan` says so.
 */
import { InputError, UnsupportedError } from "../../errors.js";
import type { EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { type Codes, codeArray } from "../../formats/packing.js";
import type { Scheme } from "../../formats/scheme.js";
import { dequantize as dequantizeReference } from "../../tensor/dequantize.js";
import type { PackedTensor } from "../../tensor/packed.js";
import { quantize as quantizeReference } from "../../tensor/quantize.js";
import { elementCount } from "../../tensor/shape.js";
import { Engine } from "../wasm/engine.js";
import { detectFeatures } from "../wasm/features.js";
import { codesIn, decodePieces, encodePieces } from "./array-pieces.js";
import { CastKernels } from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";
import { decodePlan, dequantizePlan, encodePlan, quantizePlan } from "./plans.js";
import { type Path, pathOf } from "./scheme-plan.js";
import { dequantizePieces, quantizePieces } from "./tensor-pieces.js";

export interface CastPaths {
  readonly encode: Path;
  readonly decode: Path;
}

export interface Caster {
  /** Threads that work on large arrays, the calling one included. */
  readonly threads: number;
  /** The kernels over addresses, for data that lies in their memory already. */
  readonly kernels: CastKernels;
  /** How a format is encoded and decoded, or a scheme quantized and dequantized. */
  plan(formatOrScheme: NumberFormat | Scheme, options?: EncodeOptions): CastPaths;
  /** The codes of `values`, one element each; the same as `encodeArray`. `out` holds at least as many. */
  encode(format: NumberFormat, values: Float32Array, out?: Codes, options?: EncodeOptions): Codes;
  /** The values of `codes` in f32; the same as `decodeArray`. */
  decode(format: NumberFormat, codes: Codes, out?: Float32Array): Float32Array;
  /** The same tensor as `quantize` of bitloom/tensor. */
  quantize(values: Float32Array, shape: readonly number[], scheme: Scheme): PackedTensor;
  /** The same values as `dequantize` of bitloom/tensor. */
  dequantize(packed: PackedTensor, out?: Float32Array): Float32Array;
  /** The values that a format or scheme makes of `values`: quantized and dequantized. */
  roundTrip(formatOrScheme: NumberFormat | Scheme, values: Float32Array, shape?: readonly number[]): Float32Array;
  /** Gives memory and threads back. The caster must not be used afterwards. */
  dispose(): Promise<void>;
}

/** A caster whose large arrays several threads share, with room for arrays that need no copying. */
export interface ThreadedCaster extends Caster {
  /**
   * An array of zeros in the memory that the threads share. Copying arrays in and out of it takes longer than casting them, so
   * what is worth threads should lie here.
   */
  allocateValues(length: number): Float32Array;
  /** The same for unpacked codes of a format. */
  allocateCodes(format: NumberFormat, length: number): Codes;
  /** Gives the room of such an array back; false if it is none. */
  free(array: Float32Array | Codes): boolean;
}

const isScheme = (record: NumberFormat | Scheme): record is Scheme => "quantize" in record;

/** A caster with a WebAssembly memory of its own. It runs on the calling thread. */
export const createCaster = (): Caster => casterOf(new CastKernels());

/**
 * A caster whose large arrays `threads` threads share, the calling one included; the same bytes for any number. Small
 * arrays stay on the calling thread. UnsupportedError where memory cannot be shared.
 */
export async function createThreadedCaster(threads: number): Promise<ThreadedCaster> {
  if (!Number.isInteger(threads) || threads < 2) {
    throw new InputError(`${threads} is no number of threads to share`, { why: "wanted an integer from 2" });
  }
  if (!detectFeatures().threads) {
    throw new UnsupportedError("this engine has no shared memory", {
      kind: "no-engine-feature",
      try: "createCaster(), or in a browser a page that is cross-origin isolated",
    });
  }
  const engine = await Engine.start({ threads });
  const kernels = new CastKernels(engine.heap, engine.limits, engine);
  const room = (bytes: number) => {
    const { buffer, address } = kernels.allocate(bytes);
    return new Uint8Array(buffer, address, bytes).fill(0);
  };
  return {
    ...casterOf(kernels, engine),
    allocateValues: (length) => {
      const { buffer, byteOffset } = room(4 * length);
      return new Float32Array(buffer, byteOffset, length);
    },
    allocateCodes: (format, length) => codesIn(room(codeBytes(format.bits) * length), codeBytes(format.bits)),
    free: (array) => kernels.addressOf(array) !== undefined && kernels.heap.free(array.byteOffset),
  };
}

function casterOf(kernels: CastKernels, engine?: Engine): Caster {
  const encode: Caster["encode"] = (format, values, out, options = {}) => {
    const codes = out ?? codeArray(format.bits, values.length);
    encodePieces(kernels, format, values, codes, options);
    return codes;
  };
  const decodeAll: Caster["decode"] = (format, codes, out) => {
    const values = out ?? new Float32Array(codes.length);
    decodePieces(kernels, format, codes, values);
    return values;
  };
  const quantize: Caster["quantize"] = (values, shape, scheme) =>
    quantizePieces(kernels, scheme, values, shape) ?? quantizeReference(values, shape, scheme);
  const dequantize: Caster["dequantize"] = (packed, out) => {
    const values = out ?? new Float32Array(elementCount(packed.shape));
    if (!dequantizePieces(kernels, packed, values)) values.set(dequantizeReference(packed));
    return values;
  };
  return {
    kernels,
    threads: engine?.threads ?? 1,
    plan: (record, options) =>
      isScheme(record)
        ? { encode: pathOf(quantizePlan(record)), decode: pathOf(elementOf(dequantizePlan(record))) }
        : { encode: pathOf(encodePlan(record, options)), decode: pathOf(decodePlan(record)) },
    encode,
    decode: decodeAll,
    quantize,
    dequantize,
    roundTrip: (record, values, shape = [values.length]) =>
      isScheme(record) ? dequantize(quantize(values, shape, record)) : decodeAll(record, encode(record, values)),
    dispose: async () => {
      kernels.dispose();
      await engine?.dispose();
    },
  };
}

const elementOf = (plan: ReturnType<typeof dequantizePlan>) => (plan.kind === "reference" ? plan : plan.element);
