/**
 * One counter-based generator for everything random: Philox 4x32 with 10 rounds (Salmon, Moraes, Dror and Shaw,
 * "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A draw is a pure function of (seed, stream, counter), so any
 * backend or thread can compute draw number n without computing those before it, and a run is repeated by its seed.
 */
const MULTIPLIER_0 = 0xd2511f53;
const MULTIPLIER_1 = 0xcd9e8d57;
const WEYL_0 = 0x9e3779b9;
const WEYL_1 = 0xbb67ae85;

/** High 32 bits of the 64-bit product of two unsigned 32-bit integers. */
function multiplyHigh(a: number, b: number): number {
  const [a0, a1, b0, b1] = [a & 0xffff, a >>> 16, b & 0xffff, b >>> 16];
  const middle = a1 * b0 + ((a0 * b0) >>> 16);
  const low = a0 * b1 + (middle & 0xffff);
  return (a1 * b1 + Math.floor(middle / 65536) + Math.floor(low / 65536)) >>> 0;
}

export type Block = readonly [number, number, number, number];

/** The Philox 4x32-10 bijection: four 32-bit words from a 128-bit counter under a 64-bit key. */
export function philox(counter: Block, key: readonly [number, number]): Block {
  let [c0, c1, c2, c3] = counter;
  let [k0, k1] = key;
  for (let round = 0; round < 10; round++) {
    const [high0, low0] = [multiplyHigh(MULTIPLIER_0, c0), Math.imul(MULTIPLIER_0, c0)];
    const [high1, low1] = [multiplyHigh(MULTIPLIER_1, c2), Math.imul(MULTIPLIER_1, c2)];
    [c0, c1, c2, c3] = [high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0];
    k0 = (k0 + WEYL_0) | 0;
    k1 = (k1 + WEYL_1) | 0;
  }
  return [c0 >>> 0, c1 >>> 0, c2 >>> 0, c3 >>> 0];
}

/**
 * Draw number `index` of a stream: an integer in [0, 2^32). Seeds and streams are integers in [0, 2^53); streams of one
 * seed are independent (one for sampling, one for each tensor, ...).
 */
export function randomWord(seed: number, stream: number, index: number): number {
  const block = Math.floor(index / 4);
  const high = (n: number) => Math.floor(n / 2 ** 32) >>> 0;
  return philox([block >>> 0, high(block), stream >>> 0, high(stream)], [seed >>> 0, high(seed)])[index % 4];
}

/** Draw number `index` of a stream as a number in [0, 1) with 32 random bits. */
export function randomUniform(seed: number, stream: number, index: number): number {
  return randomWord(seed, stream, index) / 2 ** 32;
}
