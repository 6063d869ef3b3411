/** Plain text tables: columns as wide as their widest cell, two spaces between, no frames, nothing at the line's end. */
export interface Column {
  readonly title: string;
  readonly align: "left" | "right";
}

export const left = (title: string): Column => ({ title, align: "left" });
export const right = (title: string): Column => ({ title, align: "right" });

/** One line for the titles (drawn by `head`) and one for each row; every row has a cell for every column. */
export function table(
  columns: readonly Column[],
  rows: readonly (readonly string[])[],
  head: (line: string) => string = (line) => line,
): string {
  const widths = columns.map((column, c) => Math.max(column.title.length, ...rows.map((row) => row[c].length)));
  const line = (cells: readonly string[]) =>
    cells
      .map((cell, c) => (columns[c].align === "left" ? cell.padEnd(widths[c]) : cell.padStart(widths[c])))
      .join("  ")
      .trimEnd();
  const lines = [head(line(columns.map((column) => column.title))), ...rows.map(line)];
  return `${lines.join("\n")}\n`;
}

/** Names and values below each other, names on the left. */
export function pairs(entries: readonly (readonly [string, string])[]): string {
  const width = Math.max(0, ...entries.map(([name]) => name.length));
  return entries.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join("");
}
