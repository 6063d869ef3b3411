/**
 * Casting arrays of any length with the generated kernels: the array is copied through WebAssembly memory in pieces that
 * stay in the caches. Every result has the bytes of the reference (`encodeArray`, `quantize`, `dequantize`); where no
 * kernel can be generated, or where a value is to be refused, the reference itself does the work, and `plan` says so.
 */
import type { EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { type Codes, codeArray } from "../../formats/packing.js";
import type { Scheme } from "../../formats/scheme.js";
import { dequantize as dequantizeReference } from "../../tensor/dequantize.js";
import type { PackedTensor } from "../../tensor/packed.js";
import { quantize as quantizeReference } from "../../tensor/quantize.js";
import { elementCount } from "../../tensor/shape.js";
import { decodePieces, encodePieces } from "./array-pieces.js";
import { CastKernels, decodePlan, dequantizePlan, encodePlan, quantizePlan } from "./cast-kernels.js";
import { type Path, pathOf } from "./scheme-plan.js";
import { dequantizePieces, quantizePieces } from "./tensor-pieces.js";

export interface CastPaths {
  readonly encode: Path;
  readonly decode: Path;
}

export interface Caster {
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
  /** Gives the memory back. The caster must not be used afterwards. */
  dispose(): void;
}

const isScheme = (record: NumberFormat | Scheme): record is Scheme => "quantize" in record;

/** A caster with a WebAssembly memory of its own. It runs on the calling thread. */
export function createCaster(): Caster {
  const kernels = new CastKernels();
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
    dispose: () => kernels.dispose(),
  };
}

const elementOf = (plan: ReturnType<typeof dequantizePlan>) => (plan.kind === "reference" ? plan : plan.element);
