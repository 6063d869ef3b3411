/**
 * A packed tensor opened row by row: the codes, and the scale and offset of each block in f32. Both backends read
 * weights through it, so a weight is one and the same f32 number everywhere:
 *
 *     S = f32(scale) * f32(superScale), rounded to f32; the same for offsets
 *     w = v                          no scale
 *     w = S * v                      rounded once
 *     w = (S * v) + M                rounded twice, as llama.cpp and its Python twin do
 *     w = S * (v - Z)                rounded twice
 *
 * Codes whose meaning depends on tags come widened, and `scheme.element` is what they are then.
 */
import { InputError } from "../errors.js";
import { decode } from "../formats/codec.js";
import type { NumberFormat } from "../formats/format.js";
import { type Codes, codeArray, unpackCodes } from "../formats/packing.js";
import { groupSize, type PlaneLayout, planeLayouts, widenCodes } from "../formats/planes.js";
import type { OffsetCodec, Scheme, SharedCodec } from "../formats/scheme.js";
import { decodeTableF32 } from "../formats/table.js";
import type { PackedTensor } from "../tensor/packed.js";

export interface WeightRows {
  readonly scheme: Scheme;
  /** What the elements were before they were rounded to int8 (rounded-rows.ts). */
  readonly rounded?: NumberFormat;
  readonly rows: number;
  readonly columns: number;
  /** Columns that share scale and offset; the last block of a row may be shorter. */
  readonly blockColumns: number;
  readonly blocks: number;
  /** Of the row in hand, filled by `read`. */
  readonly codes: Codes;
  readonly scales?: Float32Array;
  readonly offsets?: Float32Array;
  /** Where the whole tensor shares one number: each scale of the row in hand is own * common, rounded. */
  readonly scaleParts?: { readonly own: Float32Array; readonly common: number };
  read(row: number): void;
  /** Fills scales and offsets alone. */
  readShared(row: number): void;
}

/** Opens a matrix. InputError if its shape is not that of a matrix or its planes are too short. */
export function weightRows({ scheme, shape, planes }: PackedTensor): WeightRows {
  const [rows, columns] = shape;
  const wellFormed = shape.length === 2 && shape.every((n) => Number.isSafeInteger(n) && n >= 0);
  if (!wellFormed) {
    throw new InputError(`a weight in ${scheme.name} must be a matrix`, {
      kind: "shapes-disagree",
      why: `got shape [${shape.join(", ")}]`,
    });
  }
  const layouts = planeLayouts(scheme, rows, columns);
  for (const [plane, layout] of Object.entries(layouts)) {
    const [wanted, got] = [layout.rows * layout.bytesPerRow, planes[plane as keyof typeof planes]?.length ?? 0];
    if (got >= wanted) continue;
    throw new InputError(`a ${scheme.name} weight of shape [${rows}, ${columns}] is too short`, {
      kind: "shapes-disagree",
      why: `its plane "${plane}" has ${got} bytes, wanted ${wanted}`,
    });
  }
  const blockColumns = commonBlock(scheme, columns);
  const blocks = Math.ceil(columns / blockColumns);
  const { tags } = scheme;
  const element = tags?.element ?? scheme.element;
  const codes = codeArray(element.bits, columns);
  const tagRow = codeArray(tags?.format.bits ?? 1, layouts.tags?.codesPerRow ?? 0);
  const { codes: codeLayout } = layouts as { codes: PlaneLayout };
  const shared = (codec: SharedCodec | undefined, name: "scale" | "offset") => {
    const [plane, superPlane] =
      name === "scale" ? (["scales", "superScales"] as const) : (["offsets", "superOffsets"] as const);
    const layout = layouts[plane];
    const bytes = planes[plane];
    if (!codec || !layout || !bytes) return undefined;
    const upper = layouts[superPlane] && { layout: layouts[superPlane], bytes: planes[superPlane] ?? new Uint8Array() };
    return sharedReader(codec, { layout, bytes }, upper, { columns, blockColumns, blocks });
  };
  const scales = shared(scheme.scale, "scale");
  const offsets = shared(scheme.offset, "offset");
  const readShared = (row: number) => {
    scales?.read(row);
    offsets?.read(row);
  };
  const read = (row: number) => {
    unpackCodes(planes.codes, row * codeLayout.bytesPerRow, codeLayout.format.bits, codes, columns);
    if (tags && layouts.tags && planes.tags) {
      const { bytesPerRow, codesPerRow, format } = layouts.tags;
      unpackCodes(planes.tags, row * bytesPerRow, format.bits, tagRow, codesPerRow);
      widenCodes(tags, codes, tagRow, columns);
    }
    readShared(row);
  };
  return {
    scheme: tags ? { ...scheme, element } : scheme,
    rows,
    columns,
    blockColumns,
    blocks,
    codes,
    scales: scales?.values,
    offsets: offsets?.values,
    scaleParts: scales?.parts,
    read,
    readShared,
  };
}

/** The largest block within which neither scale nor offset changes. */
function commonBlock({ scale, offset }: Scheme, columns: number): number {
  const sizes = [scale, offset].map((codec) => (codec ? groupSize(codec.per, columns) : 0));
  const [a, b] = sizes.map((size) => Math.min(size, Math.max(1, columns)));
  return greatestCommonDivisor(a, b) || Math.max(1, columns);
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

interface Plane {
  readonly layout: PlaneLayout;
  readonly bytes: Uint8Array;
}

/** Reads the effective number of every block of a row: the group's own times that of its super-block. */
function sharedReader(
  codec: SharedCodec | OffsetCodec,
  plane: Plane,
  upper: Plane | undefined,
  { columns, blockColumns, blocks }: { columns: number; blockColumns: number; blocks: number },
) {
  const per = groupSize(codec.per, columns);
  const superPer = codec.super?.per === "tensor" ? columns : (codec.super?.per ?? columns);
  const own = planeReader(plane);
  const above = upper && planeReader(upper);
  const values = new Float32Array(blocks);
  const owns = new Float32Array(blocks);
  const read = (row: number) => {
    own.read(Math.floor(row / (codec.rows ?? 1)));
    above?.read(upper?.layout.rows === 1 ? 0 : row);
    for (let block = 0; block < blocks; block++) {
      const column = block * blockColumns;
      owns[block] = own.values[Math.floor(column / per)];
      values[block] = above ? owns[block] * above.values[Math.floor(column / superPer)] : owns[block];
    }
  };
  if (codec.super?.per !== "tensor" || !above) return { values, read };
  above.read(0);
  return { values, read, parts: { own: owns, common: above.values[0] } };
}

/** One row of a plane as f32 values. */
function planeReader({ layout: { format, codesPerRow, bytesPerRow }, bytes }: Plane) {
  const codes = codeArray(format.bits, codesPerRow);
  const values = new Float32Array(codesPerRow);
  const value = codeValue(format);
  const read = (row: number) => {
    unpackCodes(bytes, row * bytesPerRow, format.bits, codes, codesPerRow);
    for (let i = 0; i < codesPerRow; i++) values[i] = value(codes[i]);
  };
  return { values, read };
}

/** The f32 value of a code, by table where the format is small enough. */
export function codeValue(format: NumberFormat): (code: number) => number {
  if (format.bits <= 16) {
    const table = decodeTableF32(format);
    return (code) => table[code];
  }
  if (isBinary32(format)) {
    const bits = new Uint32Array(1);
    const float = new Float32Array(bits.buffer);
    return (code) => {
      bits[0] = code;
      return float[0];
    };
  }
  return (code) => Math.fround(decode(format, code));
}

/** Whether the codes are f32 bit patterns. */
export function isBinary32(format: NumberFormat): boolean {
  return format.kind === "minifloat" && format.bits === 32 && format.exponentBits === 8 && format.bias === 127;
}

/** Decodes the row in hand to f32 weights, by the formula above. */
export function decodeRow(
  { scheme, columns, blockColumns, codes, scales, offsets }: WeightRows,
  out: Float32Array,
): void {
  const value = codeValue(scheme.element);
  const f = Math.fround;
  for (let k = 0; k < columns; k++) {
    const block = Math.floor(k / blockColumns);
    const v = value(codes[k]);
    const S = scales ? scales[block] : 1;
    if (!offsets) out[k] = S * v;
    else if (scheme.offset?.kind === "min") out[k] = f(S * v) + offsets[block];
    else out[k] = S * f(v - offsets[block]);
  }
}
