/**
 * The frame of most rules: walk a tensor group by group, let a small function choose the group's scale, offset and
 * codes, and pack the rows. A group is `per` consecutive elements of one row; the last of a row may be shorter.
 */
import { NumericError } from "../../errors.js";
import { f32Encoder } from "../casts.js";
import type { EncodeOptions } from "../codec.js";
import type { NumberFormat } from "../format.js";
import type { Codes } from "../packing.js";
import { groupSize, groupsPerRow, type PlaneWriter, planeLayouts, planeWriter } from "../planes.js";
import type { Scheme, SchemeRule, SharedCodec } from "../scheme.js";
import { decodeTable } from "../table.js";

/** One group: elements values[start .. end), whose codes go to codes[at ..]. */
export interface Group {
  readonly values: Float32Array;
  readonly codes: Codes;
  start: number;
  end: number;
  at: number;
  /**
   * Set by the rule: the code of the group's scale, and of its offset where the scheme has one. Where rows share a scale
   * (`rows`), all rows of a tile must get the same.
   */
  scale: number;
  offset: number;
  /** The group's tag, where the scheme has tags. */
  tag: number;
}

export type GroupRule = (group: Group) => void;

/** Of one tensor: what its groups are rounded by. `element`: how the caller wants elements encoded. */
type PrepareGroups = (
  scheme: Scheme,
  values: Float32Array,
  rows: number,
  columns: number,
  element?: EncodeOptions,
) => GroupRule;

/** A scheme rule that goes group by group. `prepare` is called once per tensor. */
export function byGroup(prepare: PrepareGroups): SchemeRule {
  return (scheme, values, rows, columns, planes, element) => {
    const layouts = planeLayouts(scheme, rows, columns);
    const codes = planeWriter(layouts.codes!, planes.codes);
    const scales = planeWriter(layouts.scales!, planes.scales!);
    const offsets = layouts.offsets && planeWriter(layouts.offsets, planes.offsets!);
    const tags = layouts.tags && planeWriter(layouts.tags, planes.tags!);
    const per = scheme.scale!.per;
    const height = scheme.scale!.rows ?? 1;
    const shape = { rows, columns, height, size: groupSize(per, columns), groups: groupsPerRow(per, columns) };
    walk(prepare(scheme, values, rows, columns, element), values, shape, { codes, scales, offsets, tags });
  };
}

interface GroupShape {
  readonly rows: number;
  readonly columns: number;
  /** Rows that share scale and offset. */
  readonly height: number;
  readonly size: number;
  readonly groups: number;
}

function walk(
  rule: GroupRule,
  values: Float32Array,
  { rows, columns, height, size, groups }: GroupShape,
  {
    codes,
    scales,
    offsets,
    tags,
  }: Readonly<Record<"codes" | "scales", PlaneWriter>> & Readonly<Record<"offsets" | "tags", PlaneWriter | undefined>>,
): void {
  const group: Group = { values, codes: codes.row, start: 0, end: 0, at: 0, scale: 0, offset: 0, tag: 0 };
  for (let row = 0; row < rows; row++) {
    for (let g = 0; g < groups; g++) {
      group.at = g * size;
      group.start = row * columns + group.at;
      group.end = Math.min(group.start + size, (row + 1) * columns);
      rule(group);
      scales.row[g] = group.scale;
      if (offsets) offsets.row[g] = group.offset;
      if (tags) tags.row[g] = group.tag;
    }
    codes.next();
    tags?.next();
    if ((row + 1) % height !== 0 && row + 1 < rows) continue;
    scales.next();
    offsets?.next();
  }
}

/** The largest magnitude of a group. */
export function amaxOf(values: Float32Array, start: number, end: number): number {
  let amax = 0;
  for (let i = start; i < end; i++) {
    const a = Math.abs(values[i]);
    if (a > amax) amax = a;
  }
  return amax;
}

/**
 * The largest magnitude of the tile that a group lies in, where rows share scales; else undefined. Asked for by the group's
 * first element.
 */
export function tileAmax(
  { per, rows: tileRows }: SharedCodec,
  values: Float32Array,
  rows: number,
  columns: number,
): ((start: number) => number) | undefined {
  if (tileRows === undefined) return undefined;
  const size = groupSize(per, columns);
  const tiles = Math.ceil(columns / size);
  const table = new Float32Array(Math.ceil(rows / tileRows) * tiles);
  const tileOf = (start: number) => {
    const row = Math.floor(start / columns);
    return Math.floor(row / tileRows) * tiles + Math.floor((start - row * columns) / size);
  };
  for (let row = 0; row < rows; row++) {
    for (let at = 0; at < columns; at += size) {
      const start = row * columns + at;
      const tile = tileOf(start);
      table[tile] = Math.max(table[tile], amaxOf(values, start, row * columns + Math.min(at + size, columns)));
    }
  }
  return (start) => table[tileOf(start)];
}

/** The element of largest magnitude, with its sign; the first of equals. */
export function extremeOf(values: Float32Array, start: number, end: number): number {
  let extreme = values[start];
  let amax = Math.abs(extreme);
  for (let i = start + 1; i < end; i++) {
    const a = Math.abs(values[i]);
    if (a > amax) {
      amax = a;
      extreme = values[i];
    }
  }
  return extreme;
}

/**
 * Encodes a scale or offset that must stay finite: a NumericError where it does not, instead of a block of infinities
 * in the file.
 */
export function finiteEncoder(format: NumberFormat, what: string, options: EncodeOptions = {}): (x: number) => number {
  const code = f32Encoder(format, options);
  const table = format.bits <= 16 ? decodeTable(format) : undefined;
  return (x) => {
    const c = code(x);
    if (Number.isFinite(table ? table[c] : Math.fround(x))) return c;
    throw new NumericError(`a ${what} of ${x} is beyond the range of ${format.name}`, {
      kind: "number-out-of-range",
      try: "a scheme with a wider scale format, or scale the tensor down",
    });
  };
}
