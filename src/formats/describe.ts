/** A format's data sheet: key figures, layout, special codes and, up to 8 bits, every value. */
import { decode } from "./codec.js";
import { decodeExact } from "./exact.js";
import type { MinifloatFormat, NumberFormat } from "./format.js";
import { limits } from "./limits.js";
import { minifloatLayout } from "./minifloat.js";
import { decimalText, exactText } from "./numerals.js";

export interface CodeValue {
  readonly code: number;
  /** Decimal text that reads back; "nan", "inf", "-inf", "-0". */
  readonly value: string;
}

export interface FormatDescription {
  readonly name: string;
  readonly aliases: readonly string[];
  readonly bits: number;
  readonly kind: NumberFormat["kind"];
  readonly summary: string;
  readonly source: string;
  /** Fields of a code from the most significant bit, in words. */
  readonly layout: string;
  /** Decimal texts that read back to the same numbers; null where a figure does not apply. */
  readonly max: string;
  readonly min: string;
  readonly minNormal: string | null;
  readonly minSubnormal: string | null;
  readonly minPositive: string;
  readonly epsilon: string | null;
  readonly special: readonly CodeValue[];
  /** Every code, for formats of at most 8 bits. */
  readonly codes?: readonly CodeValue[];
}

/** The data sheet of a format. */
export function describe(format: NumberFormat): FormatDescription {
  const { name, aliases = [], bits, kind, summary, source } = format;
  const row = (code: number) => ({ code, value: exactText(signedZero(format, code)) });
  return {
    name,
    aliases,
    bits,
    kind,
    summary,
    source,
    layout: layoutText(format),
    ...figures(format),
    special: specialCodes(format).map(row),
    ...(bits <= 8 && { codes: Array.from({ length: 2 ** bits }, (_, code) => row(code)) }),
  };
}

function signedZero(format: NumberFormat, code: number): ReturnType<typeof decodeExact> {
  const exact = decodeExact(format, code);
  return typeof exact !== "number" && exact.significand === 0n ? decode(format, code) : exact;
}

type Figures = Pick<FormatDescription, "max" | "min" | "minNormal" | "minSubnormal" | "minPositive" | "epsilon">;
const textOr = (x: number | undefined) => (x === undefined ? null : decimalText(x));

function figures(format: NumberFormat): Figures {
  if (format.kind === "minifloat" && exceedsBinary64(format)) return exactFigures(format);
  const { max, min, minNormal, minSubnormal, minPositive, epsilon } = limits(format);
  return {
    max: decimalText(max),
    min: decimalText(min),
    minNormal: textOr(minNormal),
    minSubnormal: textOr(minSubnormal),
    minPositive: decimalText(minPositive),
    epsilon: textOr(epsilon),
  };
}

/** Whether some finite value is too large or too small for binary64 (P3109 formats of many bits and low precision). */
export function exceedsBinary64({ exponentBits, significandBits, bias }: MinifloatFormat): boolean {
  return 2 ** exponentBits - bias > 1024 || 1 - bias - significandBits < -1074;
}

function exactFigures(format: MinifloatFormat): Figures {
  const { maxMagnitude, signBit } = minifloatLayout(format);
  const text = (code: number) => exactText(decodeExact(format, code));
  const normal = 2 ** format.significandBits;
  return {
    max: text(maxMagnitude),
    min: signBit > 0 ? text(signBit + maxMagnitude) : text(0),
    minNormal: text(normal),
    minSubnormal: normal > 1 ? text(1) : null,
    minPositive: text(1),
    epsilon: decimalText(2 ** -format.significandBits),
  };
}

function specialCodes(format: NumberFormat): number[] {
  if (format.kind === "posit") return [0, 2 ** (format.bits - 1)];
  if (format.kind !== "minifloat") return [];
  const { signBit, infinity, nan, hasZero, hasNegativeZero } = minifloatLayout(format);
  const both = infinity === undefined ? [] : signBit > 0 ? [infinity, signBit + infinity] : [infinity];
  return [...(hasZero ? [0] : []), ...(hasNegativeZero ? [signBit] : []), ...both, ...(nan === undefined ? [] : [nan])];
}

function layoutText(format: NumberFormat): string {
  switch (format.kind) {
    case "minifloat": {
      const { signed, exponentBits, significandBits, bias, nonFinite } = format;
      const fields = [signed ? "sign 1" : "", `exponent ${exponentBits}`, `significand ${significandBits}`];
      return `${fields.filter(Boolean).join(", ")}; bias ${bias}; non-finite codes: ${nonFinite}`;
    }
    case "integer": {
      const { offset, signed, min, max, fractionBits = 0 } = format;
      const reading =
        offset !== undefined ? `offset binary (code - ${offset})` : signed ? "two's complement" : "unsigned";
      return `${reading}, ${min} to ${max}${fractionBits !== 0 ? `, times 2^${-fractionBits}` : ""}`;
    }
    case "posit":
      return `sign 1, regime of variable length, exponent ${format.exponentBits}, fraction`;
    case "codebook":
      return `list of ${format.values.length} values`;
  }
}
