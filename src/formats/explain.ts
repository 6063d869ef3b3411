/** How a value becomes a code, step by step: exponent, kept bits, what was cut, the rule that decided, the range. */
import { decode, type EncodeOptions, encode } from "./codec.js";
import type { MinifloatFormat, NumberFormat } from "./format.js";
import { defaultOverflow, minifloatLayout, positionOf } from "./minifloat.js";
import { codeText, decimalText, hexText } from "./numerals.js";
import { isDeterministic, roundsUp } from "./rounding.js";

export interface Step {
  readonly step: "input" | "exponent" | "kept" | "rest" | "rounding" | "range" | "code";
  readonly text: string;
}

export interface Explanation {
  readonly code: number;
  readonly value: number;
  readonly steps: readonly Step[];
}

/** Encodes `value` and says how. Roundings that need random numbers draw as `encode` does. */
export function explain(format: NumberFormat, value: number, options: EncodeOptions = {}): Explanation {
  const code = encode(format, value, options);
  const result = decode(format, code);
  const steps: Step[] = [
    { step: "input", text: `${decimalText(value)} = ${hexText(value)}` },
    ...middle(format, value, code, result, options),
    { step: "code", text: `${codeText(code, format.bits)} = ${bitsText(format, code)} = ${decimalText(result)}` },
  ];
  return { code, value: result, steps };
}

function middle(format: NumberFormat, value: number, code: number, result: number, options: EncodeOptions): Step[] {
  if (!Number.isFinite(value)) return [{ step: "range", text: `not finite: ${specialRule(format, value, options)}` }];
  if (value === 0) return [{ step: "range", text: "zero is not rounded" }];
  if (format.kind === "minifloat") return minifloatSteps(format, value, code, options);
  return neighbourSteps(format, value, code, result, options);
}

function specialRule(format: NumberFormat, value: number, options: EncodeOptions): string {
  if (Number.isNaN(value)) return options.nan ? `NaN rule "${options.nan}"` : "the format's NaN";
  return `overflow rule "${overflowOf(format, options)}"`;
}

const overflowOf = (format: NumberFormat, options: EncodeOptions) =>
  options.overflow ?? format.overflow ?? (format.kind === "minifloat" ? defaultOverflow(format) : "saturate");

function minifloatSteps(format: MinifloatFormat, value: number, code: number, options: EncodeOptions): Step[] {
  const { significandBits: m, bias } = format;
  const { exponent, below, nu, normal } = positionOf(format, Math.abs(value));
  const { maxMagnitude } = minifloatLayout(format);
  const rounding = options.rounding ?? "nearest-even";
  const rounded = unbounded(format, value, code, options);
  const kept = (below % 2 ** m).toString(2).padStart(m, "0");
  const steps: Step[] = [
    {
      step: "exponent",
      text: normal
        ? `2^${exponent}: biased ${exponent + bias}`
        : `below the normal range: fixed at 2^${exponent} (subnormal)`,
    },
    { step: "kept", text: `${normal ? "1" : "0"}.${m > 0 ? kept : ""} (${m} bits kept), code magnitude ${below}` },
    { step: "rest", text: restText(nu) },
    { step: "rounding", text: roundingText(rounding, nu, below, rounded) },
  ];
  const outside = rounded > maxMagnitude || (value < 0 && !format.signed);
  if (outside)
    steps.push({
      step: "range",
      text: `out of range (largest magnitude ${maxMagnitude}): overflow rule "${overflowOf(format, options)}"`,
    });
  return steps;
}

/** The magnitude after rounding as if there were no largest code. A draw is read off the result, not repeated. */
function unbounded(format: MinifloatFormat, value: number, code: number, options: EncodeOptions): number {
  const { below, nu } = positionOf(format, Math.abs(value));
  const rounding = options.rounding ?? "nearest-even";
  if (isDeterministic(rounding)) return below + Number(roundsUp(rounding, nu, below % 2 === 1, value < 0));
  const { signBit } = minifloatLayout(format);
  return (signBit > 0 && code >= signBit ? code - signBit : code) > below ? below + 1 : below;
}

function restText(nu: number): string {
  if (nu === 0) return "nothing cut: exact";
  const guard = nu >= 0.5 ? 1 : 0;
  const sticky = nu === 0.5 || nu === 0 ? 0 : 1;
  return `${nu} of a step (guard bit ${guard}, sticky ${sticky}${nu === 0.5 ? ": a tie" : ""})`;
}

function roundingText(rounding: string, nu: number, below: number, rounded: number): string {
  if (nu === 0) return `${rounding}: nothing to decide`;
  const direction = rounded > below ? "away from zero" : "towards zero";
  return [`${rounding}:`, ...reasons(rounding, nu, below), `${direction} to ${rounded}`].join(" ");
}

/** What decides besides the name of the rounding, where something does. */
function reasons(rounding: string, nu: number, below: number): string[] {
  const parity = `lower code ${below} is ${below % 2 === 0 ? "even" : "odd"}, so`;
  if (rounding === "to-odd") return [parity];
  if (!rounding.startsWith("nearest")) return [];
  if (nu !== 0.5) return [`${nu < 0.5 ? "less" : "more"} than half a step, so`];
  return rounding === "nearest-even" ? ["a tie,", parity] : ["a tie, so"];
}

function neighbourSteps(
  format: NumberFormat,
  value: number,
  code: number,
  result: number,
  options: EncodeOptions,
): Step[] {
  const lower = neighbour(format, value, "down");
  const upper = neighbour(format, value, "up");
  const rounding = options.rounding ?? "nearest-even";
  const steps: Step[] = [{ step: "kept", text: `between ${decimalText(lower)} and ${decimalText(upper)}` }];
  if (upper > lower) steps.push({ step: "rest", text: `${(value - lower) / (upper - lower)} of the way up` });
  steps.push({ step: "rounding", text: `${rounding}: ${decimalText(result)} (code ${codeText(code, format.bits)})` });
  if (value > upper || value < lower)
    steps.push({ step: "range", text: `out of range: overflow rule "${overflowOf(format, options)}"` });
  return steps;
}

const neighbour = (format: NumberFormat, value: number, rounding: "up" | "down") =>
  decode(format, encode(format, value, { rounding, overflow: "saturate" }));

/** The bits of a code, fields of minifloats apart. */
function bitsText(format: NumberFormat, code: number): string {
  const bits = code.toString(2).padStart(format.bits, "0");
  if (format.kind !== "minifloat") return bits;
  const sign = Number(format.signed);
  const fields = [
    bits.slice(0, sign),
    bits.slice(sign, sign + format.exponentBits),
    bits.slice(sign + format.exponentBits),
  ];
  return fields.filter((field) => field !== "").join(" ");
}
