/**
 * Casting arrays of any length with the generated kernels: the array is copied through WebAssembly memory in pieces that
 * stay in the caches. Every result has the bytes of the reference (`encodeArray`, `quantize`, `dequantize`); where no
 * kernel can be generated, or where a value is to be refused, the reference itself does the work, and `plan` says so.
 */
import { InputError } from "../../errors.js";
import { decodeArray, encodeArray } from "../../formats/casts.js";
import { decode, type EncodeOptions } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { type Codes, codeArray, packCodes, unpackCodes } from "../../formats/packing.js";
import { groupSize, groupsPerRow, planeLayouts } from "../../formats/planes.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import { dequantize as dequantizeReference } from "../../tensor/dequantize.js";
import type { PackedTensor } from "../../tensor/packed.js";
import { allocatePlanes } from "../../tensor/planes.js";
import { quantize as quantizeReference } from "../../tensor/quantize.js";
import { checkShape, columnsOf, elementCount, rowsOf } from "../../tensor/shape.js";
import { run } from "./array-kernels.js";
import {
  CastKernels,
  decodePlan,
  dequantizePlan,
  encodePlan,
  type PreparedBlocks,
  quantizePlan,
  sharedValues,
} from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";
import { type Path, pathOf } from "./scheme-plan.js";

/** Elements copied at a time. */
const pieceElements = 32768;

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
  quantize(scheme: Scheme, values: Float32Array, shape: readonly number[]): PackedTensor;
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
  const quantize: Caster["quantize"] = (scheme, values, shape) =>
    quantizePieces(kernels, scheme, values, shape) ?? quantizeReference(scheme, values, shape);
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
      isScheme(record) ? dequantize(quantize(record, values, shape)) : decodeAll(record, encode(record, values)),
    dispose: () => kernels.dispose(),
  };
}

const elementOf = (plan: ReturnType<typeof dequantizePlan>) => (plan.kind === "reference" ? plan : plan.element);

const bytesOf = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

function checkRoom(have: number, want: number): void {
  if (have < want) throw new InputError(`the output holds ${have} elements`, { why: `wanted at least ${want}` });
}

function encodePieces(
  kernels: CastKernels,
  format: NumberFormat,
  values: Float32Array,
  out: Codes,
  options: EncodeOptions,
): void {
  checkRoom(out.length, values.length);
  const size = codeBytes(format.bits);
  if (encodePlan(format, options).kind === "reference" || out.BYTES_PER_ELEMENT !== size) {
    encodeArray(format, values, out, options);
    return;
  }
  const from = kernels.scratch("values", 4 * pieceElements);
  const to = kernels.scratch("codes", 4 * pieceElements);
  const [source, target] = [bytesOf(values), bytesOf(out)];
  for (let start = 0; start < values.length; start += pieceElements) {
    const count = Math.min(pieceElements, values.length - start);
    new Uint8Array(kernels.memory.buffer).set(source.subarray(4 * start, 4 * (start + count)), from);
    if (kernels.encode(format, options, from, to, count)) {
      target.set(new Uint8Array(kernels.memory.buffer, to, count * size), start * size);
    } else {
      const codes = codeArray(format.bits, count);
      encodeArray(format, values, codes, options, start, count);
      out.set(codes, start);
    }
  }
}

function decodePieces(kernels: CastKernels, format: NumberFormat, codes: Codes, out: Float32Array): void {
  checkRoom(out.length, codes.length);
  const size = codeBytes(format.bits);
  if (decodePlan(format).kind === "reference") {
    for (let i = 0; i < codes.length; i++) out[i] = decode(format, codes[i]);
    return;
  }
  if (codes.BYTES_PER_ELEMENT !== size) {
    decodeArray(format, codes, out);
    return;
  }
  const from = kernels.scratch("codes", 4 * pieceElements);
  const to = kernels.scratch("values", 4 * pieceElements);
  const [source, target] = [bytesOf(codes), bytesOf(out)];
  for (let start = 0; start < codes.length; start += pieceElements) {
    const count = Math.min(pieceElements, codes.length - start);
    new Uint8Array(kernels.memory.buffer).set(source.subarray(size * start, size * (start + count)), from);
    kernels.decode(format, from, to, count);
    target.set(new Uint8Array(kernels.memory.buffer, to, 4 * count), 4 * start);
  }
}

/** Bytes as the codes that they hold, without copying. */
function codesIn({ buffer, byteOffset, byteLength }: Uint8Array, size: 1 | 2 | 4): Codes {
  if (size === 1) return new Uint8Array(buffer, byteOffset, byteLength);
  if (size === 2) return new Uint16Array(buffer, byteOffset, byteLength / 2);
  return new Uint32Array(buffer, byteOffset, byteLength / 4);
}

/** The shape of a tensor in groups. */
interface Geometry {
  readonly rows: number;
  readonly columns: number;
  readonly size: number;
  readonly groups: number;
  /** Elements of a group as kernels see it: whole runs. */
  readonly stride: number;
  /** Groups are whole and fill whole runs, so that nothing is padded. */
  readonly aligned: boolean;
}

function geometryOf(scheme: Scheme, shape: readonly number[]): Geometry {
  const [rows, columns] = [rowsOf(shape), columnsOf(shape)];
  const per = scheme.scale?.per ?? run;
  const size = groupSize(per, columns);
  const stride = Math.ceil(size / run) * run;
  const aligned = stride === size && columns % size === 0;
  return { rows, columns, size, groups: groupsPerRow(per, columns), stride, aligned };
}

/** Undefined where the reference must do it, or refuse it. */
function quantizePieces(
  kernels: CastKernels,
  scheme: Scheme,
  values: Float32Array,
  shape: readonly number[],
): PackedTensor | undefined {
  checkShape(shape, values.length);
  const plan = quantizePlan(scheme);
  if (plan.kind === "reference" || values.length === 0) return undefined;
  const geometry = geometryOf(scheme, shape);
  const planes = allocatePlanes(scheme, geometry.rows, geometry.columns);
  const packed = { scheme, shape, planes };
  if (plan.kind === "cast") return quantizeCast(kernels, packed, values) ? packed : undefined;
  const prepared = kernels.prepare(scheme, () => amaxOf(kernels, values));
  if (!prepared) return undefined;
  const { tensorScale } = prepared;
  if (tensorScale !== undefined) planes.superScales!.set(bytesOf(Float32Array.of(tensorScale)));
  return quantizeRows(kernels, packed, values, geometry, prepared) ? packed : undefined;
}

function amaxOf(kernels: CastKernels, values: Float32Array): number {
  const from = kernels.scratch("values", 4 * pieceElements);
  let most = 0;
  for (let start = 0; start < values.length; start += pieceElements) {
    const piece = values.subarray(start, start + pieceElements);
    new Float32Array(kernels.memory.buffer).set(piece, from / 4);
    const amax = kernels.amax(from, piece.length);
    if (!Number.isFinite(amax)) return amax;
    most = Math.max(most, amax);
  }
  return most;
}

function quantizeCast(kernels: CastKernels, { scheme, planes }: PackedTensor, values: Float32Array): boolean {
  const { element } = scheme;
  const amax = amaxOf(kernels, values);
  if (!Number.isFinite(amax)) return false;
  const probe = codeArray(element.bits, 1);
  encodeArray(element, Float32Array.of(amax), probe);
  if (!Number.isFinite(decode(element, probe[0]))) return false;
  encodePieces(kernels, element, values, codesIn(planes.codes, codeBytes(element.bits)), {});
  return true;
}

/** Quantizes as many rows at a time as fit a piece; a piece has at least one row. */
function quantizeRows(
  kernels: CastKernels,
  { scheme, planes }: PackedTensor,
  values: Float32Array,
  geometry: Geometry,
  prepared: PreparedBlocks,
): boolean {
  const { rows, columns, groups, stride } = geometry;
  const layouts = planeLayouts(scheme, rows, columns);
  const step = Math.min(rows, Math.max(1, Math.floor(pieceElements / (groups * stride))));
  const room = step * groups * stride;
  const from = kernels.scratch("values", 4 * room);
  const at = {
    codes: kernels.scratch("codes", room),
    scales: kernels.scratch("scales", 4 * step * groups),
    offsets: kernels.scratch("offset codes", 4 * step * groups),
  };
  const store = (plane: "codes" | "scales" | "offsets", first: number, count: number) => {
    const layout = layouts[plane]!;
    const target = planes[plane]!;
    const { bits } = layout.format;
    const size = codeBytes(bits);
    const padded = plane === "codes" && !geometry.aligned;
    const packsInside = plane === "codes" && geometry.aligned && bits < 8;
    if (packsInside) {
      const packed = kernels.pack(bits, at.codes, count * columns);
      const bytes = new Uint8Array(kernels.memory.buffer);
      target.set(bytes.subarray(packed, packed + count * layout.bytesPerRow), first * layout.bytesPerRow);
      return;
    }
    const bytes = new Uint8Array(kernels.memory.buffer);
    if (bits % 8 === 0 && !padded) {
      target.set(bytes.subarray(at[plane], at[plane] + count * layout.bytesPerRow), first * layout.bytesPerRow);
      return;
    }
    const row = codeArray(bits, layout.codesPerRow);
    for (let r = 0; r < count; r++) {
      if (padded) {
        for (let g = 0; g < groups; g++) {
          const start = at.codes + (r * groups + g) * stride;
          row.set(
            bytes.subarray(start, start + Math.min(geometry.size, columns - g * geometry.size)),
            g * geometry.size,
          );
        }
      } else {
        const start = at[plane] + r * groups * size;
        row.set(codesIn(bytes.subarray(start, start + groups * size), size));
      }
      packCodes(row, layout.codesPerRow, bits, target, (first + r) * layout.bytesPerRow);
    }
  };
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const memory = new Float32Array(kernels.memory.buffer);
    const part = values.subarray(first * columns, (first + count) * columns);
    if (geometry.aligned) memory.set(part, from / 4);
    else padGroups(part, memory.subarray(from / 4, from / 4 + room), count, geometry);
    if (!kernels.encodeGroups(prepared, from, at, count * groups, stride)) return false;
    store("codes", first, count);
    store("scales", first, count);
    if (planes.offsets) store("offsets", first, count);
  }
  return true;
}

/** Groups in whole runs; the room left holds the group's first element, which changes no extreme and no rule. */
function padGroups(values: Float32Array, out: Float32Array, rows: number, geometry: Geometry): void {
  const { columns, size, groups, stride } = geometry;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const start = row * columns + g * size;
      const count = Math.min(size, columns - g * size);
      const at = (row * groups + g) * stride;
      out.set(values.subarray(start, start + count), at);
      out.fill(values[start], at + count, at + stride);
    }
  }
}

function dequantizePieces(kernels: CastKernels, { scheme, shape, planes }: PackedTensor, out: Float32Array): boolean {
  const plan = dequantizePlan(scheme);
  if (plan.kind === "reference" || elementCount(shape) === 0) return false;
  const { rows, columns, size, groups, stride, aligned } = geometryOf(scheme, shape);
  checkRoom(out.length, rows * columns);
  if (plan.kind === "cast") {
    const size = codeBytes(scheme.element.bits);
    const isAligned = planes.codes.byteOffset % size === 0;
    const codes = codesIn(isAligned ? planes.codes : planes.codes.slice(), size);
    decodePieces(kernels, scheme.element, codes, out);
    return true;
  }
  const { bits } = scheme.element;
  const layout = planeLayouts(scheme, rows, columns).codes!;
  const bytesOfPlane = (name: PlaneName) => planes[name]!;
  const scales = sharedValues(scheme, "scale", bytesOfPlane, rows, columns);
  const offsets = scheme.offset && sharedValues(scheme, "offset", bytesOfPlane, rows, columns);
  const step = Math.min(rows, Math.max(1, Math.floor(pieceElements / (groups * stride))));
  const room = step * groups * stride;
  const at = {
    packed: kernels.scratch("packed codes", room + 8),
    codes: kernels.scratch("codes", room),
    scales: kernels.scratch("scales", 4 * step * groups),
    offsets: kernels.scratch("offset codes", 4 * step * groups),
    values: kernels.scratch("values", 4 * room),
  };
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const bytes = new Uint8Array(kernels.memory.buffer);
    const memory = new Float32Array(kernels.memory.buffer);
    if (aligned) {
      const part = planes.codes.subarray(first * layout.bytesPerRow, (first + count) * layout.bytesPerRow);
      bytes.set(part, bits < 8 ? at.packed : at.codes);
      if (bits < 8) kernels.unpack(bits, at.packed, at.codes, count * columns);
    } else {
      const row = codeArray(bits, columns);
      for (let r = 0; r < count; r++) {
        unpackCodes(planes.codes, (first + r) * layout.bytesPerRow, bits, row, columns);
        for (let g = 0; g < groups; g++) {
          bytes.set(row.subarray(g * size, Math.min(columns, (g + 1) * size)), at.codes + (r * groups + g) * stride);
        }
      }
    }
    memory.set(scales.subarray(first * groups, (first + count) * groups), at.scales / 4);
    if (offsets) memory.set(offsets.subarray(first * groups, (first + count) * groups), at.offsets / 4);
    kernels.decodeGroups(scheme, at.codes, at.scales, at.offsets, at.values, count * groups, stride);
    const decoded = memory.subarray(at.values / 4, at.values / 4 + room);
    if (aligned) out.set(decoded.subarray(0, count * columns), first * columns);
    else
      for (let r = 0; r < count; r++) {
        for (let g = 0; g < groups; g++) {
          const start = (r * groups + g) * stride;
          const length = Math.min(size, columns - g * size);
          out.set(decoded.subarray(start, start + length), (first + r) * columns + g * size);
        }
      }
  }
  return true;
}
