/**
 * Hadamard matrices H: entries 1 and -1, H H^T = n I. Divided by sqrt(n) they are rotations that spread one large number
 * evenly over all, and they are quick: the order is split into factors, H = H_last x ... x H_first (Kronecker), and each
 * factor f costs f additions an element. 1 and 2 and every order q + 1 or 2 (q + 1) for a prime q are at hand, so that
 * 576 = 12 * 12 * 4, 1536 = 12 * 128 and 896 = 28 * 32 have one as powers of two have.
 *
 * Sylvester 1867; Paley 1933, "On orthogonal matrices"; their use on activations: Ashkboos et al. 2024 (QuaRot),
 * arXiv 2404.00456, section 4.
 */

/** The largest order that is applied as one factor. */
const LARGEST_FACTOR = 128;

/** A Hadamard matrix of this order, row by row; undefined if none of the constructions makes it. */
export const hadamardMatrix = (order: number): Int8Array | undefined => construction(order)?.();

function construction(order: number): (() => Int8Array) | undefined {
  if (order === 1) return () => Int8Array.of(1);
  if (order === 2) return () => SYLVESTER;
  if (order === 4) return () => kronecker(SYLVESTER, SYLVESTER);
  if (isPrime(order - 1) && order % 4 === 0) return () => paleyOne(order - 1);
  if (isPrime(order / 2 - 1) && (order / 2) % 4 === 2) return () => paleyTwo(order / 2 - 1);
  return undefined;
}

const SYLVESTER = Int8Array.of(1, 1, 1, -1);

/**
 * The factors of the cheapest Kronecker product of this order, the first one innermost and a multiple of four (so that
 * vectors of four lanes stay whole); undefined if the order has none or is no multiple of four.
 */
export function hadamardFactors(order: number): readonly number[] | undefined {
  if (!Number.isInteger(order) || order < 4 || order % 4 !== 0) return undefined;
  const known = plans.get(order);
  if (known) return known;
  const found = cheapest(order, new Map())?.factors;
  if (!found) return undefined;
  const inner = Math.min(...found.filter((f) => f % 4 === 0));
  const at = found.indexOf(inner);
  const factors = [inner, ...found.filter((_, i) => i !== at).sort((a, b) => a - b)];
  plans.set(order, factors);
  return factors;
}

const plans = new Map<number, readonly number[]>();

/**
 * y = H (signs * x) / sqrt(block) for every block of x. `round` is applied after every operation: Math.fround makes it the
 * definition of the backends' operation, the identity computes in binary64. signs repeat from the start for each row.
 *
 * A factor f at stride s: y[a] = ((0 + h[a][0] x[0]) + h[a][1] x[1]) + ..., elements s apart.
 */
export function hadamardBlocks<A extends Float32Array | Float64Array>(
  x: A,
  block: number,
  signs: ArrayLike<number>,
  round: (value: number) => number,
): A {
  const factors = hadamardFactors(block);
  if (!factors) throw new Error(`no Hadamard matrix of order ${block} is known`);
  let [from, to] = [x.map((value, i) => value * signs[i % signs.length]) as A, x.slice() as A];
  let stride = 1;
  for (const factor of factors) {
    const h = hadamardMatrix(factor) as Int8Array;
    for (let start = 0; start < x.length; start += factor * stride) {
      for (let inside = start; inside < start + stride; inside++) {
        for (let a = 0; a < factor; a++) {
          let sum = 0;
          for (let j = 0; j < factor; j++) sum = round(sum + h[a * factor + j] * from[inside + j * stride]);
          to[inside + a * stride] = sum;
        }
      }
    }
    stride *= factor;
    [from, to] = [to, from];
  }
  const scale = round(1 / Math.sqrt(block));
  return from.map((value) => round(value * scale)) as A;
}

interface Split {
  readonly cost: number;
  readonly factors: readonly number[];
}

/** The split with the least sum of factors, fewer factors first among equals. */
function cheapest(order: number, seen: Map<number, Split | undefined>): Split | undefined {
  if (order === 1) return { cost: 0, factors: [] };
  if (seen.has(order)) return seen.get(order);
  let best: Split | undefined;
  for (let factor = Math.min(order, LARGEST_FACTOR); factor >= 2; factor--) {
    if (order % factor !== 0 || (best && factor >= best.cost) || !construction(factor)) continue;
    const rest = cheapest(order / factor, seen);
    if (rest && (!best || factor + rest.cost < best.cost)) {
      best = { cost: factor + rest.cost, factors: [factor, ...rest.factors] };
    }
  }
  seen.set(order, best);
  return best;
}

function isPrime(n: number): boolean {
  if (!Number.isInteger(n) || n < 2) return false;
  for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
  return true;
}

/** 1 for squares modulo the prime q, -1 for the others, 0 for 0. */
function quadraticCharacter(q: number): (x: number) => number {
  const squares = new Set(Array.from({ length: q - 1 }, (_, i) => ((i + 1) * (i + 1)) % q));
  return (x) => {
    const rest = ((x % q) + q) % q;
    return rest === 0 ? 0 : squares.has(rest) ? 1 : -1;
  };
}

/** q = 3 mod 4: I + S, S skew with borders of 1 and -1. */
function paleyOne(q: number): Int8Array {
  const character = quadraticCharacter(q);
  const n = q + 1;
  return Int8Array.from({ length: n * n }, (_, at) => {
    const [i, j] = [Math.floor(at / n), at % n];
    if (i === j) return 1;
    if (i === 0) return 1;
    return j === 0 ? -1 : character(j - i);
  });
}

/** q = 1 mod 4: S x [1 1; 1 -1] + I x [1 -1; -1 -1], S symmetric with a border of 1. */
function paleyTwo(q: number): Int8Array {
  const character = quadraticCharacter(q);
  const n = 2 * (q + 1);
  return Int8Array.from({ length: n * n }, (_, at) => {
    const [row, column] = [Math.floor(at / n), at % n];
    const [i, j, a, b] = [row >> 1, column >> 1, row % 2, column % 2];
    if (i === j) return a === 0 && b === 0 ? 1 : -1;
    const s = i === 0 || j === 0 ? 1 : character(j - i);
    return a === 1 && b === 1 ? -s : s;
  });
}

function kronecker(a: Int8Array, b: Int8Array): Int8Array {
  const [n, m] = [Math.sqrt(a.length), Math.sqrt(b.length)];
  return Int8Array.from({ length: a.length * b.length }, (_, at) => {
    const [row, column] = [Math.floor(at / (n * m)), at % (n * m)];
    return a[Math.floor(row / m) * n + Math.floor(column / m)] * b[(row % m) * m + (column % m)];
  });
}
