/**
 * What quantizing takes: seconds and the most memory of `bitloom quantize`, each run a process of its own.
 *
 *     node dist/bench/quantize-speed.js MODEL SCHEME:METHOD... [--threads 2] [--write]
 *
 * --write adds the runs to bench/results/quantize-speed.json; rows of the same model, settings, threads, Node and machine are
 * replaced. `load` is the machine's load of the minute before: above 1 something else was running, and seconds are too many.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { QuantizeSpeedRow } from "../src/quantize/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: "string", default: "2" }, write: { type: "boolean", default: false } },
});
const [model, ...wanted] = positionals;
const settings = wanted.map((one) => {
  const [scheme, method = "rtn"] = one.split(":");
  return `--to ${scheme} --method ${method}`;
});
const cli = fileURLToPath(new URL("../src/cli/main.js", import.meta.url));
const results = fileURLToPath(new URL("../../bench/results/quantize-speed.json", import.meta.url));

/** One run in a folder that is removed. A file takes the report: a pipe would need somebody to read it. */
function measure(setting: string): QuantizeSpeedRow {
  const folder = mkdtempSync(join(tmpdir(), "bitloom-speed-"));
  const load = Math.round(10 * loadavg()[0]) / 10;
  try {
    const output = join(folder, setting.includes("-g") ? "out" : "out.gguf");
    const report = join(folder, "report.json");
    const args = [cli, "quantize", model, ...setting.split(" "), "--threads", values.threads, "-o", output, "--json"];
    const { status } = spawnSync(process.execPath, args, { stdio: ["ignore", openSync(report, "w"), "inherit"] });
    if (status !== 0) throw new Error(`${setting}: exit code ${status}`);
    const { seconds, peakRssBytes } = JSON.parse(readFileSync(report, "utf8")) as QuantizeSpeedRow;
    return {
      model: basename(model),
      settings: setting,
      threads: Number(values.threads),
      node: process.version,
      cpu: `${cpus()[0].model}, ${cpus().length} cores`,
      load,
      seconds: Math.round(100 * seconds) / 100,
      peakRssBytes,
    };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const keyOf = ({ model, settings, threads, node, cpu }: QuantizeSpeedRow) =>
  JSON.stringify([model, settings, threads, node.split(".")[0], cpu]);

const rows = settings.map((setting) => {
  const row = measure(setting);
  console.log(`${row.settings}: ${row.seconds} s, ${Math.round(row.peakRssBytes / 1e6)} MB`);
  return row;
});
if (values.write) {
  const before = existsSync(results)
    ? (JSON.parse(readFileSync(results, "utf8")) as { rows: QuantizeSpeedRow[] }).rows
    : [];
  const made = new Set(rows.map(keyOf));
  const all = [...before.filter((row) => !made.has(keyOf(row))), ...rows];
  writeFileSync(results, `${JSON.stringify({ rows: all }, null, 1)}\n`);
}
