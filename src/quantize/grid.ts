/**
 * A packed tensor taken apart into the two things a method decides: the scale and offset of every group, and the level of
 * every element. Once the scales stand, a group is a list of values that its elements may take,
 *
 *     w = f32(f32(S * v) + M),   w = f32(S * (v - Z))   or   w = f32(S * v),
 *
 * whatever the scheme: integers, floating point, codebooks, GGUF's blocks, microscaling. So a method written against a
 * grid works on every scheme of the registry. Second-level scales (NVFP4's tensor scale, K-quants' super-blocks) stay as
 * the scheme's own rule chose them.
 */
import { UnsupportedError } from "../errors.js";
import {
  type Codes,
  codeArray,
  decode,
  decodeTable,
  f32Encoder,
  groupSize,
  groupsPerRow,
  type NumberFormat,
  type PlaneLayout,
  type PlaneName,
  packCodes,
  planeLayouts,
  type Scheme,
  type SharedCodec,
  unpackCodes,
} from "../formats/index.js";
import { columnsOf, type PackedTensor, quantize, rowsOf } from "../tensor/index.js";
import { type Levels, levelsOf, nearestLevel } from "./levels.js";

/** Numbers shared by groups: what they are, and the codes they are stored as. */
export interface SharedValues {
  /** Of every group, row by row: S, M or Z as dequantizing will use it. */
  readonly values: Float32Array;
  readonly codes: Codes;
  /** The code nearest to `value` for group `group`. */
  toCode(value: number, group: number): number;
  /** What dequantizing makes of a code in group `group`. */
  toValue(code: number, group: number): number;
}

export interface Grid {
  readonly packed: PackedTensor;
  readonly scheme: Scheme;
  readonly rows: number;
  readonly columns: number;
  /** Elements of a full group; the last of a row may be shorter. */
  readonly size: number;
  /** Groups in a row. */
  readonly groups: number;
  readonly levels: Levels;
  readonly scales: SharedValues;
  readonly offsets?: SharedValues;
  readonly offsetKind?: "min" | "zeroPoint";
}

/** Whether a scheme has scales for a method to choose; a plain cast has not. */
export const hasGrid = (scheme: Scheme): boolean => scheme.scale !== undefined && scheme.element.bits <= 16;

/** The grid that the scheme's own rule chooses for `values`. */
export function ruleGrid(scheme: Scheme, values: Float32Array, shape: readonly number[]): Grid {
  return gridOf(quantize(values, shape, scheme));
}

/** The grid of a packed tensor; its scales may be changed without changing the tensor. */
export function gridOf(packed: PackedTensor): Grid {
  const { scheme, shape, planes } = packed;
  const [rows, columns] = [rowsOf(shape), columnsOf(shape)];
  const { scale, offset } = scheme;
  if (scheme.tags) {
    throw new UnsupportedError(`${scheme.name} gives its groups different levels, which grids do not hold`, {
      try: "the method rtn, or a scheme without tags",
    });
  }
  if (scale?.rows !== undefined) {
    throw new UnsupportedError(`${scheme.name} shares scales among rows, which methods quantize one by one`, {
      try: "the method rtn, or a scheme with scales for each row",
    });
  }
  if (!scale || (offset && offset.per !== scale.per)) {
    throw new UnsupportedError(`${scheme.name} has no groups whose scales could be chosen`);
  }
  const layouts = planeLayouts(scheme, rows, columns);
  const shared = (codec: SharedCodec, first: Plane, second: Partial<Plane>) => {
    const factors = codec.super ? superFactors(codec, columns, rows, second as Plane) : undefined;
    return sharedValues(first, factors);
  };
  const plane = (name: PlaneName) => ({ layout: layouts[name], bytes: planes[name] });
  return {
    packed,
    scheme,
    rows,
    columns,
    size: groupSize(scale.per, columns),
    groups: groupsPerRow(scale.per, columns),
    levels: levelsOf(scheme.element),
    scales: shared(scale, plane("scales") as Plane, plane("superScales")),
    ...(offset && {
      offsets: shared(offset, plane("offsets") as Plane, plane("superOffsets")),
      offsetKind: offset.kind,
    }),
  };
}

interface Plane {
  readonly layout: PlaneLayout;
  readonly bytes: Uint8Array;
}

function unpackPlane({ layout: { format, rows, codesPerRow, bytesPerRow }, bytes }: Plane): Codes {
  const codes = codeArray(format.bits, rows * codesPerRow);
  for (let row = 0; row < rows; row++) {
    const target = codes.subarray(row * codesPerRow, (row + 1) * codesPerRow);
    unpackCodes(bytes, row * bytesPerRow, format.bits, target, codesPerRow);
  }
  return codes;
}

function packPlane({ format, rows, codesPerRow, bytesPerRow }: PlaneLayout, codes: Codes): Uint8Array {
  const bytes = new Uint8Array(rows * bytesPerRow);
  for (let row = 0; row < rows; row++) {
    const source = codes.subarray(row * codesPerRow, (row + 1) * codesPerRow);
    packCodes(source, codesPerRow, format.bits, bytes, row * bytesPerRow);
  }
  return bytes;
}

/** f32 value of a code: by table where the format is small. */
function f32Decoder(format: NumberFormat): (code: number) => number {
  if (format.bits > 16) return (code) => Math.fround(decode(format, code));
  const table = decodeTable(format);
  return (code) => Math.fround(table[code]);
}

/** The second-level factor of every group. */
function superFactors(codec: SharedCodec, columns: number, rows: number, plane: Plane): Float32Array {
  const { layout } = plane;
  const codes = unpackPlane(plane);
  const decoded = f32Decoder(layout.format);
  const groups = groupsPerRow(codec.per, columns);
  const size = groupSize(codec.per, columns);
  const per = codec.super!.per;
  return Float32Array.from({ length: rows * groups }, (_, k) => {
    if (per === "tensor") return decoded(codes[0]);
    const block = Math.floor(((k % groups) * size) / per);
    return decoded(codes[Math.floor(k / groups) * layout.codesPerRow + block]);
  });
}

function sharedValues(plane: Plane, factors?: Float32Array): SharedValues {
  const { layout } = plane;
  const codes = unpackPlane(plane);
  const decoded = f32Decoder(layout.format);
  const encoded = f32Encoder(layout.format, { overflow: "saturate" });
  const toValue = factors
    ? (code: number, group: number) => Math.fround(factors[group] * decoded(code))
    : (code: number) => decoded(code);
  const toCode = factors
    ? (value: number, group: number) => encoded(factors[group] === 0 ? 0 : Math.fround(value / factors[group]))
    : (value: number) => encoded(Math.fround(value));
  const values = new Float32Array(codes.length);
  for (let group = 0; group < codes.length; group++) values[group] = toValue(codes[group], group);
  return { values, codes, toCode, toValue };
}

/** Sets the shared number of a group to a code. */
export function setCode(shared: SharedValues, group: number, code: number): void {
  shared.codes[group] = code;
  shared.values[group] = shared.toValue(code, group);
}

/** The level of x in a group with scale S and shift Z (in levels) or M. A group of scale 0 takes the level nearest 0. */
export function levelIn(grid: Grid, group: number, x: number): number {
  const s = grid.scales.values[group];
  if (s === 0) return nearestLevel(grid.levels, 0);
  if (!grid.offsets) return nearestLevel(grid.levels, x / s);
  const o = grid.offsets.values[group];
  return nearestLevel(grid.levels, grid.offsetKind === "min" ? (x - o) / s : x / s + o);
}

/** The value of a level in a group, in the operations of `dequantize`. */
export function valueIn(grid: Grid, group: number, level: number): number {
  const s = grid.scales.values[group];
  const v = grid.levels.values[level];
  if (!grid.offsets) return Math.fround(s * v);
  const o = grid.offsets.values[group];
  return grid.offsetKind === "min" ? Math.fround(Math.fround(s * v) + o) : Math.fround(s * Math.fround(v - o));
}

/**
 * Rounds numbers of one column in all rows: levels as levelIn has them, and the values of these levels as valueIn has them,
 * w = f32(f32(S f32(v - Z)) + M) whatever the scheme, since what it has not is 0.
 */
export function columnRounder(grid: Grid) {
  const { rows, groups, scales, offsets, offsetKind, levels } = grid;
  const byGroup = (shared: Float32Array | undefined) => {
    const turned = new Float32Array(rows * groups);
    shared?.forEach((x, k) => {
      turned[(k % groups) * rows + Math.floor(k / groups)] = x;
    });
    return turned;
  };
  const s = byGroup(scales.values);
  const min = byGroup(offsetKind === "min" ? offsets?.values : undefined);
  const shift = byGroup(offsetKind === "zeroPoint" ? offsets?.values : undefined);
  const zero = nearestLevel(levels, 0);
  const { values } = levels;
  return (x: Float32Array, group: number, found: Uint16Array, rounded: Float32Array): void => {
    for (let row = 0, at = group * rows; row < rows; row++, at++) {
      const level = s[at] === 0 ? zero : nearestLevel(levels, (x[row] - min[at]) / s[at] + shift[at]);
      found[row] = level;
      rounded[row] = Math.fround(s[at] * Math.fround(values[level] - shift[at])) + min[at];
    }
  };
}

/** The nearest level of every element. */
export function nearestLevels(grid: Grid, values: Float32Array): Uint16Array {
  const { rows, columns, size, groups, scales, offsets, offsetKind } = grid;
  const levels = new Uint16Array(values.length);
  const zero = nearestLevel(grid.levels, 0);
  for (let group = 0; group < rows * groups; group++) {
    const first = Math.floor(group / groups) * columns;
    const start = first + (group % groups) * size;
    const end = Math.min(start + size, first + columns);
    const s = scales.values[group];
    // As levelIn has it: (x - M) / S or x / S + Z.
    const [min, shift] = !offsets
      ? [0, 0]
      : offsetKind === "min"
        ? [offsets.values[group], 0]
        : [0, offsets.values[group]];
    if (s === 0) levels.fill(zero, start, end);
    else for (let i = start; i < end; i++) levels[i] = nearestLevel(grid.levels, (values[i] - min) / s + shift);
  }
  return levels;
}

/** The packed tensor of chosen levels under the grid's scales as they are now. */
export function packGrid(grid: Grid, levels: Uint16Array): PackedTensor {
  const { packed, scheme, rows, columns } = grid;
  const layouts = planeLayouts(scheme, rows, columns);
  const codes = codeArray(scheme.element.bits, levels.length);
  for (let i = 0; i < levels.length; i++) codes[i] = grid.levels.codes[levels[i]];
  const planes = {
    ...packed.planes,
    codes: packPlane(layouts.codes!, codes),
    scales: packPlane(layouts.scales!, grid.scales.codes),
    ...(grid.offsets && { offsets: packPlane(layouts.offsets!, grid.offsets.codes) }),
  };
  return { scheme, shape: packed.shape, planes };
}
