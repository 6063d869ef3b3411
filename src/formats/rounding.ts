/**
 * Rounding, said once for every kind of format. Between a value and its two neighbours in a format stand three facts:
 * the fraction `nu` of the step from the neighbour nearer to zero, whether that neighbour's code is odd, and the sign.
 * A rounding mode decides from them whether the magnitude goes up one code.
 *
 * Names and rules follow IEEE P3109 v4.0, section 4.7 (RoundToPrecision).
 */

/** Rounding modes that need no random number. */
export const DETERMINISTIC_ROUNDINGS = [
  "nearest-even",
  "nearest-away",
  "nearest-zero",
  "toward-zero",
  "up",
  "down",
  "away",
  "to-odd",
] as const;
export type DeterministicRounding = (typeof DETERMINISTIC_ROUNDINGS)[number];
export type Rounding = DeterministicRounding;

/** Whether the magnitude goes to the next code away from zero. 0 <= nu < 1; nu = 0 never moves. */
export function roundsUp(mode: Rounding, nu: number, odd: boolean, negative: boolean): boolean {
  if (nu === 0) return false;
  switch (mode) {
    case "nearest-even":
      return nu > 0.5 || (nu === 0.5 && odd);
    case "nearest-away":
      return nu >= 0.5;
    case "nearest-zero":
      return nu > 0.5;
    case "toward-zero":
      return false;
    case "up":
      return !negative;
    case "down":
      return negative;
    case "away":
      return true;
    case "to-odd":
      return !odd;
  }
}
