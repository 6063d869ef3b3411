/** The triangular factor that GPTQ walks along, in binary64. */

/**
 * The upper triangular U, row-major, with H^-1 = U^T U, for a symmetric H of n x n; undefined if H is not positive
 * definite. H = R R^T with R upper triangular gives U = R^-1, so H is never inverted. `h` is overwritten by U.
 */
export function inverseUpperFactor(h: Float64Array, n: number): Float64Array | undefined {
  if (!reverseCholesky(h, n)) return undefined;
  invertUpper(h, n);
  return h;
}

/** Replaces the upper triangle of h by R with h = R R^T, from the last row up; false if a pivot is not positive. */
function reverseCholesky(h: Float64Array, n: number): boolean {
  for (let j = n - 1; j >= 0; j--) {
    const rowJ = h.subarray(j * n, (j + 1) * n);
    const pivot = rowJ[j] - dot(rowJ, rowJ, j + 1, n);
    if (!(pivot > 0) || !Number.isFinite(pivot)) return false;
    const root = Math.sqrt(pivot);
    rowJ[j] = root;
    for (let i = 0; i < j; i++) {
      const rowI = h.subarray(i * n, (i + 1) * n);
      rowI[j] = (rowI[j] - dot(rowI, rowJ, j + 1, n)) / root;
    }
  }
  return true;
}

/** Four partial sums, always added in the same order. */
function dot(a: Float64Array, b: Float64Array, start: number, end: number): number {
  let [s0, s1, s2, s3] = [0, 0, 0, 0];
  let k = start;
  for (; k + 4 <= end; k += 4) {
    s0 += a[k] * b[k];
    s1 += a[k + 1] * b[k + 1];
    s2 += a[k + 2] * b[k + 2];
    s3 += a[k + 3] * b[k + 3];
  }
  for (; k < end; k++) s0 += a[k] * b[k];
  return s0 + s1 + (s2 + s3);
}

/** U_i = (e_i - sum_{k > i} R_ik U_k) / R_ii, from the last row up; the lower triangle is set to 0. */
function invertUpper(r: Float64Array, n: number): void {
  const factors = new Float64Array(n);
  for (let i = n - 1; i >= 0; i--) {
    const row = r.subarray(i * n, (i + 1) * n);
    factors.set(row);
    const inverse = 1 / factors[i];
    row.fill(0);
    for (let k = i + 1; k < n; k++) {
      const factor = factors[k] * inverse;
      if (factor === 0) continue;
      const other = r.subarray(k * n, (k + 1) * n);
      for (let j = k; j < n; j++) row[j] -= factor * other[j];
    }
    row[i] = inverse;
  }
}
