/**
 * The frame of schemes with two levels of scales: a super-block of 256 elements holds one coarse scale (and offset) in f16,
 * its groups of 16 or 32 hold fine ones in few bits. Walks a tensor super-block by super-block and packs the rows. The
 * last super-block of a row, and the last group in it, may be shorter.
 */
import { type IntegerFormat, integer } from "../format.js";
import type { Codes } from "../packing.js";
import { type PlaneWriter, planeLayouts, planeWriter } from "../planes.js";
import type { Scheme, SchemeRule } from "../scheme.js";

export const SUPER = 256;

/** One group of a super-block: values[start .. end), whose codes go to codes[at ..]. */
export interface GroupRange {
  start: number;
  end: number;
  at: number;
}

/** What a rule reads and fills. */
export interface SuperBlock {
  readonly values: Float32Array;
  /** Codes of the row; a rule finds its place through `groups`. */
  readonly codes: Codes;
  readonly groups: readonly GroupRange[];
  /** Codes of the groups' scales and offsets, one for each of `groups`. */
  readonly scales: Uint8Array;
  readonly offsets: Uint8Array;
  /** Codes of the second level. */
  superScale: number;
  superOffset: number;
}

/** A scheme rule that treats every super-block alone, with groups of `per` elements. */
export function bySuperBlock(per: number, prepare: (scheme: Scheme) => (block: SuperBlock) => void): SchemeRule {
  return (scheme, values, rows, columns, planes) => {
    const layouts = planeLayouts(scheme, rows, columns);
    const writers: PlaneWriter[] = [];
    const writer = (name: "codes" | "scales" | "superScales" | "offsets" | "superOffsets") => {
      const [layout, bytes] = [layouts[name], planes[name]];
      if (!layout || !bytes) return undefined;
      const made = planeWriter(layout, bytes);
      writers.push(made);
      return made.row;
    };
    const codes = writer("codes") as Codes;
    const rowsOf = {
      scales: writer("scales"),
      superScales: writer("superScales"),
      offsets: writer("offsets"),
      superOffsets: writer("superOffsets"),
    };
    const rule = prepare(scheme);
    const perSuper = SUPER / per;
    const fixed = { values, codes, scales: new Uint8Array(perSuper), offsets: new Uint8Array(perSuper) };
    for (let row = 0; row < rows; row++) {
      for (let index = 0; index * SUPER < columns; index++) {
        const block = { ...fixed, groups: groupsOf(row, index, columns, per), superScale: 0, superOffset: 0 };
        rule(block);
        const first = index * perSuper;
        for (let g = 0; g < block.groups.length; g++) {
          if (rowsOf.scales) rowsOf.scales[first + g] = block.scales[g];
          if (rowsOf.offsets) rowsOf.offsets[first + g] = block.offsets[g];
        }
        if (rowsOf.superScales) rowsOf.superScales[index] = block.superScale;
        if (rowsOf.superOffsets) rowsOf.superOffsets[index] = block.superOffset;
      }
      for (const { next } of writers) next();
    }
  };
}

function groupsOf(row: number, index: number, columns: number, per: number): GroupRange[] {
  const groups: GroupRange[] = [];
  const end = Math.min(columns, (index + 1) * SUPER);
  for (let at = index * SUPER; at < end; at += per) {
    groups.push({ start: row * columns + at, end: row * columns + Math.min(at + per, end), at });
  }
  return groups;
}

const made = new Map<string, IntegerFormat>();

/** An integer stored plus `offset`, as ggml stores signed codes: value = code - offset. */
export function offsetInt(bits: number, offset: number, max?: number): IntegerFormat {
  const name = `int${bits}-offset${offset}`;
  const format =
    made.get(name) ??
    integer({
      name,
      bits,
      signed: true,
      offset,
      ...(max === undefined ? {} : { max }),
      summary: `integer from ${-offset}, stored plus ${offset}`,
      source: "ggml",
    });
  made.set(name, format);
  return format;
}

/** ggml's nearest_int: nearest, ties to even, in f32; for |x| < 2^22. */
export const nearestInt = (x: number): number => Math.fround(x + 12582912) - 12582912;
