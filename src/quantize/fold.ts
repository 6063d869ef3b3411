/**
 * Folding: a vector inside a network, x, may be exchanged for x' = R ((x - z) / s) if what makes it and what reads it change
 * along, and then the network computes what it computed before:
 *
 *     what reads it    W' = W diag(s) R^T,  b' = b + W z        (the columns of W)
 *     what makes it    W' = R diag(1 / s) W, b' = R ((b - z) / s)  (the rows of W)
 *
 * s are scales (AWQ, SmoothQuant), R a rotation or a permutation, z a shift. What a norm, an elementwise product or rotary
 * positions let through is for the caller to know (models/architecture.ts, LinearGroup and WeightGraph).
 */
import { hadamardBlocks, hadamardFactors } from "../kernels/hadamard.js";
import { transposed } from "../kernels/products.js";
import { randomSigns } from "../models/steps/hadamard.js";
import { randomUniform } from "../random.js";

/** A linear map of rows: every row r of [n, columns] becomes R r. */
export type RowMap = (rows: Float32Array) => Float32Array;

/** Column j of every row times s_j. */
export function scaleColumns(values: Float32Array, s: ArrayLike<number>): Float32Array {
  const out = new Float32Array(values.length);
  for (let start = 0; start < values.length; start += s.length) {
    for (let j = 0; j < s.length; j++) out[start + j] = values[start + j] * s[j];
  }
  return out;
}

/** Row r divided by s_r; a vector is a matrix of one column. */
export function divideRows(values: Float32Array, s: ArrayLike<number>): Float32Array {
  const columns = values.length / s.length;
  return values.map((x, i) => x / s[Math.floor(i / columns)]);
}

/** R W for W [rows, columns]: every column of W goes through the map. */
export function mapColumns(values: Float32Array, columns: number, map: RowMap): Float32Array {
  const rows = values.length / columns;
  return transposed(map(transposed(values, columns)), rows);
}

/** Element i of every row is element order[i] of the old one. */
export function permutation(order: ArrayLike<number>): RowMap {
  const n = order.length;
  return (rows) => rows.map((_, i) => rows[i - (i % n) + order[i % n]]);
}

/** Blocks of every row rotated by H diag(signs) / sqrt(block), in binary64; see kernels/hadamard.ts. */
export function hadamardRotation(block: number, signs: ArrayLike<number>): RowMap {
  return (rows) => {
    const out = new Float32Array(rows.length);
    const chunk = signs.length * Math.max(1, Math.floor(CHUNK / signs.length));
    for (let start = 0; start < rows.length; start += chunk) {
      const part = Float64Array.from(rows.subarray(start, start + chunk));
      out.set(hadamardBlocks(part, block, signs, same), start);
    }
    return out;
  };
}

/** Numbers in binary64 at a time. */
const CHUNK = 1 << 18;
const same = (x: number) => x;

/** The rotation by a dense orthogonal matrix, drawn evenly among all: normal numbers made orthonormal row by row. */
export function randomRotation(size: number, seed: number, stream: number): RowMap {
  const q = orthonormalRows(size, (i) => normal(seed, stream, i));
  return (rows) => {
    const out = new Float32Array(rows.length);
    for (let start = 0; start < rows.length; start += size) {
      for (let i = 0; i < size; i++) {
        let sum = 0;
        for (let j = 0, at = i * size; j < size; j++, at++) sum += q[at] * rows[start + j];
        out[start + i] = sum;
      }
    }
    return out;
  };
}

/** Gram and Schmidt, twice over, so that orthogonality holds to the last bits. */
function orthonormalRows(size: number, draw: (i: number) => number): Float64Array {
  const q = Float64Array.from({ length: size * size }, (_, i) => draw(i));
  for (let i = 0; i < size; i++) {
    const row = q.subarray(i * size, (i + 1) * size);
    for (let j = 0; j < 2 * i; j++) {
      const other = q.subarray((j % i) * size, ((j % i) + 1) * size);
      const dot = row.reduce((sum, x, k) => sum + x * other[k], 0);
      for (let k = 0; k < size; k++) row[k] -= dot * other[k];
    }
    const length = Math.sqrt(row.reduce((sum, x) => sum + x * x, 0));
    for (let k = 0; k < size; k++) row[k] /= length;
  }
  return q;
}

function normal(seed: number, stream: number, i: number): number {
  const [u, v] = [randomUniform(seed, stream, 2 * i), randomUniform(seed, stream, 2 * i + 1)];
  return Math.sqrt(-2 * Math.log(u + 2 ** -33)) * Math.cos(2 * Math.PI * v);
}

/**
 * The largest block of at most `most` numbers with a known Hadamard matrix that rows of this length are whole blocks of;
 * undefined if there is none.
 */
export function largestBlock(columns: number, most: number): number | undefined {
  for (let parts = Math.ceil(columns / most); parts <= columns / 4; parts++) {
    if (columns % parts === 0 && hadamardFactors(columns / parts)) return columns / parts;
  }
  return undefined;
}

/** Signs of a rotation of rows that are `columns` long, from the seed and a name for what is rotated. */
export const signsFor = (columns: number, seed: number, name: string): Int8Array =>
  randomSigns(columns, seed, streamOf(name));

/** A stream of random draws for each name: FNV-1a of its UTF-16 units. */
export function streamOf(name: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

type Change = (values: Float32Array) => Float32Array | Promise<Float32Array>;

/** What is to be done to weights, by role, in order; nothing is read before a weight is asked for. */
export class Changes {
  private readonly read: (role: string) => Promise<Float32Array>;
  private readonly lists = new Map<string, { readonly from: string; readonly changes: Change[] }>();

  constructor(read: (role: string) => Promise<Float32Array>) {
    this.read = read;
  }

  /** `from`: the weight that the new one starts as, if that is another. */
  add(role: string, change: Change, from = role): void {
    const list = this.lists.get(role) ?? { from, changes: [] };
    list.changes.push(change);
    this.lists.set(role, list);
  }

  weights(): ReadonlyMap<string, () => Promise<Float32Array>> {
    const made = [...this.lists].map(([role, { from, changes }]) => {
      const make = async () => {
        let values = await this.read(from);
        for (const change of changes) values = await change(values);
        return values;
      };
      return [role, make] as const;
    });
    return new Map(made);
  }
}

interface Values {
  readonly changes: Changes;
  readonly has: (role: string) => boolean;
  readonly value: string;
  readonly output: string;
  /** Columns of the value projection. */
  readonly width: number;
}

/** The values of every head through a rotation of at most one head's length, and the output projection's columns too. */
export function turnValues({ changes, has, value, output, width }: Values, turn: RowMap): void {
  changes.add(value, (values) => mapColumns(values, width, turn));
  if (has(`${value}.bias`)) changes.add(`${value}.bias`, turn);
  changes.add(output, turn);
}
