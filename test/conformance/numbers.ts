/** Numbers for tests of kernels, and the comparison of what backends make of them. */
import assert from "node:assert/strict";

/** A reproducible bell-shaped sequence in which one number in fifty is a `rare` one: zero, or made from the bell. */
export function numbers(count: number, seed: number, rare: (bell: number) => number = () => 0): Float32Array {
  let state = seed * 2654435761 + 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return (state >>> 8) / 2 ** 24;
  };
  return Float32Array.from({ length: count }, () => {
    const bell = uniform() + uniform() + uniform() - 1.5;
    return uniform() < 0.02 ? rare(bell) : bell;
  });
}

/** The same numbers; signed zeros count as equal, and NaN is equal to NaN. */
export function assertSame(got: Float32Array, wanted: Float32Array, what: string): void {
  assert.equal(got.length, wanted.length, what);
  for (let i = 0; i < wanted.length; i++) {
    if (got[i] === wanted[i] || (Number.isNaN(got[i]) && Number.isNaN(wanted[i]))) continue;
    assert.fail(`${what}: element ${i} is ${got[i]}, wanted ${wanted[i]}`);
  }
}
