/** What every report page is made of: the document around it, tables, and a list of facts. */
import { STYLE } from "./style.js";
import { element, escapeText } from "./svg.js";

const cells = (tag: "td" | "th", texts: readonly string[]) =>
  texts.map((text) => element(tag, {}, escapeText(text))).join("");

interface TableSettings {
  /** A line that is set apart as what the others are compared with. */
  readonly first?: readonly string[];
  /** "notes": texts in the last column are long. */
  readonly class?: "notes";
}

/** A table of texts. */
export function tableOf(
  titles: readonly string[],
  lines: readonly (readonly string[])[],
  { first, class: kind }: TableSettings = {},
): string {
  return element(
    "table",
    kind ? { class: kind } : {},
    element("thead", {}, element("tr", {}, cells("th", titles))),
    element(
      "tbody",
      {},
      ...(first ? [element("tr", { class: "original" }, cells("td", first))] : []),
      ...lines.map((line) => element("tr", {}, cells("td", line))),
    ),
  );
}

export const card = (...content: readonly string[]): string => element("div", { class: "card" }, ...content);

/** Names and values. */
export const factList = (facts: readonly (readonly [string, string])[]): string =>
  element(
    "dl",
    { class: "card" },
    ...facts.map(([name, fact]) => element("dt", {}, escapeText(name)) + element("dd", {}, escapeText(fact))),
  );

/** The whole page: one file, no script, nothing loaded from elsewhere. */
export function documentOf(title: string, body: readonly string[]): string {
  const footer = element("footer", {}, "Made by Bitloom on this machine; nothing was sent anywhere.");
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeText(title)}</title><style>${STYLE}</style></head>
<body><main>
${[...body, footer].join("\n")}
</main></body></html>
`;
}
