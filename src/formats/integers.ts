/** The integer family: int1..int16 (two's complement) and uint1..uint16, by name; the usual ones are listed. */
import { type IntegerFormat, integer } from "./format.js";

const made = new Map<string, IntegerFormat>();

function once(name: string, make: () => IntegerFormat): IntegerFormat {
  const format = made.get(name) ?? make();
  made.set(name, format);
  return format;
}

/** Two's complement of so many bits. */
export const int = (bits: number): IntegerFormat =>
  once(`int${bits}`, () =>
    integer({
      name: `int${bits}`,
      bits,
      signed: true,
      summary: `two's-complement integer, ${-(2 ** (bits - 1))} to ${2 ** (bits - 1) - 1}`,
      source: "two's complement",
    }),
  );

/** Unsigned, of so many bits. */
export const uint = (bits: number): IntegerFormat =>
  once(`uint${bits}`, () =>
    integer({
      name: `uint${bits}`,
      bits,
      signed: false,
      summary: `unsigned integer, 0 to ${2 ** bits - 1}`,
      source: "plain binary",
    }),
  );

/** Two's complement of so many bits without its most negative value. */
export const sint = (bits: number): IntegerFormat =>
  once(`sint${bits}`, () => {
    const max = 2 ** (bits - 1) - 1;
    return integer({
      name: `sint${bits}`,
      bits,
      signed: true,
      min: -max,
      max,
      summary: `two's-complement integer kept symmetric, ${-max} to ${max}`,
      source: "symmetric quantization",
    });
  });

const widths = [2, 3, 4, 5, 6, 7, 8];
export const integers: readonly IntegerFormat[] = [...widths.map(int), ...widths.map(uint)];

/** `int13`, `uint9`: widths 1 to 16 that are not listed. */
export function deriveInteger(name: string): IntegerFormat | undefined {
  const match = /^(u?)int([1-9]|1[0-6])$/.exec(name);
  if (!match) return undefined;
  return match[1] ? uint(Number(match[2])) : int(Number(match[2]));
}
