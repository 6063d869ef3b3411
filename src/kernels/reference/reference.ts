/**
 * The reference backend: plain TypeScript, slow and clear, kept for ever as the oracle that fast backends must equal
 * bit for bit. Every operation on numbers is one f32 operation, rounded by Math.fround (a binary64 result of +, -, *, /
 * or sqrt on f32 operands, rounded to f32, is the correctly rounded f32 result), in an order that is part of the
 * definition:
 *
 * - a matmul sums over k in order, from 0, product rounded, then sum rounded;
 * - other sums over a row (norm, softmax, dot products of attention) keep four partial sums, element i in sum i mod 4,
 *   and end as (s0 + s1) + (s2 + s3); this is the one concession to machines with four lanes.
 */
import { InputError } from "../../errors.js";
import type { PlaneName } from "../../formats/scheme.js";
import type { PackedTensor } from "../../tensor/packed.js";
import type { Activations, Backend, Buffer, Matrix, PackedAttentionShape, Past, RowStore } from "../backend.js";
import { expF32 } from "../exp.js";
import { geluF32, geluTanhF32 } from "../gelu.js";
import { hadamardBlocks } from "../hadamard.js";
import { plainMoments } from "../moments.js";
import { roundRows, roundRowsStatic } from "../round.js";
import { openWeight } from "../rounded-rows.js";
import { packRows, type RowPlanes, rowPlanes, unpackRows } from "../row-store.js";
import { check } from "../shapes.js";
import { decodeRow } from "../weight-rows.js";
import { int8Matrix, matmulInt8, roundedRow } from "./matmul-int8.js";

const f = Math.fround;

class ArrayBuffer32 implements Buffer {
  readonly array: Float32Array;
  constructor(array: Float32Array) {
    this.array = array;
  }
  get length(): number {
    return this.array.length;
  }
  data(): Float32Array {
    return this.array;
  }
  view(start: number, length: number): Buffer {
    check.view(this.length, start, length);
    return new ArrayBuffer32(this.array.subarray(start, start + length));
  }
}

interface ReferenceMatrix extends Matrix {
  /** Fills `out` with row n of the weight in f32. */
  row(n: number, out: Float32Array): void;
  readonly int8?: ReturnType<typeof int8Matrix>;
}

function loadMatrix(weight: PackedTensor, activations: Activations = "f32"): ReferenceMatrix {
  const reader = openWeight(weight, activations);
  const { rows, columns } = reader;
  const bytes = Object.values(weight.planes).reduce((sum, plane) => sum + (plane?.length ?? 0), 0);
  const int8 = activations === "f32" ? undefined : int8Matrix(reader, activations);
  const row = (n: number, out: Float32Array) => {
    reader.read(n);
    if (int8 && int8.error > 0) roundedRow(int8, out);
    else decodeRow(reader, out);
  };
  return { rows, columns, scheme: weight.scheme.name, activations, bytes, plan: "decoded row by row", row, int8 };
}

/** Sum of terms 0 .. count - 1 in the order of four lanes. */
export function sumInLanes(count: number, term: (i: number) => number): number {
  const s = [0, 0, 0, 0];
  for (let i = 0; i < count; i++) s[i % 4] = f(s[i % 4] + term(i));
  return f(f(s[0] + s[1]) + f(s[2] + s[3]));
}

/** exp(x - max) of a row in place, and their sum. */
function exponentials(x: Float32Array): number {
  const max = x.reduce((a, b) => Math.max(a, b), -Infinity);
  for (let i = 0; i < x.length; i++) x[i] = expF32(f(x[i] - max));
  return sumInLanes(x.length, (i) => x[i]);
}

export function createReference(): Backend {
  return {
    info: { name: "reference", threads: 1, exactness: "deterministic", features: [], fallbacks: [] },

    batch: (work) => work(),
    allocate(length) {
      check.allocate(length);
      return new ArrayBuffer32(new Float32Array(length));
    },
    upload: (values) => new ArrayBuffer32(values.slice()),
    free() {},
    loadMatrix,
    freeMatrix() {},

    embed(out, ids, table) {
      check.embed(out, ids, table);
      const { row, columns } = own(table);
      for (let i = 0; i < ids.length; i++) row(ids[i], out.view(i * columns, columns).data());
    },

    matmul(out, x, weight, batch, bias) {
      check.matmul(out, x, weight, batch, bias);
      const { rows, columns, row, int8 } = own(weight);
      const [o, input, b] = [out.data(), x.data(), bias?.data()];
      if (int8) matmulInt8(o, input, int8, batch);
      else {
        const w = new Float32Array(columns);
        for (let n = 0; n < rows; n++) {
          row(n, w);
          for (let m = 0; m < batch; m++) {
            let sum = 0;
            for (let k = 0; k < columns; k++) sum = f(sum + f(input[m * columns + k] * w[k]));
            o[m * rows + n] = sum;
          }
        }
      }
      if (b) for (let i = 0; i < batch * rows; i++) o[i] += b[i % rows];
    },

    matmulGroup(x, products, batch) {
      for (const { out, weight, bias } of products) this.matmul(out, x, weight, batch, bias);
    },

    rmsNorm(out, x, gain, batch, epsilon) {
      check.rmsNorm(out, x, gain, batch);
      const [o, input, g] = [out.data(), x.data(), gain.data()];
      const size = gain.length;
      for (let m = 0; m < batch; m++) {
        const row = input.slice(m * size, (m + 1) * size);
        const mean = f(sumInLanes(size, (i) => f(row[i] * row[i])) / size);
        const scale = f(1 / f(Math.sqrt(f(mean + f(epsilon)))));
        for (let i = 0; i < size; i++) o[m * size + i] = f(row[i] * scale) * g[i];
      }
    },

    layerNorm(out, x, gain, bias, batch, epsilon) {
      check.layerNorm(out, x, gain, bias, batch);
      const [o, input, g, b] = [out.data(), x.data(), gain.data(), bias.data()];
      const size = gain.length;
      for (let m = 0; m < batch; m++) {
        const row = input.slice(m * size, (m + 1) * size);
        const mean = f(sumInLanes(size, (i) => row[i]) / size);
        for (let i = 0; i < size; i++) row[i] -= mean;
        const variance = f(sumInLanes(size, (i) => f(row[i] * row[i])) / size);
        const scale = f(1 / f(Math.sqrt(f(variance + f(epsilon)))));
        for (let i = 0; i < size; i++) o[m * size + i] = f(f(row[i] * scale) * g[i]) + b[i];
      }
    },

    hadamard(out, x, signs, block, batch) {
      check.hadamard(out, x, signs, block, batch);
      const input = x.data().subarray(0, batch * signs.length);
      out.data().set(hadamardBlocks(input, block, signs.data(), f));
    },

    rope(x, batch, heads, headSize, cos, sin, position) {
      check.rope(x, batch, heads, headSize, cos, sin, position);
      const [v, c, s] = [x.data(), cos.data(), sin.data()];
      const half = headSize / 2;
      for (let m = 0; m < batch; m++) {
        for (let h = 0; h < heads; h++) {
          for (let i = 0; i < half; i++) {
            const at = (m * heads + h) * headSize + i;
            const angle = (position + m) * half + i;
            const [a, b] = [v[at], v[at + half]];
            v[at] = f(a * c[angle]) - f(b * s[angle]);
            v[at + half] = f(b * c[angle]) + f(a * s[angle]);
          }
        }
      }
    },

    ropeAndStore(q, k, v, { keys, values, row }, { cos, sin, position }, { batch, heads, kvHeads, headSize }) {
      const shape = { batch, heads, kvHeads, headSize };
      check.ropeAndStore(q, k, v, { keys, values, row }, { cos, sin, position }, shape);
      const length = batch * kvHeads * headSize;
      this.rope(q, batch, heads, headSize, cos, sin, position);
      this.rope(k, batch, kvHeads, headSize, cos, sin, position);
      keys.data().set(k.data().subarray(0, length), row * kvHeads * headSize);
      values.data().set(v.data().subarray(0, length), row * kvHeads * headSize);
    },

    attention(out, q, keys, values, shape) {
      check.attention(out, q, keys, values, shape);
      const { batch, position, heads, kvHeads, headSize, causal = true } = shape;
      const [o, query, k, v] = [out.data(), q.data().slice(), keys.data(), values.data()];
      const scale = f(1 / Math.sqrt(headSize));
      for (let m = 0; m < batch; m++) {
        for (let h = 0; h < heads; h++) {
          const at = (m * heads + h) * headSize;
          const kv = (t: number) => (t * kvHeads + Math.floor((h * kvHeads) / heads)) * headSize;
          const dot = (t: number) => sumInLanes(headSize, (i) => f(query[at + i] * k[kv(t) + i]));
          const seen = position + (causal ? m + 1 : batch);
          const weights = Float32Array.from({ length: seen }, (_, t) => f(dot(t) * scale));
          const total = exponentials(weights);
          for (let i = 0; i < headSize; i++) {
            let sum = 0;
            for (let t = 0; t < weights.length; t++) sum = f(sum + f(weights[t] * v[kv(t) + i]));
            o[at + i] = sum / total;
          }
        }
      }
    },

    attentionOverPacked(out, q, keys, values, shape) {
      check.attentionOverPacked(out, q, keys, values, shape);
      this.attention(out, q, wholePast(keys, shape), wholePast(values, shape), shape);
    },

    siluMultiply(out, gate, up, length) {
      check.elementwise("siluMultiply", length, { out, gate, up });
      const [o, g, u] = [out.data(), gate.data(), up.data()];
      for (let i = 0; i < length; i++) o[i] = f(g[i] / f(1 + expF32(-g[i]))) * u[i];
    },

    gelu(out, x, length, form = "erf") {
      check.elementwise("gelu", length, { out, x });
      const [o, input] = [out.data(), x.data()];
      const gelu = form === "erf" ? geluF32 : geluTanhF32;
      for (let i = 0; i < length; i++) o[i] = gelu(input[i]);
    },

    add(out, a, b, length) {
      check.elementwise("add", length, { out, a, b });
      const [o, p, q] = [out.data(), a.data(), b.data()];
      for (let i = 0; i < length; i++) o[i] = p[i] + q[i];
    },

    softmax(out, x, rows, columns) {
      check.softmax(out, x, rows, columns);
      for (let r = 0; r < rows; r++) {
        const row = x.data().slice(r * columns, (r + 1) * columns);
        const total = exponentials(row);
        out.data().set(
          row.map((e) => e / total),
          r * columns,
        );
      }
    },

    round(out, x, scheme, batch, columns) {
      check.round(out, x, batch, columns);
      roundRows(out.data(), x.data(), scheme, batch, columns);
    },

    roundStatic(out, x, format, scales, batch, columns) {
      check.roundStatic(out, x, scales, batch, columns);
      roundRowsStatic(out.data(), x.data(), format, scales.data(), batch, columns);
    },

    createRows(scheme, rows, columns) {
      check.createRows(rows, columns);
      const layout = rowPlanes(scheme, columns);
      const planes = new Map(layout.sizes.map(([name, bytes]) => [name, new Uint8Array(rows * bytes)]));
      const store: ReferenceRows = { scheme, rows, columns, bytes: rows * layout.rowBytes, layout, planes };
      return store;
    },

    freeRows(store) {
      ownRows(store);
    },

    pack(store, at, x, count) {
      check.rows("pack", x, store, at, count);
      const { layout, planes } = ownRows(store);
      packRows(layout, (name) => planes.get(name) as Uint8Array, at, x.data(), count);
    },

    unpack(out, store, at, count) {
      check.rows("unpack", out, store, at, count);
      const { layout, planes } = ownRows(store);
      unpackRows(layout, (name) => planes.get(name) as Uint8Array, at, out.data(), count);
    },

    transpose(out, x, count, rows, columns) {
      check.transpose(out, x, count, rows, columns);
      const [o, v] = [out.data(), x.data()];
      for (let m = 0; m < count * rows * columns; m += rows * columns) {
        for (let i = 0; i < rows; i++) for (let j = 0; j < columns; j++) o[m + j * rows + i] = v[m + i * columns + j];
      }
    },

    copy(out, x, length) {
      check.elementwise("copy", length, { out, x });
      out.data().set(x.data().subarray(0, length));
    },

    sumMoments: plainMoments,

    async dispose() {},
  };
}

/** All positions in f32. */
function wholePast(
  { store, axis, recent }: Past,
  { position, batch, packed, chunk, kvHeads, headSize }: PackedAttentionShape,
): Buffer {
  const { layout, planes } = ownRows(store);
  const width = kvHeads * headSize;
  const all = new Float32Array((position + batch) * width);
  const rows = axis === "token" ? packed : (packed / chunk) * width;
  const held = new Float32Array(packed * width);
  unpackRows(layout, (name) => planes.get(name) as Uint8Array, 0, held, rows);
  if (axis === "token") all.set(held);
  else
    held.forEach((x, i) => {
      const [row, place] = [Math.floor(i / chunk), i % chunk];
      all[(Math.floor(row / width) * chunk + place) * width + (row % width)] = x;
    });
  all.set(recent.data().subarray(0, all.length - packed * width), packed * width);
  return new ArrayBuffer32(all);
}

interface ReferenceRows extends RowStore {
  readonly layout: RowPlanes;
  readonly planes: ReadonlyMap<PlaneName, Uint8Array>;
}

function ownRows(store: RowStore): ReferenceRows {
  if ("planes" in store) return store as ReferenceRows;
  throw new InputError(`these ${store.scheme.name} rows were created by another backend`, { where: "reference" });
}

function own(matrix: Matrix): ReferenceMatrix {
  if ("row" in matrix) return matrix as ReferenceMatrix;
  throw new InputError(`this ${matrix.scheme} matrix was loaded by another backend`, { where: "reference" });
}
