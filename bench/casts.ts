/**
 * How fast arrays are cast, on one thread, beside copying memory in the same process and beside Python.
 *
 *     node dist/bench/casts.js [--json] [--rounds N] [--only TEXT] [--no-python]
 *
 * `memory`: the data lies in the kernels' memory and is larger than the caches. `cache`: the same with 64 Ki elements,
 * which stay in the second-level cache. `array`: JavaScript arrays through `createCaster`, copies included. The share is
 * bytes read and written per second over those of a copy: the faster of `memory.copy` and a loop of vector loads and
 * stores, of as many f32, timed in turns with the cast; both rates are medians over the rounds. All times are processor
 * time, Python's too, because the machines at hand are shared. BITLOOM_PYTHON names the Python with ml_dtypes and gfloat
 * (default python3).
 */
import { execFileSync } from "node:child_process";
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { codeArray, format, type NumberFormat, type Scheme, scheme } from "../src/formats/index.js";
import { planeLayouts } from "../src/formats/planes.js";
import { createCaster, dequantizeInMemory, type PlaneAddresses, quantizeInMemory } from "../src/kernels/casts/index.js";
import { instantiate } from "../src/kernels/wasm/code.js";
import { createModule } from "../src/kernels/wasm/emitter.js";
import { i32, memory, v128 } from "../src/kernels/wasm/instructions.js";
import { planeBytes } from "../src/tensor/index.js";

const { values: options } = parseArgs({
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "15" },
    only: { type: "string", default: "" },
    python: { type: "boolean", default: true },
  },
  allowNegative: true,
});

interface Result {
  readonly cast: string;
  readonly where: "memory" | "cache" | "array";
  /** 10^9 elements a second of the median round, of the best one, and the quartiles. */
  readonly medianG: number;
  readonly bestG: number;
  readonly quartilesG: readonly [number, number];
  readonly bytesPerElement: number;
  /** Of the copy bandwidth of the same rounds. */
  readonly copyShare?: number;
}

const rounds = Number(options.rounds);
const large = 2 ** 24;
const small = 2 ** 16;
const columns = 4096;
const caster = createCaster();
const { kernels } = caster;
const { heap } = kernels;
const source = heap.allocate(4 * large, "values");
const target = heap.allocate(4 * large, "copies");
const copies = copyKernels();
const results: Result[] = [];

fillNormal(new Float32Array(kernels.memory.buffer, source, large));
new Uint8Array(kernels.memory.buffer, target, 4 * large).fill(1);

for (const name of ["e4m3fn", "e5m2", "e2m1", "bf16", "int8"]) benchFormat(format(name));
for (const name of ["mxfp4", "mxfp4@ocp", "mxfp8", "nvfp4", "q4_0", "q8_0", "q4_1"]) benchScheme(scheme(name));
const python = options.python ? runPython() : { skipped: "--no-python" };
report();

function copyKernels() {
  const m = createModule({});
  const parameters = { from: "i32", to: "i32", bytes: "i32" } as const;
  m.func("bulk", parameters, "void", (f, { from, to, bytes }) => f.emit(memory.copy(to, from, bytes)));
  m.func("vectors", parameters, "void", (f, { from, to, bytes }) => {
    f.repeat(f.local("i32"), i32.div_u(bytes, 64), () => {
      for (const at of [0, 16, 32, 48]) f.emit(v128.store(to, v128.load(from, at), at));
      f.advance(from, 64);
      f.advance(to, 64);
    });
  });
  return instantiate(m.bytes(), kernels.memory) as Record<
    "bulk" | "vectors",
    (a: number, b: number, n: number) => void
  >;
}

/** About normal numbers, times the int8 range's share: sums of four uniform ones. */
function fillNormal(out: Float32Array): void {
  let state = 12345;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 32;
  };
  for (let i = 0; i < out.length; i++) out[i] = 1.7 * (uniform() + uniform() + uniform() + uniform());
}

/** Seconds of processor time that a call takes: of one core, however many others want it. */
function seconds(run: () => void, repeats: number): number {
  const start = process.cpuUsage();
  for (let i = 0; i < repeats; i++) run();
  const { user, system } = process.cpuUsage(start);
  return (user + system) / 1e6 / repeats;
}

/** The middle of a list, or another quantile. */
function median(list: readonly number[], share = 0.5): number {
  return [...list].sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))];
}

/** Times a cast in turns with the copies. */
function bench(cast: string, where: "memory" | "cache", count: number, bytesPerElement: number, run: () => void): void {
  if (!`${cast} ${where}`.includes(options.only)) return;
  const repeats = where === "cache" ? 300 : 1;
  const times: number[] = [];
  const bulk: number[] = [];
  const vectors: number[] = [];
  // Engines optimise while code runs: give them time.
  for (let i = 0; i < 3; i++) seconds(run, 5 * repeats);
  for (let i = 0; i < rounds; i++) {
    bulk.push(seconds(() => copies.bulk(source, target, 4 * count), repeats));
    vectors.push(seconds(() => copies.vectors(source, target, 4 * count), repeats));
    times.push(seconds(run, repeats));
  }
  const copyBytesPerSecond = (8 * count) / Math.min(median(bulk), median(vectors));
  push(cast, where, count, bytesPerElement, times, copyBytesPerSecond);
}

function push(
  cast: string,
  where: Result["where"],
  count: number,
  bytesPerElement: number,
  times: readonly number[],
  copyBytesPerSecond?: number,
): void {
  const rate = (time: number) => count / time / 1e9;
  results.push({
    cast,
    where,
    medianG: rate(median(times)),
    bestG: rate(Math.min(...times)),
    quartilesG: [rate(median(times, 0.75)), rate(median(times, 0.25))],
    bytesPerElement,
    ...(copyBytesPerSecond && { copyShare: ((count / median(times)) * bytesPerElement) / copyBytesPerSecond }),
  });
}

function benchArray(cast: string, bytesPerElement: number, run: () => void): void {
  if (!`${cast} array`.includes(options.only)) return;
  run();
  push(
    cast,
    "array",
    large,
    bytesPerElement,
    Array.from({ length: Math.ceil(rounds / 2) }, () => seconds(run, 1)),
  );
}

function benchFormat(record: NumberFormat): void {
  const size = record.bits <= 8 ? 1 : 2;
  const codes = heap.allocate(large * size, "codes");
  kernels.encode(record, {}, source, codes, large);
  for (const [where, count] of [
    ["memory", large],
    ["cache", small],
  ] as const) {
    bench(`f32 > ${record.name}`, where, count, 4 + size, () => kernels.encode(record, {}, source, codes, count));
    bench(`${record.name} > f32`, where, count, 4 + size, () => kernels.decode(record, codes, target, count));
  }
  const values = new Float32Array(kernels.memory.buffer, source, large).slice();
  const out = codeArray(record.bits, large);
  benchArray(`f32 > ${record.name}`, 4 + size, () => caster.encode(record, values, out));
  benchArray(`${record.name} > f32`, 4 + size, () => caster.decode(record, out, values));
  heap.free(codes);
}

function benchScheme(record: Scheme): void {
  const rows = large / columns;
  const sizes = planeBytes(record, rows, columns);
  const planes: PlaneAddresses = Object.fromEntries(
    Object.keys(planeLayouts(record, rows, columns)).map((plane) => [
      plane,
      heap.allocate(sizes[plane as keyof typeof sizes] ?? 0, plane),
    ]),
  );
  const bytesPerElement = 4 + Object.values(sizes).reduce((sum, bytes) => sum + bytes, 0) / large;
  quantizeInMemory(kernels, record, source, rows, columns, planes);
  for (const [where, count] of [
    ["memory", large],
    ["cache", small],
  ] as const) {
    const some = count / columns;
    const quantize = () => quantizeInMemory(kernels, record, source, some, columns, planes);
    bench(`f32 > ${record.name}`, where, count, bytesPerElement, quantize);
    const dequantize = () => dequantizeInMemory(kernels, record, planes, some, columns, target);
    bench(`${record.name} > f32`, where, count, bytesPerElement, dequantize);
  }
  const values = new Float32Array(kernels.memory.buffer, source, large).slice();
  const packed = caster.quantize(values, [rows, columns], record);
  benchArray(`f32 > ${record.name}`, bytesPerElement, () => caster.quantize(values, [rows, columns], record));
  benchArray(`${record.name} > f32`, bytesPerElement, () => caster.dequantize(packed, values));
  for (const address of Object.values(planes)) heap.free(address);
}

interface Python {
  readonly skipped?: string;
  readonly versions?: Readonly<Record<string, string>>;
  readonly elementsPerSecond?: Readonly<Record<string, number>>;
}

function runPython(): Python {
  const command = process.env.BITLOOM_PYTHON ?? "python3";
  const script = new URL("../../bench/casts.py", import.meta.url).pathname;
  try {
    return JSON.parse(execFileSync(command, [script, String(large), "5"], { encoding: "utf8", stdio: "pipe" }));
  } catch (error) {
    return { skipped: `${command} did not run: ${String(error).split("\n").slice(0, 2).join(" ")}` };
  }
}

/** Our rate over Python's, by Python's name of the cast. */
function comparison(): Record<string, number> {
  const rates = python.elementsPerSecond ?? {};
  const ours = (cast: string) => results.find((r) => r.cast === cast && r.where === "array")?.medianG;
  return Object.fromEntries(
    Object.entries(rates).flatMap(([name, rate]) => {
      const [, record, direction] = name.split(" ");
      const mine = ours(direction === "decode" ? `${record} > f32` : `f32 > ${record}`);
      return mine === undefined ? [] : [[name, (mine * 1e9) / rate]];
    }),
  );
}

function report(): void {
  const copy = copyBandwidths();
  const rounded = (x: number) => Number(x.toPrecision(4));
  const engine = `node ${process.version}, V8 ${process.versions.v8}`;
  const machine = { cpu: cpus()[0]?.model, cores: cpus().length, arch: process.arch, load: loadavg().map(rounded) };
  if (options.json) {
    const plain = results.map((r) => ({
      ...r,
      medianG: rounded(r.medianG),
      bestG: rounded(r.bestG),
      quartilesG: r.quartilesG.map(rounded),
      bytesPerElement: rounded(r.bytesPerElement),
      ...(r.copyShare && { copyShare: rounded(r.copyShare) }),
    }));
    const timesPython = Object.fromEntries(Object.entries(comparison()).map(([name, x]) => [name, rounded(x)]));
    const date = new Date().toISOString();
    console.log(
      JSON.stringify({ date, machine, engine, rounds, copy, results: plain, python, timesPython }, undefined, 1),
    );
    return;
  }
  console.log(`${engine}, ${machine.cpu}, load ${machine.load.join(" ")}`);
  console.log(`copy: ${JSON.stringify(copy)} GB/s read and written`);
  for (const { cast, where, medianG, bestG, copyShare } of results) {
    const share = copyShare === undefined ? "" : `${(100 * copyShare).toFixed(0)} % of copy`;
    console.log(
      `${cast.padEnd(18)} ${where.padEnd(7)} ${medianG.toFixed(2).padStart(6)} G/s (best ${bestG.toFixed(2)})  ${share}`,
    );
  }
  if (python.skipped) console.log(`Python: ${python.skipped}`);
  for (const [name, times] of Object.entries(comparison())) console.log(`${name}: ${times.toFixed(1)} times`);
}

/** GB/s, read and written, of both ways to copy, beyond the caches and within them. */
function copyBandwidths(): Record<string, number> {
  const of = (kernel: "bulk" | "vectors", count: number, repeats: number) =>
    Number(
      (
        (8 * count) /
        1e9 /
        median(Array.from({ length: 9 }, () => seconds(() => copies[kernel](source, target, 4 * count), repeats)))
      ).toPrecision(4),
    );
  return {
    bulkMemory: of("bulk", large, 1),
    vectorsMemory: of("vectors", large, 1),
    bulkCache: of("bulk", small, 100),
    vectorsCache: of("vectors", small, 100),
  };
}
