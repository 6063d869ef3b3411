/** The part of docs/methods.md on time and memory, made from what bench/quantize-speed measured. */

export interface QuantizeSpeedRow {
  readonly model: string;
  /** Of the command line. */
  readonly settings: string;
  readonly threads: number;
  readonly node: string;
  readonly cpu: string;
  /** Of the machine in the minute before; above 1 the machine had something else to do. */
  readonly load: number;
  readonly seconds: number;
  readonly peakRssBytes: number;
}

export function quantizeSpeedSection(rows: readonly QuantizeSpeedRow[]): string {
  if (rows.length === 0) return "";
  const lines = rows.map(({ model, settings, threads, node, cpu, load, seconds, peakRssBytes }) => {
    const cells = [
      model,
      `\`${settings}\``,
      threads,
      node,
      cpu,
      load,
      seconds.toFixed(1),
      Math.round(peakRssBytes / 1e6),
    ];
    return `| ${cells.join(" | ")} |`;
  });
  return `
## Time and memory

Generated from \`bench/results/quantize-speed.json\` (\`node dist/bench/quantize-speed.js MODEL SCHEME:METHOD... --write\`): each row
is one run of \`bitloom quantize\`, reading and writing included; memory is the most that the process held. Where the load of the
minute before is above 1, other work ran on the same cores and the seconds are an upper bound.

| model | settings | threads | Node | machine | load | seconds | MB |
| --- | --- | --- | --- | --- | --- | --- | --- |
${lines.join("\n")}
`;
}
