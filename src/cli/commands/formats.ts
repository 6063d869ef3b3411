import { openCheckpoint } from "../../checkpoints/index.js";
import { InputError } from "../../errors.js";
import {
  type Comparison,
  codeText,
  compareFormats,
  DISTRIBUTIONS,
  describe,
  type FormatDescription,
  formatFamilies,
  type NumberFormat,
  formats as registry,
  sample,
  schemes,
} from "../../formats/index.js";
import { dequantize } from "../../tensor/index.js";
import { command } from "../command.js";
import { modelPath } from "../model-path.js";
import { textOr } from "../option.js";
import { closed, count, list, nullable, number, string } from "../schema.js";
import { left, pairs, right, table } from "../table.js";
import type { Style } from "../terminal.js";

type Row = Pick<FormatDescription, "name" | "bits" | "kind" | "max" | "minPositive" | "summary">;
interface Family {
  readonly pattern: string;
  readonly summary: string;
  readonly examples: readonly string[];
}
interface Listing {
  readonly formats: readonly Row[];
  readonly families: readonly Family[];
}
interface Compared {
  readonly on: string;
  readonly comparison: readonly Comparison[];
}
type Result = Listing | FormatDescription | Compared;

const listing = (): Listing => ({
  formats: registry.entries.map((format) => {
    const { name, bits, kind, max, minPositive, summary } = describe(format);
    return { name, bits, kind, max, minPositive, summary };
  }),
  families: formatFamilies.map(({ pattern, summary, examples }) => ({ pattern, summary, examples })),
});

/** The format of a name; schemes are told apart, because most names of blocks are theirs. */
function named(name: string): NumberFormat {
  if (registry.find(name) || !schemes.find(name)) return registry.get(name);
  throw new InputError(`${name} is a scheme: a format with scales for its blocks`, {
    kind: "unknown-name",
    try: `bitloom schemes, or its element: bitloom formats ${schemes.get(name).element.name}`,
  });
}

/** How many values of a named distribution are drawn. */
const DRAWS = 1 << 16;

async function valuesOn(on: string): Promise<Float32Array> {
  const distribution = DISTRIBUTIONS.find((name) => name === on);
  if (distribution) return sample(distribution, DRAWS);
  const colon = on.lastIndexOf(":");
  if (colon <= 0) {
    throw new InputError(`--on does not take "${on}"`, {
      kind: "value-out-of-range",
      why: `wanted FILE:TENSOR, ${DISTRIBUTIONS.join(", ")}`,
    });
  }
  const checkpoint = await openCheckpoint(modelPath(on.slice(0, colon)));
  try {
    return dequantize(await checkpoint.read(on.slice(colon + 1)));
  } finally {
    await checkpoint.close();
  }
}

async function compared(names: readonly string[], on: string): Promise<Compared> {
  if (names.length === 0) {
    throw new InputError("formats compare needs names", {
      kind: "missing-argument",
      try: "bitloom formats compare e2m1 nf4",
    });
  }
  const values = await valuesOn(on);
  return { on, comparison: compareFormats(names.map(named), values) };
}

function renderListing({ formats, families }: Listing, style: Style): string {
  const listed = table(
    [left("format"), right("bits"), left("kind"), right("max"), right("least positive"), left("what it is")],
    formats.map((row) => [row.name, String(row.bits), row.kind, row.max, row.minPositive, row.summary]),
    style.bold,
  );
  const open = table(
    [left("family"), left("what it is"), left("such as")],
    families.map((family) => [family.pattern, family.summary, family.examples.join(" ")]),
    style.bold,
  );
  return `${listed}\n${open}`;
}

function renderDescription(sheet: FormatDescription, style: Style): string {
  const figure = (text: string | null) => text ?? "none";
  const head = pairs([
    ["format", [sheet.name, ...sheet.aliases].join(", ")],
    ["what it is", sheet.summary],
    ["source", sheet.source],
    ["bits", `${sheet.bits}: ${sheet.layout}`],
    ["range", `${sheet.min} to ${sheet.max}`],
    ["least normal", figure(sheet.minNormal)],
    ["least subnormal", figure(sheet.minSubnormal)],
    ["least positive", sheet.minPositive],
    ["step above 1", figure(sheet.epsilon)],
    [
      "special codes",
      sheet.special.map(({ code, value }) => `${codeText(code, sheet.bits)} ${value}`).join(", ") || "none",
    ],
  ]);
  if (!sheet.codes) return head;
  const rows = sheet.codes.map(({ code, value }) => [codeText(code, sheet.bits), value]);
  return `${head}\n${table([left("code"), right("value")], rows, style.bold)}`;
}

function renderComparison({ comparison }: Compared, style: Style): string {
  const share = (x: number) => `${(100 * x).toFixed(2)} %`;
  const columns = [left("format"), right("bits each"), right("relative MSE"), right("SQNR"), right("clipped")];
  return table(
    [...columns, right("to zero"), right("codes used")],
    comparison.map((row) => [
      row.format,
      row.bitsPerValue.toFixed(2),
      row.relativeMse.toExponential(3),
      `${row.sqnr.toFixed(2)} dB`,
      share(row.clipped),
      share(row.zeroed),
      share(row.rangeUse),
    ]),
    style.bold,
  );
}

const codeValues = list(closed({ code: count(), value: string("decimal that reads back, nan, inf, -inf or -0") }));

export const formats = command({
  name: "formats",
  summary: "list number formats, show one, or compare some on data",
  description:
    "Without NAME: all of them with key figures, and the families whose members are made from a name. With one NAME: its " +
    "layout, limits, special codes, and up to 8 bits every value. compare NAME NAME...: what each does to the same data, " +
    "with one 16-bit scale for 32 values charged in the bits.",
  arguments: [{ name: "NAME", description: "a format; or the word compare and formats", count: "any" }],
  options: {
    on: textOr("--on <data>", `for compare: FILE:TENSOR, ${DISTRIBUTIONS.join(", ")}`, "normal"),
  },
  examples: ["bitloom formats", "bitloom formats e4m3fn --json", "bitloom formats compare e2m1 int4 nf4 --on laplace"],
  output: closed(
    {},
    {
      formats: list(
        closed({
          name: string(),
          bits: count(),
          kind: string(),
          max: string(),
          minPositive: string(),
          summary: string(),
        }),
      ),
      families: list(closed({ pattern: string(), summary: string(), examples: list(string()) })),
      name: string(),
      aliases: list(string()),
      bits: count(),
      kind: string("minifloat, integer, codebook or posit"),
      summary: string(),
      source: string(),
      layout: string(),
      max: string(),
      min: string(),
      minNormal: nullable(string()),
      minSubnormal: nullable(string()),
      minPositive: string(),
      epsilon: nullable(string("step from 1 to the next value up")),
      special: codeValues,
      codes: codeValues,
      on: string("the data that formats were compared on"),
      comparison: list(
        closed({
          format: string(),
          bitsPerValue: number("scale included"),
          relativeMse: number(),
          sqnr: number("decibels"),
          clipped: number("share of values beyond the range"),
          zeroed: number("share of values that became 0"),
          rangeUse: number("share of codes that occur"),
        }),
      ),
    },
  ),
  async run(_context, names, { on }): Promise<Result> {
    if (names[0] === "compare") return compared(names.slice(1), on);
    if (names.length === 0) return listing();
    if (names.length === 1) return describe(named(names[0]));
    throw new InputError(`formats shows one format, got ${names.length}`, {
      try: `bitloom formats compare ${names.join(" ")}`,
    });
  },
  render(result, style) {
    if ("comparison" in result) return renderComparison(result, style);
    return "families" in result ? renderListing(result, style) : renderDescription(result, style);
  },
});
