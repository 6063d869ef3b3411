/** The report as one HTML file: no script, nothing loaded from elsewhere; the plots are SVG drawn from the numbers. */
import { byteSize, grouped, percent, signed, significant } from "../numbers.js";
import type { ComparedScheme, Measured, Report } from "./data.js";
import { card, documentOf, factList, tableOf } from "./document.js";
import { paretoFront } from "./pareto.js";
import { differencePlot, klPlot } from "./quality-plot.js";
import { element, escapeText } from "./svg.js";
import { tensorPlot } from "./tensor-plot.js";

const KINDS: Readonly<Record<string, string>> = {
  integer: "integer elements",
  minifloat: "floating-point elements",
  codebook: "codebook elements",
};
const PARTS = { attention: "attention", mlp: "feed-forward", embedding: "embedding and head" };

function legend(names: Readonly<Record<string, string>>, present: ReadonlySet<string>): string {
  const entries = Object.entries(names).filter(([key]) => present.has(key));
  return element(
    "div",
    { class: "legend" },
    ...entries.map(([key, name]) => element("span", {}, `${element("i", { class: key }, "")}${escapeText(name)}`)),
  );
}

const TITLES = [
  "scheme",
  "file bytes",
  "bits / weight",
  "perplexity",
  "nats / token",
  "95 % interval",
  "KL",
  "same top token",
  "tokens / s",
];

function mainTable({ original, rows }: Report): string {
  const first = [
    original.scheme,
    grouped(original.bytes),
    original.bitsPerWeight.toFixed(3),
    original.perplexity.toFixed(3),
    "",
    "",
    "",
    "",
    grouped(original.tokensPerSecond),
  ];
  const line = (row: ComparedScheme) => [
    row.scheme,
    grouped(row.bytes),
    row.bitsPerWeight.toFixed(3),
    row.perplexity.toFixed(3),
    signed(row.deltaNll, 4),
    row.deltaNllCi95.map((bound) => signed(bound, 4)).join(" to "),
    significant(row.kl, 3),
    percent(row.top1Agreement),
    grouped(row.tokensPerSecond),
  ];
  return tableOf(TITLES, rows.map(line), { first });
}

function tensorTable({ rows }: Report): string {
  const names = [...new Set(rows.flatMap((row) => row.tensors.map((tensor) => tensor.name)))];
  const errors = rows.map((row) => new Map(row.tensors.map((tensor) => [tensor.name, tensor.relativeMse])));
  const lines = names
    .filter((name) => errors.some((of) => (of.get(name) ?? 0) > 0))
    .map((name) => [name, ...errors.map((of) => (of.has(name) ? significant(of.get(name) ?? 0, 3) : ""))]);
  return tableOf(["tensor", ...rows.map((row) => row.scheme)], lines);
}

function sampleTable({ original, rows, prompt }: Report): string {
  const line = ({ scheme, sample }: Measured) =>
    element(
      "tr",
      {},
      element("td", {}, escapeText(scheme)) +
        element("td", { class: "sample" }, element("b", {}, escapeText(prompt)) + escapeText(sample)),
    );
  return element("table", {}, element("tbody", {}, ...[original, ...rows].map(line)));
}

/** One sentence that answers what most readers came for. */
export function verdict({ original, rows }: Pick<Report, "original" | "rows">): string {
  const fair = rows.filter((row) => row.deltaNll <= 0.01).sort((a, b) => a.bytes - b.bytes)[0];
  const smallest = paretoFront(
    rows,
    (row) => row.bytes,
    (row) => row.kl,
  )[0];
  const times = (row: ComparedScheme) => `${(original.bytes / row.bytes).toFixed(1)} times smaller`;
  const best = fair
    ? `${fair.scheme} is the smallest that costs at most 0.01 nats per token (${byteSize(fair.bytes)}, ${times(fair)}).`
    : "No scheme here stays within 0.01 nats per token of the original.";
  const extreme =
    smallest && smallest !== fair
      ? ` The smallest, ${smallest.scheme}, is ${times(smallest)} and costs ${signed(smallest.deltaNll, 3)} nats per token.`
      : "";
  return best + extreme;
}

export function reportPage(report: Report): string {
  const { rows } = report;
  const kinds = new Set(rows.map((row) => row.kind));
  const body = [
    element("h1", {}, escapeText(report.title)),
    element("p", { class: "lead" }, escapeText(verdict(report))),
    card(mainTable(report)),
    element("h2", {}, "Quality against bytes"),
    element(
      "p",
      { class: "note" },
      "Down and to the left is better. The dashed line joins the schemes that no other beats in both. Differences are paired token by token.",
    ),
    legend(KINDS, kinds),
    element("div", { class: "pair" }, card(klPlot(rows)), card(differencePlot(rows))),
    element("h2", {}, "Error of each tensor"),
    element(
      "p",
      { class: "note" },
      "One mark for each quantized tensor, in the order of the file from top to bottom of a line.",
    ),
    legend(PARTS, new Set(Object.keys(PARTS))),
    card(tensorPlot(rows)),
    element("details", {}, element("summary", {}, "The numbers, tensor by tensor"), card(tensorTable(report))),
    element("h2", {}, "What they write"),
    element(
      "p",
      { class: "note" },
      `Each continues “${escapeText(report.prompt)}” with the same random numbers; where the texts part, the weights made the difference.`,
    ),
    card(sampleTable(report)),
    element("h2", {}, "How it was measured"),
    factList(report.facts),
  ];
  return documentOf(report.title, body);
}
