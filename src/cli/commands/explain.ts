import { InputError } from "../../errors.js";
import { command } from "../command.js";
import { type ErrorRecord, explanations } from "../explanations/index.js";
import { closed, count, list, string } from "../schema.js";
import { left, right, table } from "../table.js";
import type { Style } from "../terminal.js";

interface Row {
  readonly id: string;
  readonly kind: string;
  readonly title: string;
  readonly meaning: string;
  readonly causes: readonly string[];
  readonly remedies: readonly string[];
  readonly exitCode: number;
}

const rowOf = ({ name, aliases: _, ...rest }: ErrorRecord): Row => ({ id: name, ...rest });

function text({ id, title, meaning, causes, remedies, exitCode }: Row, style: Style): string {
  const items = (head: string, lines: readonly string[]) => [head, ...lines.map((line) => `  - ${line}`)];
  const body = [meaning, "", ...items("Usually:", causes), "", ...items("What to do:", remedies)];
  return `${[style.bold(`${id}: ${title} (exit ${exitCode})`), "", ...body].join("\n")}\n`;
}

function explained(id: string): ErrorRecord {
  const found = explanations.find(id.toUpperCase()) ?? explanations.find(id.toLowerCase());
  if (found) return found;
  throw new InputError(`unknown error id "${id}"`, { kind: "unknown-name", try: "bitloom explain lists them all" });
}

const overview = (rows: readonly Row[], style: Style) =>
  table(
    [left("id"), right("exit"), left("what it is")],
    rows.map(({ id, exitCode, title }) => [id, String(exitCode), title]),
    style.bold,
  );

export const explain = command({
  name: "explain",
  summary: "say what an error id means and what to do",
  description: "Without ID: all of them. The id of an error never changes its meaning from version to version.",
  arguments: [{ name: "ID", description: "as an error names it, such as BL-IN-003", count: "any" }],
  options: {},
  examples: ["bitloom explain BL-IN-003", "bitloom explain", "bitloom explain BL-UN-005 --json"],
  output: closed({
    errors: list(
      closed({
        id: string(),
        kind: string("the id in words, as the library's errors carry it"),
        exitCode: count(),
        title: string(),
        meaning: string(),
        causes: list(string(), "the most frequent first"),
        remedies: list(string()),
      }),
    ),
  }),
  async run(_context, ids): Promise<{ errors: Row[] }> {
    return { errors: (ids.length === 0 ? explanations.entries : ids.map(explained)).map(rowOf) };
  },
  render: ({ errors }, style) =>
    errors.length === explanations.entries.length
      ? overview(errors, style)
      : errors.map((row) => text(row, style)).join("\n"),
});
