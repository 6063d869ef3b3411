/**
 * How fast kernels are, beside the limits of the machine measured in the same process: `limit` names what bounds a case
 * (multiply-adds, byte dot products or reading memory; arithmetic counts once for each thread), and `ratioToLimit` is
 * the best call's share of it. Bandwidth is read by turns with every call of a case that exceeds the caches, and
 * `ratioToLimit` is then the median of the shares of single calls. The naive row is a product as anybody would write it
 * in JavaScript, the prototypes (prototypes.ts) are the fastest known by hand.
 */
import { scheme } from "../formats/index.js";
import type { Backend } from "../kernels/backend.js";
import { detectFeatures, type Features } from "../kernels/wasm/features.js";
import { type Clock, measurePeaks, type Peaks, type ReadProbe, readProbe } from "../kernels/wasm/peaks.js";
import { quantize } from "../tensor/quantize.js";
import { type MatmulCase, matmulCases, quickMatmulCases } from "./matmul-cases.js";
import { numbers } from "./numbers.js";
import { opCases } from "./op-cases.js";
import { prototypeCases } from "./prototypes.js";
import { type Times, timed, timedInTurns } from "./timing.js";

export interface KernelResult extends Times {
  readonly op: string;
  readonly scheme: string;
  readonly shape: string;
  readonly threads: number;
  /** 10^9 multiply-accumulates a second, and GB/s of what is read, of the best call. */
  readonly gmacs: number;
  readonly gbs: number;
  readonly limit: "madd" | "dot" | "read";
  readonly ratioToLimit: number;
  /** Distance of the quartiles of that ratio (of the times, where it is no median) as a share of its median. */
  readonly ratioSpread: number;
  /** GB/s that reading alone reached beside this case. */
  readonly readGBs: number;
  readonly engine: string;
}

export interface KernelReport {
  readonly features: Features;
  readonly peaks: Peaks;
  readonly results: readonly KernelResult[];
}

export interface KernelBenchOptions {
  readonly backend: Backend;
  /** Cases whose "op scheme shape" it matches. Default: all. */
  readonly only?: RegExp;
  /** Small shapes alone, for a look in a few seconds. */
  readonly quick?: boolean;
  readonly clock?: Clock;
  readonly onPeaks?: (peaks: Peaks) => void;
  readonly onResult?: (result: KernelResult) => void;
}

/** One thing to time: made when its turn comes, so that only one case's memory is held. */
export interface KernelCase {
  readonly op: string;
  readonly scheme: string;
  readonly shape: string;
  /** Multiply-accumulates of one call, and bytes that it must read (weights, or inputs). */
  readonly macs: number;
  /** Whether integers are multiplied. */
  readonly integers?: boolean;
  start(backend: Backend): { readonly bytes: number; run(): void; dispose(): void };
}

/** Times every case. A machine changes its speed from minute to minute; the limits are of the same minute. */
export function benchKernels(options: KernelBenchOptions): KernelReport {
  const { backend, only, quick = false, clock = () => performance.now() } = options;
  const features = detectFeatures();
  const read = readProbe(clock);
  const peaks = measurePeaks(features.relaxedDot, clock, read.best);
  options.onPeaks?.(peaks);
  const products = (quick ? quickMatmulCases : matmulCases).map(matmulCase);
  const prototypes = features.relaxedSimd && !quick ? prototypeCases : [];
  const cases = [...products, ...prototypes, ...opCases(quick), naive(512, 512)];
  const results = cases
    .filter(({ op, scheme, shape }) => !only || only.test(`${op} ${scheme} ${shape}`))
    .map((one) => {
      const result = measure(one, backend, { peaks, clock, read });
      options.onResult?.(result);
      return result;
    });
  return { features, peaks, results };
}

interface Limits {
  readonly peaks: Peaks;
  readonly clock: Clock;
  readonly read: ReadProbe;
}

function measure(one: KernelCase, backend: Backend, limits: Limits): KernelResult {
  const { op, scheme, shape, macs, integers = false } = one;
  const { bytes, run, dispose } = one.start(backend);
  const { threads } = backend.info;
  const work = { macs, bytes, integers, threads };
  const measured = bytes > beyondCaches ? besideReading(run, work, limits) : alone(run, work, limits);
  dispose();
  const { bestMs } = measured;
  const engine = typeof process === "object" ? `node ${process.version}` : navigator.userAgent;
  return { op, scheme, shape, threads, ...measured, gmacs: macs / bestMs / 1e6, gbs: bytes / bestMs / 1e6, engine };
}

/** Weights of fewer bytes may stay in the caches and are not bound by memory. */
const beyondCaches = 64 * 2 ** 20;

interface Work {
  readonly macs: number;
  readonly bytes: number;
  readonly integers: boolean;
  readonly threads: number;
}

type Measured = Times & Pick<KernelResult, "limit" | "ratioToLimit" | "ratioSpread" | "readGBs">;

/** A case whose bytes may stay in the caches, so that arithmetic binds it. */
function alone(run: () => void, work: Work, { peaks, clock }: Limits): Measured {
  const times = timed(run, { clock, most: 200 });
  return {
    ...times,
    ...arithmeticLimit(work, times, peaks),
    ratioSpread: times.spread,
    readGBs: peaks.readBandwidthGBs,
  };
}

/** A case that reads memory: the limit that it is nearer to binds it. */
function besideReading(run: () => void, work: Work, { peaks, clock, read }: Limits): Measured {
  const { times, probe, share, shareSpread } = timedInTurns(run, work.bytes / 1e6, read.once, clock);
  const arithmetic = arithmeticLimit(work, times, peaks);
  const measured = { ...times, readGBs: probe };
  if (arithmetic.ratioToLimit > share) return { ...measured, ...arithmetic, ratioSpread: times.spread };
  return { ...measured, limit: "read", ratioToLimit: share, ratioSpread: shareSpread };
}

function arithmeticLimit({ macs, integers, threads }: Work, { bestMs }: Times, peaks: Peaks) {
  const gmacs = macs / bestMs / 1e6 / threads;
  return integers
    ? { limit: "dot" as const, ratioToLimit: gmacs / peaks.dotGmacs }
    : { limit: "madd" as const, ratioToLimit: (2 * gmacs) / peaks.maddGflops };
}

function matmulCase({ scheme: name, rows, columns, batch, activations }: MatmulCase): KernelCase {
  return {
    op: `${batch === 1 ? "gemv" : "gemm"} ${activations}`,
    scheme: name,
    shape: `${batch}x${rows}x${columns}`,
    macs: batch * rows * columns,
    integers: activations !== "f32",
    start(backend) {
      const weight = backend.loadMatrix(repeated(name, rows, columns), activations);
      const x = backend.upload(numbers(batch * columns));
      const out = backend.allocate(batch * rows);
      return {
        bytes: weight.bytes,
        run: () => backend.matmul(out, x, weight, batch),
        dispose() {
          for (const buffer of [x, out]) backend.free(buffer);
          backend.freeMatrix(weight);
        },
      };
    },
  };
}

/** A quantized matrix whose rows repeat: quantizing hundreds of megabytes is not what is timed here. */
export function repeated(name: string, rows: number, columns: number) {
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

function naive(rows: number, columns: number): KernelCase {
  return {
    ...{ op: "naive JavaScript f32", scheme: "f32", shape: `1x${rows}x${columns}`, macs: rows * columns },
    start() {
      const [w, x, out] = [numbers(rows * columns), numbers(columns), new Float32Array(rows)];
      return {
        bytes: 4 * w.length,
        dispose() {},
        run() {
          for (let n = 0; n < rows; n++) {
            let sum = 0;
            for (let k = 0; k < columns; k++) sum += x[k] * w[n * columns + k];
            out[n] = sum;
          }
        },
      };
    },
  };
}
