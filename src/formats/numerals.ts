/** Numbers as text that reads back to the same number: decimal, hexadecimal floats, and codes. */
import { InputError } from "../errors.js";
import { exponentOf, scaleByPower } from "./binary64.js";
import type { Dyadic } from "./exact.js";

/** The shortest decimal that reads back to x; "nan", "inf", "-inf", "-0". */
export function decimalText(x: number): string {
  if (Number.isNaN(x)) return "nan";
  if (!Number.isFinite(x)) return x > 0 ? "inf" : "-inf";
  return Object.is(x, -0) ? "-0" : String(x);
}

/** C99 hexadecimal float, exact: "0x1.8p+3". */
export function hexText(x: number): string {
  if (!Number.isFinite(x) || x === 0) return Object.is(x, -0) ? "-0x0p+0" : x === 0 ? "0x0p+0" : decimalText(x);
  const exponent = exponentOf(Math.abs(x));
  const trailing = (BigInt(scaleByPower(Math.abs(x), 52 - exponent)) - (1n << 52n)).toString(16).padStart(13, "0");
  const digits = trailing.replace(/0+$/, "");
  return `${x < 0 ? "-" : ""}0x1${digits && "."}${digits}p${exponent < 0 ? "" : "+"}${exponent}`;
}

/** An exact value, in decimal where binary64 holds it and as "significand * 2^exponent" beyond. */
export function exactText(value: Dyadic | number): string {
  if (typeof value === "number") return decimalText(value);
  if (value.significand === 0n) return "0";
  const x = scaleByPower(Number(value.significand), value.exponent);
  if (Number.isFinite(x) && x !== 0 && scaleByPower(x, -value.exponent) === Number(value.significand))
    return decimalText(x);
  return `${value.significand} * 2^${value.exponent}`;
}

/** A code in hexadecimal, as wide as the format: "0x7e". */
export function codeText(code: number, bits: number): string {
  return `0x${code.toString(16).padStart(Math.ceil(bits / 4), "0")}`;
}

/**
 * Reads a number: decimal ("0.1", "1e-3"), hexadecimal float ("0x1.8p3"), "nan", "inf", "infinity", with a sign. Decimal
 * and hexadecimal texts with more digits than binary64 holds are rounded to nearest even. InputError for anything else.
 */
export function readNumber(text: string): number {
  const trimmed = text.trim();
  const special = /^([+-]?)(nan|inf(?:inity)?)$/i.exec(trimmed);
  if (special) return special[2].toLowerCase() === "nan" ? Number.NaN : special[1] === "-" ? -Infinity : Infinity;
  const hex = /^([+-]?)0x([0-9a-f]*)\.?([0-9a-f]*)p([+-]?\d{1,6})$/i.exec(trimmed);
  if (hex && hex[2] + hex[3] !== "") return readHex(hex[1] === "-", hex[2], hex[3], Number(hex[4]));
  if (/^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i.test(trimmed)) return Number(trimmed);
  throw new InputError(`"${trimmed.slice(0, 60)}" is no number`, {
    kind: "value-out-of-range",
    why: "wanted a decimal (0.1, 1e-3), a hexadecimal float (0x1.8p3), nan or inf",
    try: "--from FORMAT to read codes such as 0x7e",
  });
}

function readHex(negative: boolean, whole: string, fraction: string, power: number): number {
  let significand = BigInt(`0x${whole}${fraction}`);
  let exponent = power - 4 * fraction.length;
  // Leave at most 64 bits, the last set if anything was cut, so that Number() rounds once.
  const length = significand.toString(2).length;
  if (length > 64) {
    const cut = BigInt(length - 64);
    const kept = significand >> cut;
    significand = kept << cut === significand ? kept : kept | 1n;
    exponent += length - 64;
  }
  const rounded = roundForSubnormals(significand, exponent);
  return negative ? -rounded : rounded;
}

/** significand * 2^exponent to nearest even, with fewer bits where the result is subnormal. */
function roundForSubnormals(significand: bigint, exponent: number): number {
  const length = significand.toString(2).length;
  const keep = length + exponent + 1074;
  if (significand === 0n || keep >= 53 || exponent >= -1074) return scaleByPower(Number(significand), exponent);
  if (keep < 0) return 0;
  const cut = BigInt(-1074 - exponent);
  const whole = significand >> cut;
  const rest = significand - (whole << cut);
  const half = 1n << (cut - 1n);
  const up = rest > half || (rest === half && whole % 2n === 1n);
  return scaleByPower(Number(whole + (up ? 1n : 0n)), -1074);
}

/** Reads a code: "0x7e", "0b101", "126". InputError unless it fits `bits`. */
export function readCode(text: string, bits: number): number {
  const trimmed = text.trim();
  const code = /^(0x[0-9a-f]+|0b[01]+|\d+)$/i.test(trimmed) ? Number(trimmed) : Number.NaN;
  if (code < 2 ** bits) return code;
  throw new InputError(`"${trimmed.slice(0, 60)}" is no code of ${bits} bits`, {
    kind: "value-out-of-range",
    why: `wanted 0x0 to ${codeText(2 ** bits - 1, bits)}`,
  });
}
