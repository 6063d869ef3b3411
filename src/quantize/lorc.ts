/**
 * Low-rank compensation: the error of a quantized matrix, E = W - Q(W), is replaced by its best approximation A B of a small
 * rank, which is stored beside it. Best in what norm: of E itself (LoRC), or of what E does to inputs, E||E x||^2 = ||E R||^2
 * with H = E[x x^T] = R R^T (EoRA).
 *
 * A B = (E R V) (V^T R^-1), where V holds the first right singular vectors of E R. They are found by subspace iteration on
 * R^T E^T E R from a fixed random start; errors of rounding have flat spectra, where the last vectors come out inexact and the
 * energy that they hold hardly less than the best. With U = R^-1 (cholesky.ts), R is H U^T, so nothing else is factored.
 */
import { NumericError } from "../errors.js";
import { schemes } from "../formats/index.js";
import { plainProducts, transposed } from "../kernels/products.js";
import { choice } from "../options.js";
import { randomUniform } from "../random.js";
import { quantize } from "../tensor/index.js";
import { inverseUpperFactor } from "./cholesky.js";
import { type CompensationJob, compensation } from "./compensation.js";

const OPTIONS = {
  rank: { kind: "integer", summary: "columns of A and rows of B", default: 8, min: 1, max: 4096 },
  space: choice(
    "where the error is to be small: weighted by the inputs (EoRA), or in the weights themselves (LoRC)",
    ["inputs", "weights"],
    "inputs",
  ),
  scheme: choice("scheme of A and B", ["int8-row", "e4m3fn-row", "f16", "f32"], "int8-row"),
  iterations: { kind: "integer", summary: "of the subspace", default: 8, min: 1, max: 1000 },
} as const;

export const lorc = compensation({
  name: "lorc",
  summary: "the quantization error's best approximation of low rank, stored beside the matrix",
  source:
    "Yao et al. 2023 (ZeroQuant-V2), arXiv 2303.08302, section 5 (LoRC); weighted by inputs: Liu et al. 2024 (EoRA), arXiv 2410.21271",
  options: OPTIONS,
  needs: ({ space }) => (space === "inputs" ? "hessian" : "nothing"),
  compensate(job, { rank: wanted, space, scheme: name, iterations }) {
    const [rows, columns] = job.shape;
    const rank = Math.min(wanted, rows, columns);
    const errors = job.original.map((w, i) => w - job.quantized[i]);
    const whitening = space === "inputs" ? whiteningOf(job) : undefined;
    const v = leadingVectors(errors, columns, rank, iterations, whitening, job);
    const right = whitening ? whitening.root(v) : v;
    const left = whitening ? whitening.inverse(v) : v;
    const a = productOf(errors, right, columns);
    const b = Float64Array.from(left.flatMap((row) => [...row]));
    balance(a, b, rank);
    const scheme = schemes.get(name);
    return {
      a: quantize(Float32Array.from(a), [rows, rank], scheme),
      b: quantize(Float32Array.from(b), [rank, columns], scheme),
    };
  },
});

/** Vectors of one length, the rows of a thin matrix. */
type Vectors = Float64Array[];

/** R and R^-1 applied to vectors: R v, R^T v and (R^-1)^T v. */
interface Whitening {
  root(vectors: Vectors): Vectors;
  rootTransposed(vectors: Vectors): Vectors;
  inverse(vectors: Vectors): Vectors;
}

function whiteningOf({ statistics }: CompensationJob): Whitening | undefined {
  if (!statistics?.hessian) return undefined;
  const { hessian, columns } = statistics;
  const h = hessian.slice();
  const mean = statistics.meanSquare.reduce((sum, x) => sum + x, 0) / columns || 1;
  for (let j = 0; j < columns; j++) h[j * columns + j] += DAMPING * mean;
  const u = inverseUpperFactor(h.slice(), columns);
  if (!u) {
    throw new NumericError("the second moments of an input are not positive definite", {
      kind: "singular-matrix",
      try: "a longer calibration text, or space=weights",
    });
  }
  const byH = (vectors: Vectors) => vectors.map((v) => timesRows(h, v));
  return {
    root: (vectors) => byH(vectors.map((v) => timesColumns(u, v))),
    rootTransposed: (vectors) => byH(vectors).map((v) => timesRows(u, v)),
    inverse: (vectors) => vectors.map((v) => timesColumns(u, v)),
  };
}

/** Share of the mean diagonal added to H, so that directions without inputs cost something. */
const DAMPING = 0.01;

/** M v. */
function timesRows(m: Float64Array, v: Float64Array): Float64Array {
  const n = v.length;
  const out = new Float64Array(m.length / n);
  for (let i = 0; i < out.length; i++) {
    let sum = 0;
    for (let j = 0, at = i * n; j < n; j++, at++) sum += m[at] * v[j];
    out[i] = sum;
  }
  return out;
}

/** M^T v. */
function timesColumns(m: Float64Array, v: Float64Array): Float64Array {
  const n = m.length / v.length;
  const out = new Float64Array(n);
  for (let i = 0; i < v.length; i++) {
    const x = v[i];
    if (x === 0) continue;
    for (let j = 0, at = i * n; j < n; j++, at++) out[j] += m[at] * x;
  }
  return out;
}

function leadingVectors(
  errors: Float32Array,
  columns: number,
  rank: number,
  iterations: number,
  whitening: Whitening | undefined,
  { products = plainProducts, seed }: CompensationJob,
): Vectors {
  const byColumn = transposed(errors, columns);
  const gram = Float64Array.from(products.multiply(byColumn, byColumn, errors.length / columns));
  let v: Vectors = Array.from({ length: rank }, (_, i) =>
    Float64Array.from({ length: columns }, (_, j) => randomUniform(seed, STREAM, i * columns + j) - 0.5),
  );
  orthonormalize(v);
  for (let round = 0; round < iterations; round++) {
    const inner = whitening ? whitening.root(v) : v;
    const outer = inner.map((one) => timesRows(gram, one));
    v = whitening ? whitening.rootTransposed(outer) : outer;
    orthonormalize(v);
  }
  return v;
}

/** The stream of the seed that subspaces start from. */
const STREAM = 0x10c;

/** Gram-Schmidt, twice over each vector; one that vanishes stays zero. */
function orthonormalize(vectors: Vectors): void {
  vectors.forEach((v, i) => {
    const before = norm(v);
    for (let pass = 0; pass < 2; pass++) {
      for (const other of vectors.slice(0, i)) subtract(v, other, dot(v, other));
    }
    const length = norm(v);
    const scale = length > 1e-10 * before && length > 0 ? 1 / length : 0;
    for (let j = 0; j < v.length; j++) v[j] *= scale;
  });
}

const dot = (a: Float64Array, b: Float64Array) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const norm = (a: Float64Array) => Math.sqrt(dot(a, a));
function subtract(a: Float64Array, b: Float64Array, factor: number): void {
  for (let j = 0; j < a.length; j++) a[j] -= factor * b[j];
}

/** E v for every vector: [rows, vectors]. */
function productOf(errors: Float32Array, vectors: Vectors, columns: number): Float64Array {
  const rows = errors.length / columns;
  const out = new Float64Array(rows * vectors.length);
  for (let row = 0; row < rows; row++) {
    vectors.forEach((v, i) => {
      let sum = 0;
      for (let j = 0, at = row * columns; j < columns; j++, at++) sum += errors[at] * v[j];
      out[row * vectors.length + i] = sum;
    });
  }
  return out;
}

/** Gives column i of A and row i of B the same length. */
function balance(a: Float64Array, b: Float64Array, rank: number): void {
  const columns = b.length / rank;
  for (let i = 0; i < rank; i++) {
    let [left, right] = [0, 0];
    for (let at = i; at < a.length; at += rank) left += a[at] * a[at];
    for (let j = 0; j < columns; j++) right += b[i * columns + j] ** 2;
    const factor = left > 0 && right > 0 ? Math.sqrt(Math.sqrt(right / left)) : 1;
    for (let at = i; at < a.length; at += rank) a[at] *= factor;
    for (let j = 0; j < columns; j++) b[i * columns + j] /= factor;
  }
}
