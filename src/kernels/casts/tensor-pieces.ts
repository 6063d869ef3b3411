/**
 * Tensors to planes and back, copied through the kernels' memory as many rows at a time as fit a piece. Kernels see groups
 * of whole runs: where a scheme's groups are not, or a row ends within one, groups are padded. Where rows share scales a group
 * is padded with the amax of its tile, and so gets the tile's scale.
 */
import { encodeArray } from "../../formats/casts.js";
import { decode } from "../../formats/codec.js";
import { codeArray, packCodes, unpackCodes } from "../../formats/packing.js";
import { groupSize, groupsPerRow, type PlaneLayout, planeLayouts } from "../../formats/planes.js";
import type { PlaneName, Scheme } from "../../formats/scheme.js";
import { tileAmax } from "../../formats/schemes/groups.js";
import type { PackedTensor } from "../../tensor/packed.js";
import { allocatePlanes } from "../../tensor/planes.js";
import { checkShape, columnsOf, elementCount, rowsOf } from "../../tensor/shape.js";
import { run } from "./array-kernels.js";
import { amaxOf, bytesOf, checkRoom, codesIn, decodePieces, encodePieces } from "./array-pieces.js";
import type { CastKernels, PreparedBlocks } from "./cast-kernels.js";
import { codeBytes } from "./decode-lanes.js";
import { dequantizePlan, quantizePlan } from "./plans.js";
import { sumsErrors } from "./scheme-plan.js";
import { sharedValues, tagsOf } from "./shared-values.js";

/** A tensor as rows of groups. */
interface Geometry {
  readonly rows: number;
  readonly columns: number;
  /** Groups of a row, elements of a group, and its elements as kernels see it. */
  readonly groups: number;
  readonly size: number;
  readonly stride: number;
  /** Nothing is padded. */
  readonly aligned: boolean;
  /** Rows of a piece. */
  readonly step: number;
}

function geometryOf(
  { pieceElements }: CastKernels,
  scheme: Scheme,
  rows: number,
  columns: number,
  padding = 0,
): Geometry {
  const per = scheme.scale?.per ?? run;
  const size = groupSize(per, columns);
  const groups = groupsPerRow(per, columns);
  const stride = Math.ceil((size + padding) / run) * run;
  const aligned = stride === size && columns % size === 0;
  // A piece begins with a tile.
  const height = scheme.scale?.rows ?? 1;
  const step = Math.min(rows, height * Math.max(1, Math.floor(pieceElements / (groups * stride * height))));
  return { rows, columns, groups, size, stride, aligned, step };
}

/** Long rows of whole groups cut into shorter ones that have the same bytes, so that a piece stays small. */
function cutRows(kernels: CastKernels, scheme: Scheme, geometry: Geometry): Geometry {
  const { pieceElements } = kernels;
  const { rows, columns, groups, size, aligned } = geometry;
  if (!aligned || columns <= pieceElements) return geometry;
  const wholeBytes = (count: number) => (count * ((scheme.offset ?? scheme.tags)?.format.bits ?? 8)) % 8 === 0;
  for (let count = Math.floor(pieceElements / size); count > 0; count--) {
    if (groups % count !== 0 || !wholeBytes(count)) continue;
    return geometryOf(kernels, scheme, (rows * groups) / count, count * size);
  }
  return geometry;
}

/** Where a piece lies in the kernels' memory. */
interface Piece {
  readonly values: number;
  readonly codes: number;
  readonly packed: number;
  readonly scales: number;
  readonly offsets: number;
}

function pieceOf(kernels: CastKernels, { step, groups, stride }: Geometry): Piece {
  const room = step * groups * stride;
  return {
    values: kernels.scratch("values", 4 * room),
    codes: kernels.scratch("codes", room),
    packed: kernels.scratch("packed codes", room + 8),
    scales: kernels.scratch("scales", 4 * step * groups),
    offsets: kernels.scratch("offset codes", 4 * step * groups),
  };
}

/** The planes of a tensor under its scheme's rule; undefined where the reference must make or refuse them. */
export function quantizePieces(
  kernels: CastKernels,
  scheme: Scheme,
  values: Float32Array,
  shape: readonly number[],
): PackedTensor | undefined {
  checkShape(shape, values.length);
  const plan = quantizePlan(scheme);
  if (plan.kind === "reference" || values.length === 0) return undefined;
  const [rows, columns] = [rowsOf(shape), columnsOf(shape)];
  const packed = { scheme, shape, planes: allocatePlanes(scheme, rows, columns) };
  if (plan.kind === "cast") return quantizeCast(kernels, packed, values) ? packed : undefined;
  const prepared = kernels.prepare(scheme, () => amaxOf(kernels, values));
  if (!prepared) return undefined;
  const { tensorScale } = prepared;
  if (tensorScale !== undefined) packed.planes.superScales!.set(bytesOf(Float32Array.of(tensorScale)));
  const peakOf = tileAmax(scheme.scale!, values, rows, columns);
  const geometry = peakOf
    ? geometryOf(kernels, scheme, rows, columns, 1)
    : cutRows(kernels, scheme, geometryOf(kernels, scheme, rows, columns));
  return quantizeRows(kernels, packed, values, geometry, prepared, peakOf) ? packed : undefined;
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

function quantizeRows(
  kernels: CastKernels,
  { scheme, planes }: PackedTensor,
  values: Float32Array,
  geometry: Geometry,
  prepared: PreparedBlocks,
  peakOf?: (start: number) => number,
): boolean {
  const { rows, columns, groups, stride, step } = geometry;
  const height = scheme.scale?.rows ?? 1;
  const searches = sumsErrors(prepared.plan.steps);
  const layouts = planeLayouts(scheme, rows, columns);
  const piece = pieceOf(kernels, geometry);
  for (let first = 0; first < rows; first += step) {
    const count = Math.min(step, rows - first);
    const part = values.subarray(first * columns, (first + count) * columns);
    const own = geometry.aligned ? kernels.addressOf(part) : undefined;
    if (own === undefined) {
      const room = new Float32Array(kernels.memory.buffer, piece.values, count * groups * stride);
      if (geometry.aligned) room.set(part);
      else padGroups(part, room, count, geometry, (at) => peakOf?.(first * columns + at) ?? (searches ? 0 : part[at]));
    }
    if (!kernels.encodeGroups(prepared, own ?? piece.values, piece, count * groups, stride)) return false;
    const target = (plane: "codes" | "scales" | "offsets" | "tags", height = 1) => {
      const { bytesPerRow } = layouts[plane]!;
      const [from, to] = [first / height, Math.ceil((first + count) / height)];
      return planes[plane]!.subarray(from * bytesPerRow, to * bytesPerRow);
    };
    storeCodes(kernels, target("codes"), layouts.codes!, piece, geometry);
    storeShared(kernels, target("scales", height), layouts.scales!, piece.scales, height);
    if (layouts.offsets) storeShared(kernels, target("offsets"), layouts.offsets, piece.offsets);
    if (layouts.tags) storeShared(kernels, target("tags"), layouts.tags, piece.offsets);
  }
  return true;
}

/**
 * Groups in whole runs; the room left holds what `rest` says for the group that begins at an index: its first element, which
 * changes no extreme and no rule; zeros, which add nothing to a sum of errors; or its tile's amax.
 */
function padGroups(
  values: Float32Array,
  out: Float32Array,
  rows: number,
  geometry: Geometry,
  rest: (start: number) => number,
): void {
  const { columns, size, groups, stride } = geometry;
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      const start = row * columns + g * size;
      const count = Math.min(size, columns - g * size);
      const at = (row * groups + g) * stride;
      out.set(values.subarray(start, start + count), at);
      out.fill(rest(start), at + count, at + stride);
    }
  }
}

/** The codes of a piece to rows of their plane. */
function storeCodes(
  kernels: CastKernels,
  out: Uint8Array,
  layout: PlaneLayout,
  piece: Piece,
  geometry: Geometry,
): void {
  const { columns, groups, size, stride, aligned } = geometry;
  const { format, bytesPerRow } = layout;
  const rows = out.length / bytesPerRow;
  if (aligned) {
    if (format.bits < 8) kernels.pack(format.bits, piece.codes, piece.packed, rows * columns);
    const from = format.bits < 8 ? piece.packed : piece.codes;
    out.set(new Uint8Array(kernels.memory.buffer, from, out.length));
    return;
  }
  const row = codeArray(format.bits, columns);
  const codes = new Uint8Array(kernels.memory.buffer, piece.codes, rows * groups * stride);
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const start = (r * groups + g) * stride;
      row.set(codes.subarray(start, start + Math.min(size, columns - g * size)), g * size);
    }
    packCodes(row, columns, format.bits, out, r * bytesPerRow);
  }
}

/** Unpacked scales or offsets at `address` to rows of their plane, of every `height` rows the first. */
function storeShared(kernels: CastKernels, out: Uint8Array, layout: PlaneLayout, address: number, height = 1): void {
  const { format, codesPerRow, bytesPerRow } = layout;
  const rowSize = codesPerRow * codeBytes(format.bits);
  const rows = out.length / bytesPerRow;
  const bytes = (row: number, count: number) =>
    new Uint8Array(kernels.memory.buffer, address + row * height * rowSize, count * rowSize);
  if (format.bits % 8 === 0 && height === 1) {
    out.set(bytes(0, rows));
    return;
  }
  for (let r = 0; r < rows; r++) {
    const row = codesIn(bytes(r, 1), codeBytes(format.bits));
    packCodes(row, codesPerRow, format.bits, out, r * bytesPerRow);
  }
}

/** Writes the values of `packed`; false where the reference must. */
export function dequantizePieces(
  kernels: CastKernels,
  { scheme, shape, planes }: PackedTensor,
  out: Float32Array,
): boolean {
  const plan = dequantizePlan(scheme);
  checkRoom(out.length, elementCount(shape));
  if (plan.kind === "reference" || elementCount(shape) === 0) return false;
  const [rows, columns] = [rowsOf(shape), columnsOf(shape)];
  if (plan.kind === "cast") {
    const size = codeBytes(scheme.element.bits);
    const isAligned = planes.codes.byteOffset % size === 0;
    decodePieces(kernels, scheme.element, codesIn(isAligned ? planes.codes : planes.codes.slice(), size), out);
    return true;
  }
  const plane = (name: PlaneName) => planes[name]!;
  const scales = sharedValues(scheme, "scale", plane, rows, columns);
  const offsets = scheme.offset && sharedValues(scheme, "offset", plane, rows, columns);
  const tags = scheme.tags && tagsOf(scheme, plane("tags"), rows, columns);
  const geometry = cutRows(kernels, scheme, geometryOf(kernels, scheme, rows, columns));
  const { groups, stride, step } = geometry;
  const { bytesPerRow } = planeLayouts(scheme, geometry.rows, geometry.columns).codes!;
  const piece = pieceOf(kernels, geometry);
  for (let first = 0; first < geometry.rows; first += step) {
    const count = Math.min(step, geometry.rows - first);
    const [from, to] = [first * groups, (first + count) * groups];
    loadCodes(kernels, planes.codes.subarray(first * bytesPerRow), scheme.element.bits, count, piece, geometry);
    const memory = new Float32Array(kernels.memory.buffer);
    memory.set(scales.subarray(from, to), piece.scales / 4);
    if (offsets) memory.set(offsets.subarray(from, to), piece.offsets / 4);
    if (tags) new Int32Array(kernels.memory.buffer).set(tags.subarray(from, to), piece.offsets / 4);
    const target = out.subarray(first * geometry.columns);
    const place = (geometry.aligned ? kernels.addressOf(target) : undefined) ?? piece.values;
    kernels.decodeGroups(scheme, piece.codes, piece.scales, piece.offsets, place, count * groups, stride);
    if (place !== piece.values) continue;
    const decoded = new Float32Array(kernels.memory.buffer, place, count * groups * stride);
    storeValues(decoded, target, count, geometry);
  }
  return true;
}

/** Rows of packed codes to the unpacked codes of a piece. */
function loadCodes(
  kernels: CastKernels,
  packed: Uint8Array,
  bits: number,
  rows: number,
  piece: Piece,
  geometry: Geometry,
): void {
  const { columns, groups, size, stride, aligned } = geometry;
  const bytes = new Uint8Array(kernels.memory.buffer);
  if (aligned) {
    bytes.set(packed.subarray(0, (rows * columns * bits) / 8), bits < 8 ? piece.packed : piece.codes);
    if (bits < 8) kernels.unpack(bits, piece.packed, piece.codes, rows * columns);
    return;
  }
  const row = codeArray(bits, columns);
  for (let r = 0; r < rows; r++) {
    unpackCodes(packed, r * Math.ceil((columns * bits) / 8), bits, row, columns);
    for (let g = 0; g < groups; g++) {
      bytes.set(row.subarray(g * size, Math.min(columns, (g + 1) * size)), piece.codes + (r * groups + g) * stride);
    }
  }
}

function storeValues(decoded: Float32Array, out: Float32Array, rows: number, geometry: Geometry): void {
  const { columns, groups, size, stride, aligned } = geometry;
  if (aligned) {
    out.set(decoded);
    return;
  }
  for (let r = 0; r < rows; r++) {
    for (let g = 0; g < groups; g++) {
      const start = (r * groups + g) * stride;
      out.set(decoded.subarray(start, start + Math.min(size, columns - g * size)), r * columns + g * size);
    }
  }
}
