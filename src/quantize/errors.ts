/** sum (a - b)^2 / sum a^2; 0 if both are all zeros. */
export function relativeSquaredError(original: Float32Array, other: Float32Array): number {
  let [error, power] = [0, 0];
  for (let i = 0; i < original.length; i++) {
    error += (original[i] - other[i]) ** 2;
    power += original[i] ** 2;
  }
  return error === 0 ? 0 : error / power;
}
