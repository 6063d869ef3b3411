/** Taking binary64 numbers apart and putting them together, exactly. */

const float64 = new Float64Array(1);
const words = new Uint32Array(float64.buffer);
const float32 = new Float32Array(1);
const word32 = new Uint32Array(float32.buffer);

/** floor(log2(a)) for finite a > 0, exact (no logarithm is taken). */
export function exponentOf(a: number): number {
  float64[0] = a;
  const biased = words[1] >>> 20;
  if (biased !== 0) return biased - 1023;
  float64[0] = a * 2 ** 54;
  return (words[1] >>> 20) - 1023 - 54;
}

/** 2^k for -1022 <= k <= 1023, exact by construction. */
function normalPower(k: number): number {
  words[0] = 0;
  words[1] = (k + 1023) << 20;
  return float64[0];
}

/** x * 2^k; exact unless the result leaves the range of binary64, where it is rounded once or overflows. */
export function scaleByPower(x: number, k: number): number {
  let left = k;
  let y = x;
  while (left > 1023) {
    y *= normalPower(1023);
    left -= 1023;
    if (!Number.isFinite(y)) return y;
  }
  if (left >= -1022) return y * normalPower(left);
  // Bring y near 1 first, so that only the last multiplication can round.
  if (y === 0 || !Number.isFinite(y)) return y;
  const exponent = exponentOf(Math.abs(y));
  if (exponent + left < -1080) return y < 0 ? -0 : 0;
  const shift = Math.min(1023, Math.max(-1022, -exponent));
  y *= normalPower(shift);
  left -= shift;
  if (left >= -1022) return y * normalPower(left);
  return y * normalPower(-900) * normalPower(left + 900);
}

/** The bits of x rounded to binary32. */
export function bitsOfF32(x: number): number {
  float32[0] = x;
  return word32[0];
}

/** The binary32 number of these bits. */
export function f32OfBits(bits: number): number {
  word32[0] = bits;
  return float32[0];
}
