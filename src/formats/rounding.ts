/**
 * Rounding, said once for every kind of format. Between a value and its two neighbours in a format stand three facts:
 * the fraction `nu` of the step from the neighbour nearer to zero, whether that neighbour's code is odd, and the sign.
 * A rounding mode decides from them, and a random number where it asks for one, whether the magnitude goes up one code.
 *
 * Names and rules follow IEEE P3109 v4.0, section 4.7 (RoundToPrecision).
 */
import { InputError } from "../errors.js";
import { randomWord } from "../random.js";

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

/**
 * Modes that draw R in [0, 2^N), N the bits of the source:
 * - `stochastic`: up with probability nu, R < nu 2^N;
 * - `stochastic-a`, `-b`, `-c`: P3109 StochasticA (nu cut to N bits), B (centred), C (nu rounded to N bits);
 * - `stochastic-half`: up or down with equal chance, whatever nu.
 */
export const STOCHASTIC_ROUNDINGS = [
  "stochastic",
  "stochastic-a",
  "stochastic-b",
  "stochastic-c",
  "stochastic-half",
] as const;

export const ROUNDINGS = [...DETERMINISTIC_ROUNDINGS, ...STOCHASTIC_ROUNDINGS] as const;
export type DeterministicRounding = (typeof DETERMINISTIC_ROUNDINGS)[number];
export type StochasticRounding = (typeof STOCHASTIC_ROUNDINGS)[number];
export type Rounding = (typeof ROUNDINGS)[number];

/** Where stochastic rounding gets its random integers from. */
export interface RandomBits {
  /** N: each draw lies in [0, 2^N). 1 to 32. */
  readonly bits: number;
  next(): number;
}

/** Draws number `start`, start + 1, ... of a stream of the shared generator, cut to their upper `bits` bits. */
export function randomBits(seed: number, stream = 0, bits = 32, start = 0): RandomBits {
  if (!Number.isInteger(bits) || bits < 1 || bits > 32) throw new InputError(`${bits} random bits: wanted 1 to 32`);
  let index = start;
  return { bits, next: () => randomWord(seed, stream, index++) >>> (32 - bits) };
}

/** Whether the magnitude goes to the next code away from zero. 0 <= nu < 1; nu = 0 never moves. */
export function roundsUp(mode: Rounding, nu: number, odd: boolean, negative: boolean, random?: RandomBits): boolean {
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
    default:
      return drawsUp(mode, nu, random);
  }
}

function drawsUp(mode: StochasticRounding, nu: number, random?: RandomBits): boolean {
  if (!random)
    throw new InputError(`${mode} rounding needs random numbers`, { try: "the option random: randomBits(seed)" });
  const range = 2 ** random.bits;
  const r = random.next();
  switch (mode) {
    case "stochastic":
      return r < nu * range;
    case "stochastic-a":
      return Math.floor(nu * range) + r >= range;
    case "stochastic-b":
      return Math.floor(nu * 2 * range) + 2 * r + 1 >= 2 * range;
    case "stochastic-c":
      return nearestEven(nu * range) + r >= range;
    case "stochastic-half":
      return 2 * r >= range;
  }
}

function nearestEven(x: number): number {
  const whole = Math.floor(x);
  const rest = x - whole;
  return rest > 0.5 || (rest === 0.5 && whole % 2 === 1) ? whole + 1 : whole;
}

/** Whether a mode gives the same answer every time. */
export function isDeterministic(mode: Rounding | undefined): boolean {
  return mode === undefined || (DETERMINISTIC_ROUNDINGS as readonly string[]).includes(mode);
}
