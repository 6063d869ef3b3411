/** The triangular factor that GPTQ walks along, in binary64. */
import { openTriangular, TRIANGULAR_BLOCK, type TriangularKernel } from "../kernels/index.js";

/**
 * The upper triangular U, row-major, with H^-1 = U^T U, for a symmetric H of n x n; undefined if H is not positive
 * definite. H = R R^T with R upper triangular gives U = R^-1, so H is never inverted. What is below the diagonal of `h` is
 * not read.
 */
export function inverseUpperFactor(h: Float64Array, n: number): Float64Array | undefined {
  const kernel = openTriangular(n);
  kernel.matrix.set(h);
  if (!reverseCholesky(kernel, n)) return undefined;
  invertUpper(kernel, n);
  return kernel.matrix;
}

/** Blocks of rows and columns from the last to the first, which may be smaller. */
const blocksFromEnd = (n: number) =>
  Array.from({ length: Math.ceil(n / TRIANGULAR_BLOCK) }, (_, i) => {
    const end = n - i * TRIANGULAR_BLOCK;
    return { start: Math.max(0, end - TRIANGULAR_BLOCK), end };
  });

/** Replaces the upper triangle of h by R with h = R R^T, from the last column back; false if a pivot is not positive. */
function reverseCholesky({ matrix: h, takeOffLater }: TriangularKernel, n: number): boolean {
  for (const { start, end } of blocksFromEnd(n)) {
    if (end - start === TRIANGULAR_BLOCK) takeOffLater(end);
    else slowlyTakeOffLater(h, n, start, end);
    for (let j = end - 1; j >= start; j--) {
      let pivot = h[j * n + j];
      for (let k = j + 1; k < end; k++) pivot -= h[j * n + k] * h[j * n + k];
      if (!(pivot > 0) || !Number.isFinite(pivot)) return false;
      const root = Math.sqrt(pivot);
      h[j * n + j] = root;
      for (let i = 0; i < j; i++) {
        let sum = h[i * n + j];
        for (let k = j + 1; k < end; k++) sum -= h[i * n + k] * h[j * n + k];
        h[i * n + j] = sum / root;
      }
    }
  }
  return true;
}

/** U_i = (e_i - sum_{k > i} R_ik U_k) / R_ii, from the last row up; the lower triangle is set to 0. */
function invertUpper({ matrix: r, factors, takeOffBelow }: TriangularKernel, n: number): void {
  for (const { start, end } of blocksFromEnd(n)) {
    factors.set(r.subarray(start * n, end * n));
    r.fill(0, start * n, end * n);
    if (end - start === TRIANGULAR_BLOCK) takeOffBelow(end);
    else slowlyTakeOffBelow(r, factors, n, start, end);
    for (let i = end - 1; i >= start; i--) {
      const own = factors.subarray((i - start) * n, (i - start + 1) * n);
      const inverse = 1 / own[i];
      const row = r.subarray(i * n, (i + 1) * n);
      for (let k = i + 1; k < end; k++) {
        for (let j = k; j < n; j++) row[j] -= own[k] * r[k * n + j];
      }
      for (let j = i + 1; j < n; j++) row[j] *= inverse;
      row[i] = inverse;
    }
  }
}

/** What the kernel does for whole blocks: h_ij -= sum_{k >= end} R_ik R_jk for the columns j of a block and all i <= j. */
function slowlyTakeOffLater(h: Float64Array, n: number, start: number, end: number): void {
  for (let j = start; j < end; j++) {
    for (let i = 0; i <= j; i++) {
      for (let k = end; k < n; k++) h[i * n + j] -= h[i * n + k] * h[j * n + k];
    }
  }
}

/** The same: rows start .. end of r less the sum over k >= end of factor_ik U_k. */
function slowlyTakeOffBelow(r: Float64Array, factors: Float64Array, n: number, start: number, end: number): void {
  for (let i = start; i < end; i++) {
    for (let k = end; k < n; k++) {
      const factor = factors[(i - start) * n + k];
      for (let j = k; j < n; j++) r[i * n + j] -= factor * r[k * n + j];
    }
  }
}
