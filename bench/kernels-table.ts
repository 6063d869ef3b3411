/**
 * The goals for kernels beside what files of `bitloom bench kernels --json` measured, as a table: GMAC/s of the best call and its
 * share of the limit that the goal names (of reading: of so many GB/s as reading alone reached beside it). Every file is a column.
 * `--write` puts the table between the marks in docs/kernels.md.
 *
 *     node dist/bench/kernels-table.js [--write] bench/results/kernels-node24.json bench/results/kernels-node20.json...
 */
import { readFileSync, writeFileSync } from "node:fs";
import type { KernelReport, KernelResult } from "../src/bench/kernels.js";

type File = KernelReport & { readonly engine?: { readonly exactness?: string } };

interface Goal {
  readonly op: string;
  readonly schemes: readonly string[];
  readonly shape: string;
  readonly limit: KernelResult["limit"];
  /** Percent of the limit that are wanted; absent where a goal is of another kind. */
  readonly share?: number;
  /** The same where multiply-adds may fuse. */
  readonly fastShare?: number;
}

const [large, wide, cached, prompt] = ["1x212992x4096", "1x122880x4096", "1x4096x4096", "128x2048x2048"];
const goals: readonly Goal[] = [
  { op: "gemv int8", schemes: ["q4_0"], shape: large, limit: "read", share: 85 },
  { op: "gemv int8", schemes: ["int4-g128"], shape: large, limit: "read", share: 85 },
  { op: "gemv int8", schemes: ["int8-row", "q8_0"], shape: wide, limit: "read", share: 80 },
  { op: "gemv f32", schemes: ["mxfp8", "mxfp8-e5m2"], shape: wide, limit: "read", share: 65 },
  { op: "gemv int8-rounded", schemes: ["mxfp8", "mxfp8-e5m2"], shape: wide, limit: "read", share: 65 },
  { op: "gemv int8", schemes: ["mxfp4"], shape: large, limit: "read", share: 80 },
  { op: "gemv int8", schemes: ["nvfp4"], shape: large, limit: "read", share: 75 },
  { op: "gemv int8-rounded", schemes: ["nf4-g64"], shape: large, limit: "read", share: 80 },
  { op: "gemv int8", schemes: ["int2-g32", "int2-g128", "ternary-g128", "binary-g128"], shape: large, limit: "dot" },
  { op: "gemv int8", schemes: ["int2-g32", "int2-g128", "ternary-g128", "binary-g128"], shape: cached, limit: "dot" },
  { op: "gemm int8", schemes: ["int4-g128"], shape: prompt, limit: "dot", share: 85 },
  { op: "gemm int8", schemes: ["q4_0"], shape: prompt, limit: "dot", share: 65 },
  { op: "gemm int8", schemes: ["int8-row"], shape: prompt, limit: "dot", share: 85 },
  { op: "gemm f32", schemes: ["f32"], shape: "512x512x512", limit: "madd", share: 65, fastShare: 85 },
];

function shareOf({ peaks }: File, result: KernelResult, limit: KernelResult["limit"]): number {
  if (result.limit === limit) return result.ratioToLimit;
  if (limit === "read") return result.gbs / result.readGBs;
  const peak = limit === "dot" ? peaks.dotGmacs : peaks.maddGflops / 2;
  return result.gmacs / (peak * result.threads);
}

function table(files: readonly File[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  const titles = files.map((file) => {
    const [{ engine, threads }] = file.results;
    const fast = file.engine?.exactness === "fast" ? ", fast" : "";
    return `${engine}, ${threads} thread${threads === 1 ? "" : "s"}${fast}`;
  });
  const rows = goals.flatMap(({ op, schemes, shape, limit, share, fastShare }) =>
    schemes.map((scheme) => {
      const cells = files.map((file) => {
        const found = file.results.find((r) => r.op === op && r.scheme === scheme && r.shape === shape);
        if (!found) return "";
        const read = limit === "read" ? ` of ${found.readGBs.toFixed(0)}` : "";
        return `${found.gmacs.toPrecision(3)} (${(100 * shareOf(file, found, limit)).toFixed(0)} %${read})`;
      });
      const wanted = [share && `${share} %`, fastShare && `fast ${fastShare} %`].filter((part) => part).join(", ");
      return line([op, scheme, shape, `${wanted} of ${limit}`.trim(), ...cells]);
    }),
  );
  const peaks = files.map(({ peaks: { readBandwidthGBs, maddGflops, dotGmacs } }) =>
    [`${readBandwidthGBs.toFixed(1)} GB/s`, `${maddGflops.toFixed(1)} GFLOP/s`, `${dotGmacs.toFixed(0)} GMAC/s`].join(
      ", ",
    ),
  );
  return [
    line(["operation", "scheme", "shape", "goal", ...titles]),
    line(["---", "---", "---", "---", ...files.map(() => "---:")]),
    ...rows,
    line(["limits: read, madd, dot", "", "", "", ...peaks]),
  ].join("\n");
}

const write = process.argv.includes("--write");
const paths = process.argv.slice(2).filter((argument) => argument !== "--write");
const text = table(paths.map((path): File => JSON.parse(readFileSync(path, "utf8"))));
if (write) {
  const page = readFileSync("docs/kernels.md", "utf8");
  const [open, close] = ["<!-- goals -->\n", "\n<!-- /goals -->"];
  const [start, end] = [page.indexOf(open), page.indexOf(close)];
  if (start < 0 || end < start) throw new Error("docs/kernels.md has no marks <!-- goals --> and <!-- /goals -->");
  writeFileSync("docs/kernels.md", page.slice(0, start + open.length) + text + page.slice(end));
} else process.stdout.write(`${text}\n`);
