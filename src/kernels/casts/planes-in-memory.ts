/** Whole tensors whose values and planes lie in the kernels' memory already. */
import { decode, encode } from "../../formats/codec.js";
import type { NumberFormat } from "../../formats/format.js";
import { codeArray, packCodes, unpackCodes } from "../../formats/packing.js";
import { groupsPerRow, type PlaneLayout, planeLayouts } from "../../formats/planes.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import type { CastKernels } from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";
import { decodePlan, dequantizePlan, quantizePlan } from "./plans.js";
import { sharedValues, superPlane, tagsOf } from "./shared-values.js";

export type PlaneAddresses = { readonly [P in PlaneName]?: number };

/** Elements that a block kernel works on before their codes are packed; they stay in the nearest caches. */
const tileElements = 8192;

/**
 * Whole groups at `from` to the planes of a scheme; false where the reference must do it. `columns` is a multiple of the
 * group size, and that of 16 (other shapes are padded by the caller).
 */
export function quantizeInMemory(
  kernels: CastKernels,
  scheme: Scheme,
  from: number,
  rows: number,
  columns: number,
  planes: PlaneAddresses,
): boolean {
  const plan = quantizePlan(scheme);
  // Tiles need their amax beside each group: tensors outside of this memory are laid out so.
  if (plan.kind === "reference" || scheme.scale?.rows !== undefined) return false;
  if (plan.kind === "cast") return quantizeCast(kernels, scheme, from, rows * columns, planes);
  const groups = groupsPerRow(scheme.scale!.per, columns);
  const size = columns / groups;
  const prepared = kernels.prepare(scheme, () => kernels.amax(from, rows * columns));
  if (!prepared) return false;
  if (prepared.tensorScale !== undefined) {
    new DataView(kernels.memory.buffer).setFloat32(planes.superScales!, prepared.tensorScale, true);
  }
  const scaleSize = codeBytes(plan.block.scaleBits);
  const offsetSize = codeBytes(plan.block.offsetBits);
  const wholeOffsets = plan.block.offsetBits % 8 === 0;
  const second = scheme.tags ? "tags" : "offsets";
  const hasSecond = (scheme.offset ?? scheme.tags) !== undefined;
  const offsets = !hasSecond || wholeOffsets ? (planes[second] ?? 0) : kernels.scratch("offsets", rows * groups);
  const step = Math.max(1, Math.floor(tileElements / size));
  const { elementBits } = plan.block;
  const unpacked = kernels.scratch("unpacked codes", step * size);
  for (let g = 0; g < rows * groups; g += step) {
    const count = Math.min(step, rows * groups - g);
    const to = planes.codes! + (g * size * elementBits) / 8;
    const codes = elementBits === 8 ? to : unpacked;
    const at = { codes, scales: planes.scales! + scaleSize * g, offsets: offsets + offsetSize * g };
    if (!kernels.encodeGroups(prepared, from + 4 * g * size, at, count, size)) return false;
    if (elementBits < 8) kernels.pack(elementBits, unpacked, to, count * size);
  }
  if (hasSecond && !wholeOffsets) {
    packOffsets(kernels, planeLayouts(scheme, rows, columns)[second]!, rows, offsets, planes[second]!);
  }
  return true;
}

/** The planes of a scheme to f32 at `to`, under the same conditions. */
export function dequantizeInMemory(
  kernels: CastKernels,
  scheme: Scheme,
  planes: PlaneAddresses,
  rows: number,
  columns: number,
  to: number,
): boolean {
  const plan = dequantizePlan(scheme);
  if (plan.kind === "reference") return false;
  if (plan.kind === "cast") return kernels.decode(scheme.element, planes.codes!, to, rows * columns);
  const groups = groupsPerRow(scheme.scale!.per, columns);
  const size = columns / groups;
  const { bits } = scheme.element;
  const step = Math.max(1, Math.floor(tileElements / size));
  const reader = (which: "scale" | "offset") => sharedReader(kernels, scheme, which, planes, rows, columns, step);
  const scales = reader("scale");
  const offsets = scheme.tags
    ? tagReader(kernels, scheme, planes.tags!, rows, columns, step)
    : scheme.offset && reader("offset");
  const unpacked = kernels.scratch("unpacked codes", step * size);
  for (let g = 0; g < rows * groups; g += step) {
    const count = Math.min(step, rows * groups - g);
    let codes = planes.codes! + (g * size * bits) / 8;
    if (bits < 8) {
      kernels.unpack(bits, codes, unpacked, count * size);
      codes = unpacked;
    }
    kernels.decodeGroups(scheme, codes, scales(g, count), offsets?.(g, count) ?? 0, to + 4 * g * size, count, size);
  }
  return true;
}

function quantizeCast(
  kernels: CastKernels,
  { element }: Scheme,
  from: number,
  count: number,
  planes: PlaneAddresses,
): boolean {
  const amax = kernels.amax(from, count);
  if (!Number.isFinite(amax) || !Number.isFinite(decode(element, encode(element, amax)))) return false;
  return kernels.encode(element, {}, from, planes.codes!, count);
}

function packOffsets(
  kernels: CastKernels,
  { codesPerRow, bytesPerRow, format }: PlaneLayout,
  rows: number,
  from: number,
  to: number,
): void {
  const bytes = new Uint8Array(kernels.memory.buffer);
  for (let row = 0; row < rows; row++) {
    const codes = bytes.subarray(from + row * codesPerRow, from + (row + 1) * codesPerRow);
    packCodes(codes, codesPerRow, format.bits, bytes, to + row * bytesPerRow);
  }
}

/** A function that puts the scales (or offsets) of some groups as f32 somewhere and says where. */
function sharedReader(
  kernels: CastKernels,
  scheme: Scheme,
  which: "scale" | "offset",
  planes: PlaneAddresses,
  rows: number,
  columns: number,
  step: number,
): (group: number, count: number) => number {
  const codec = scheme[which]!;
  const address = planes[`${which}s`]!;
  const values = kernels.scratch(`${which}s of a tile`, 4 * step);
  const plain = codec.rows === undefined && (!codec.super || codec.super.per === "tensor");
  if (plain && codec.format.bits % 8 === 0 && decodePlan(codec.format).kind !== "reference") {
    const factor = codec.super && tensorNumber(kernels, codec.super.format, planes[superPlane(which)]!);
    const size = codec.format.bits / 8;
    return (group, count) => {
      kernels.decode(codec.format, address + size * group, values, count);
      if (factor === undefined) return values;
      const numbers = new Float32Array(kernels.memory.buffer, values, count);
      for (let i = 0; i < count; i++) numbers[i] *= factor;
      return values;
    };
  }
  const bytes = new Uint8Array(kernels.memory.buffer);
  const view = (name: PlaneName) => bytes.subarray(planes[name] ?? 0);
  const all = sharedValues(scheme, which, view, rows, columns);
  return (group, count) => {
    new Float32Array(kernels.memory.buffer).set(all.subarray(group, group + count), values / 4);
    return values;
  };
}

function tagReader(kernels: CastKernels, scheme: Scheme, at: number, rows: number, columns: number, step: number) {
  const words = kernels.scratch("tags of a tile", 4 * step);
  const all = tagsOf(scheme, new Uint8Array(kernels.memory.buffer).subarray(at), rows, columns);
  return (group: number, count: number) => {
    new Int32Array(kernels.memory.buffer).set(all.subarray(group, group + count), words / 4);
    return words;
  };
}

function tensorNumber(kernels: CastKernels, format: NumberFormat, address: number): number {
  const code = codeArray(format.bits, 1);
  unpackCodes(new Uint8Array(kernels.memory.buffer), address, format.bits, code, 1);
  return Math.fround(decode(format, code[0]));
}
