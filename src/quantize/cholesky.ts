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

/** Rows or columns that pass over the rest of the matrix together, so that it is read from memory once for them. */
const BLOCK = 4;

/** Replaces the upper triangle of h by R with h = R R^T, from the last column back; false if a pivot is not positive. */
function reverseCholesky(h: Float64Array, n: number): boolean {
  for (let end = n; end > 0; end -= BLOCK) {
    const start = Math.max(0, end - BLOCK);
    takeOffLater(h, n, start, end);
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

/** h_ij -= sum_{k >= end} R_ik R_jk for the columns j of a block and all i <= j. */
function takeOffLater(h: Float64Array, n: number, start: number, end: number): void {
  if (end === n) return;
  const [j0, j1, j2, j3] = [start, start + 1, start + 2, start + 3].map((j) => Math.min(j, end - 1) * n);
  for (let i = 0; i < end; i++) {
    const row = i * n;
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    for (let k = end; k < n; k++) {
      const x = h[row + k];
      s0 += x * h[j0 + k];
      s1 += x * h[j1 + k];
      s2 += x * h[j2 + k];
      s3 += x * h[j3 + k];
    }
    if (i <= start) h[row + start] -= s0;
    if (i <= start + 1 && start + 1 < end) h[row + start + 1] -= s1;
    if (i <= start + 2 && start + 2 < end) h[row + start + 2] -= s2;
    if (i <= start + 3 && start + 3 < end) h[row + start + 3] -= s3;
  }
}

/** U_i = (e_i - sum_{k > i} R_ik U_k) / R_ii, from the last row up; the lower triangle is set to 0. */
function invertUpper(r: Float64Array, n: number): void {
  const factors = new Float64Array(BLOCK * n);
  for (let end = n; end > 0; end -= BLOCK) {
    const start = Math.max(0, end - BLOCK);
    factors.set(r.subarray(start * n, end * n));
    r.fill(0, start * n, end * n);
    takeOffBelow(r, n, start, end, factors);
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

/** Rows start .. end of r less the sum over k >= end of factor_ik U_k. */
function takeOffBelow(r: Float64Array, n: number, start: number, end: number, factors: Float64Array): void {
  if (end - start < BLOCK) {
    for (let i = start; i < end; i++) {
      for (let k = end; k < n; k++) {
        const factor = factors[(i - start) * n + k];
        for (let j = k; j < n; j++) r[i * n + j] -= factor * r[k * n + j];
      }
    }
    return;
  }
  const [r0, r1, r2, r3] = [start * n, (start + 1) * n, (start + 2) * n, (start + 3) * n];
  for (let k = end; k < n; k++) {
    const [f0, f1, f2, f3] = [factors[k], factors[n + k], factors[2 * n + k], factors[3 * n + k]];
    for (let j = k, at = k * n + k; j < n; j++, at++) {
      const u = r[at];
      r[r0 + j] -= f0 * u;
      r[r1 + j] -= f1 * u;
      r[r2 + j] -= f2 * u;
      r[r3 + j] -= f3 * u;
    }
  }
}
