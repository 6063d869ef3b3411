/**
 * How fast the WebAssembly kernels are, beside the limits of the machine measured in the same process.
 *
 *     node dist/bench/kernels.js [--json] [--quick] [--threads N] [--only TEXT] [--fast] [--cpu]
 *
 * --cpu counts the process's own time instead of the wall clock's: on a busy machine and with one thread, other
 * programs then do not count. --fast lets f32 multiply-adds fuse.
 *
 * Times are medians and bests of many calls; `limit` names what bounds a case (multiply-adds, byte dot products or
 * reading memory, times the threads for arithmetic) and `ratioToLimit` is the best call's share of it. The naive row is
 * the same product as a plain JavaScript loop.
 */
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { scheme } from "../src/formats/index.js";
import type { Activations } from "../src/kernels/backend.js";
import { createBackend } from "../src/kernels/index.js";
import { detectFeatures } from "../src/kernels/wasm/features.js";
import { measurePeaks } from "../src/kernels/wasm/peaks.js";
import { quantize } from "../src/tensor/quantize.js";

interface Result {
  readonly op: string;
  readonly scheme: string;
  readonly shape: string;
  readonly threads: number;
  readonly medianMs: number;
  readonly bestMs: number;
  /** 10^9 multiply-accumulates a second, and GB/s of weights, of the best call. */
  readonly gmacs: number;
  readonly gbs: number;
  readonly limit: "madd" | "dot" | "read";
  readonly ratioToLimit: number;
  readonly engine: string;
}

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    quick: { type: "boolean", default: false },
    threads: { type: "string", default: "1" },
    only: { type: "string", default: "" },
    fast: { type: "boolean", default: false },
    cpu: { type: "boolean", default: false },
  },
});
const threads = Number(options.threads);
const engine = `node ${process.version}`;
const features = detectFeatures();
const clock = options.cpu ? processMilliseconds : () => performance.now();
const peaks = measurePeaks(features.relaxedDot, clock);
const backend = await createBackend("wasm", { threads, exactness: options.fast ? "fast" : "deterministic" });
const results: Result[] = [];
if (!options.json) {
  const { readBandwidthGBs, maddGflops, dotGmacs } = peaks;
  console.log(`${engine}, ${cpus()[0]?.model}, relaxed dot: ${features.relaxedDot}`);
  console.log(
    `peaks: ${maddGflops.toFixed(1)} GFLOP/s, ${dotGmacs.toFixed(1)} GMAC/s, ${readBandwidthGBs.toFixed(1)} GB/s`,
  );
}

const schemes = ["f32", "bf16", "f16", "q8_0", "mxfp8", "q6_k", "q5_1", "q4_0", "q4_1", "mxfp4", "nvfp4", "int2-g32"];
const integers = ["q8_0", "int8-row", "q4_0", "int4-g128", "q4_1", "mxfp4", "int2-g32"];
// A matrix within the caches, and one beyond them.
for (const [rows, columns] of options.quick
  ? [[1536, 576]]
  : [
      [2048, 2048],
      [49152, 4096],
    ]) {
  const big = rows > 4096;
  for (const name of big ? ["q8_0", "q4_0"] : schemes) matmul(name, rows, columns, 1, "f32");
  for (const name of big ? ["q8_0", "q4_0", "int2-g32"] : integers) matmul(name, rows, columns, 1, "int8");
}
const [rows, columns] = options.quick ? [576, 576] : [2048, 2048];
for (const name of schemes) matmul(name, rows, columns, 128, "f32");
for (const name of integers) matmul(name, rows, columns, 128, "int8");
if (!options.quick) matmul("f32", 512, 512, 512, "f32");
naive(512, 512);
await backend.dispose();
if (options.json) {
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, platform: process.platform, arch: process.arch };
  console.log(
    JSON.stringify(
      {
        machine,
        features: { ...features, engine, exactness: backend.info.exactness, clock: options.cpu ? "process" : "wall" },
        peaks,
        results,
      },
      undefined,
      1,
    ),
  );
}

function matmul(name: string, rows: number, columns: number, batch: number, activations: Activations): void {
  const op = `${batch === 1 ? "gemv" : "gemm"} ${activations}`;
  if (!`${op} ${name}`.includes(options.only)) return;
  const weight = backend.loadMatrix(repeated(name, rows, columns), activations);
  const x = backend.upload(numbers(batch * columns));
  const out = backend.allocate(batch * rows);
  const times = timed(() => backend.matmul(out, x, weight, batch), 200);
  report(op, name, `${batch}x${rows}x${columns}`, times, batch * rows * columns, weight.bytes, backend.info.threads);
  for (const buffer of [x, out]) backend.free(buffer);
  backend.freeMatrix(weight);
}

/** A quantized matrix whose rows repeat: quantizing hundreds of megabytes is not what is timed here. */
function repeated(name: string, rows: number, columns: number) {
  const distinct = Math.min(rows, 256);
  const tile = quantize(numbers(distinct * columns), [distinct, columns], scheme(name));
  const planes = Object.fromEntries(
    Object.entries(tile.planes).map(([plane, bytes]: [string, Uint8Array]) => {
      const out = new Uint8Array((bytes.length / distinct) * rows);
      for (let at = 0; at < out.length; at += bytes.length) out.set(bytes.subarray(0, out.length - at), at);
      return [plane, plane.startsWith("super") && bytes.length < distinct ? bytes : out];
    }),
  ) as unknown as typeof tile.planes;
  return { ...tile, shape: [rows, columns], planes };
}

/** The product as anybody would write it in JavaScript. */
function naive(rows: number, columns: number): void {
  const [w, x, out] = [numbers(rows * columns), numbers(columns), new Float32Array(rows)];
  const times = timed(() => {
    for (let n = 0; n < rows; n++) {
      let sum = 0;
      for (let k = 0; k < columns; k++) sum += x[k] * w[n * columns + k];
      out[n] = sum;
    }
  }, 50);
  report("naive JavaScript f32", "f32", `1x${rows}x${columns}`, times, rows * columns, 4 * rows * columns, 1);
}

/** Milliseconds of each call, after two to warm up, for at most about a second. */
function timed(run: () => void, most: number): number[] {
  run();
  run();
  const times: number[] = [];
  const begin = performance.now();
  // Several short calls count as one, so that the clock's own steps do not matter.
  const once = clock();
  run();
  const calls = Math.max(1, Math.ceil(0.5 / Math.max(0.01, clock() - once)));
  while (times.length < most && (times.length < 5 || performance.now() - begin < 1000)) {
    const start = clock();
    for (let i = 0; i < calls; i++) run();
    times.push((clock() - start) / calls);
  }
  return times.sort((a, b) => a - b);
}

function report(
  op: string,
  name: string,
  shape: string,
  times: number[],
  macs: number,
  bytes: number,
  used: number,
): void {
  const [bestMs, medianMs] = [times[0], times[times.length >> 1]];
  const [gmacs, gbs] = [macs / bestMs / 1e6, bytes / bestMs / 1e6];
  const { limit, ratio } = nearestLimit(op, gmacs, gbs, used, bytes);
  const result = {
    op,
    scheme: name,
    shape,
    threads: used,
    medianMs,
    bestMs,
    gmacs,
    gbs,
    limit,
    ratioToLimit: ratio,
    engine,
  };
  results.push(result);
  if (options.json) return;
  const cells = [
    op.padEnd(21),
    name.padEnd(10),
    shape.padEnd(16),
    `${medianMs.toFixed(3)} ms`,
    `best ${bestMs.toFixed(3)} ms`,
  ];
  console.log(
    ...cells,
    `${gmacs.toFixed(1)} GMAC/s`,
    `${gbs.toFixed(1)} GB/s`,
    `${(100 * ratio).toFixed(0)} % of ${limit}`,
  );
}

/** The limit a case is nearest to: that is what binds it. */
function nearestLimit(op: string, gmacs: number, gbs: number, used: number, bytes: number) {
  const arithmetic = op.includes("int8")
    ? { limit: "dot" as const, ratio: gmacs / (peaks.dotGmacs * used) }
    : { limit: "madd" as const, ratio: (2 * gmacs) / (peaks.maddGflops * used) };
  const read = { limit: "read" as const, ratio: gbs / peaks.readBandwidthGBs };
  // Weights that stay in the caches are not bound by memory.
  return bytes > 64 * 2 ** 20 && read.ratio > arithmetic.ratio ? read : arithmetic;
}

function processMilliseconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

function numbers(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}
