/**
 * Weights of float8 and other formats of 5 to 8 bits as int8, for products with rounded activations: each block is rounded to
 * 127ths of (about) its largest magnitude when the matrix is loaded.
 *
 *     u[g] = the least number of 8 significant bits that is at least max |v[k]| / 127
 *     i[k] = nearest(v[k] / u[g]),  S'[g] = f32(S[g] u[g])
 *
 * A float8 is then as wrong as one of int8 besides: by at most half a 127th of the largest of its block, where e4m3 itself
 * has steps of an eighth of every number. Its products become sums of bytes, at several times the speed of f32.
 */
import { UnsupportedError } from "../errors.js";
import { f32 } from "../formats/f32.js";
import { int } from "../formats/integers.js";
import type { Codes } from "../formats/packing.js";
import { decodeTableF32 } from "../formats/table.js";
import type { PackedTensor } from "../tensor/packed.js";
import type { Activations } from "./backend.js";
import { activationBlock, roundsByBlocks } from "./int8.js";
import { type WeightRows, weightRows } from "./weight-rows.js";

/** The rows of a weight as they meet such activations. */
export function openWeight(packed: PackedTensor, activations: Activations): WeightRows {
  const weight = weightRows(packed);
  return activations === "int8-rounded" && roundsByBlocks(weight.scheme) ? roundedRows(weight) : weight;
}

function roundedRows(weight: WeightRows): WeightRows {
  const { scheme, rows, columns } = weight;
  const blockColumns = activationBlock(weight);
  const blocks = Math.ceil(columns / blockColumns);
  const values = decodeTableF32(scheme.element);
  const codes = new Uint8Array(columns);
  const scales = new Float32Array(blocks);
  const float = new Float32Array(1);
  const bits = new Uint32Array(float.buffer);
  /** The least number of 8 significant bits, those of bf16, that is at least x. */
  const upToEightBits = (x: number) => {
    float[0] = x;
    bits[0] = (bits[0] + (float[0] < x ? 1 : 0) + 0xffff) & 0xffff0000;
    return float[0];
  };
  const overBlocks = (row: number, each?: (from: number, to: number, unit: number) => void) => {
    weight.read(row);
    for (let block = 0; block < blocks; block++) {
      const from = block * blockColumns;
      const to = Math.min(columns, from + blockColumns);
      const unit = upToEightBits(largestOf(values, weight.codes, from, to) / 127);
      if (!Number.isFinite(unit)) throw refusal(weight, row);
      scales[block] = (weight.scales?.[Math.floor(from / weight.blockColumns)] ?? 1) * unit;
      each?.(from, to, unit);
    }
  };
  const readShared = (row: number) => overBlocks(row);
  const read = (row: number) =>
    overBlocks(row, (from, to, unit) => {
      roundBlock(values, weight.codes, from, to, unit === 0 ? 0 : 1 / unit, codes);
    });
  const held = { ...scheme, element: int(8), scale: { format: f32, per: blockColumns } };
  return {
    scheme: held,
    rounded: scheme.element,
    rows,
    columns,
    blockColumns,
    blocks,
    codes,
    scales,
    read,
    readShared,
  };
}

function largestOf(values: Float32Array, codes: Codes, from: number, to: number): number {
  let largest = 0;
  for (let k = from; k < to; k++) largest = Math.max(largest, Math.abs(values[codes[k]]));
  return largest;
}

/** Adding and taking away 1.5 * 2^52 rounds to the nearest integer, ties to even. */
const magic = 1.5 * 2 ** 52;

function roundBlock(
  values: Float32Array,
  codes: Codes,
  from: number,
  to: number,
  inverse: number,
  out: Uint8Array,
): void {
  for (let k = from; k < to; k++) out[k] = values[codes[k]] * inverse + magic - magic;
}

const refusal = ({ scheme }: WeightRows, row: number) =>
  new UnsupportedError(`${scheme.name} weights cannot be rounded to int8`, {
    where: "loadMatrix",
    why: `row ${row} has a code that is no finite number`,
    try: 'activations "f32"',
  });
