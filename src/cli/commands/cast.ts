import {
  codeText,
  decimalText,
  decode,
  type EncodeOptions,
  encode,
  explain,
  formats,
  type NumberFormat,
  OVERFLOWS,
  ROUNDINGS,
  randomBits,
  readCode,
  readNumber,
} from "../../formats/index.js";
import { command } from "../command.js";
import { readText } from "../model-path.js";
import { choice, flag, integer, named, text, textOr } from "../option.js";
import { closed, count, list, string } from "../schema.js";

interface CastValue {
  readonly input: string;
  readonly code: number;
  readonly value: string;
  readonly steps?: readonly { readonly step: string; readonly text: string }[];
}

/** Numbers one a line; empty lines and what follows a # are left out. */
const lines = (content: string): string[] =>
  content
    .split(/\r?\n/)
    .map((line) => line.replace(/#.*$/, "").trim())
    .filter((line) => line !== "");

function castOne(
  input: string,
  from: NumberFormat | undefined,
  to: NumberFormat,
  options: EncodeOptions,
  why: boolean,
) {
  const x = from ? decode(from, readCode(input, from.bits)) : readNumber(input);
  if (!why) {
    const code = encode(to, x, options);
    return { input, code, value: decimalText(decode(to, code)) };
  }
  const { code, value, steps } = explain(to, x, options);
  return { input, code, value: decimalText(value), steps };
}

export const cast = command({
  name: "cast",
  summary: "round numbers to a format, and say how",
  description:
    "Reads numbers, one a line: decimal, hexadecimal floats (0x1.8p3), nan, inf; or codes (0x7e) with --from. Each is " +
    "rounded once from binary64. Prints the code and the value that it means.",
  arguments: [],
  options: {
    to: named("--to <format>", "number format to round to", formats),
    from: text("--from <format>", "the lines are codes of this format"),
    rounding: choice("--rounding <name>", "rounding mode", ROUNDINGS, "nearest-even"),
    overflow: choice("--overflow <rule>", "what becomes of values out of range", ["format", ...OVERFLOWS], "format"),
    nan: choice(
      "--nan <rule>",
      "what NaN becomes in a format without",
      ["error", "zero", "negative-zero", "max"],
      "error",
    ),
    seed: integer("--seed <n>", "of stochastic roundings", { min: 0, default: 0 }),
    explain: flag("--explain", "show the steps: exponent, kept bits, what was cut, the rule"),
    text: textOr("--text <file>", "where the numbers are; - reads standard input", "-"),
  },
  examples: [
    "echo 0.3 | bitloom cast --to e4m3fn --explain",
    "echo 0x7e | bitloom cast --from e4m3fn --to e2m1 --json",
  ],
  output: list(
    closed(
      {
        input: string("as it was read"),
        code: count(),
        value: string("decimal that reads back, nan, inf, -inf or -0"),
      },
      { steps: list(closed({ step: string(), text: string() }), "only with --explain") },
    ),
  ),
  async run(_context, _args, options): Promise<CastValue[]> {
    const to = formats.get(options.to);
    const from = options.from === undefined ? undefined : formats.get(options.from);
    const { rounding, nan, seed } = options;
    const overflow = options.overflow === "format" ? undefined : options.overflow;
    const how: EncodeOptions = { rounding, overflow, nan, random: randomBits(seed) };
    return lines(await readText(options.text)).map((line) => castOne(line, from, to, how, options.explain));
  },
  render: (values, style, { to }) =>
    values
      .map(({ code, value, steps = [] }) => {
        const detail = steps.map(({ step, text: said }) => `  ${style.dim(step.padEnd(9))} ${said}\n`).join("");
        return `${codeText(code, formats.get(to).bits)} ${value}\n${detail}`;
      })
      .join(""),
});
