/**
 * The limits of this machine as WebAssembly can reach them, measured in the process that wants to compare with them:
 * vector multiply-adds and byte dot products from registers, and reading memory in streams. Machines change speed from
 * minute to minute, so a ratio to a limit of the same run says more than a time.
 */
import { createModule, type Expression, type Local } from "./emitter.js";
import type { RelaxedDot } from "./features.js";
import { f32x4, i8x16, i16x8, i32, i32x4, v128 } from "./instructions.js";

export interface Peaks {
  /**
   * GB/s of sequential reads over a region far beyond the caches, at the best number of streams: one stream leaves
   * memory idle between pages, too many leave each with less than the hardware's prefetching needs.
   */
  readonly readBandwidthGBs: number;
  /** GFLOP/s of multiply-adds (2 each), fused where the engine can. */
  readonly maddGflops: number;
  /** 10^9 int8 multiply-accumulates a second: the relaxed dot, else the i16 dot. */
  readonly dotGmacs: number;
}

/** Milliseconds; only differences count. */
export type Clock = () => number;

/**
 * Measures for about a second. `clock` may count the process's own time, so that other work on the machine does not;
 * `read` measures the bandwidth, by default with memory of its own, far more than caches hold.
 */
export function measurePeaks(
  relaxedDot: RelaxedDot,
  clock: Clock = () => performance.now(),
  read: () => number = readProbe(clock).best,
): Peaks {
  const relaxed = relaxedDot !== "none";
  // Products take the sum as a factor: engines compute a product of two constants only once.
  const madd = registerLoop(clock, (a, b, c) =>
    relaxed ? f32x4.relaxed_madd(a, b, c) : f32x4.add(f32x4.mul(a, c), b),
  );
  const dot = registerLoop(clock, (a, b, c) =>
    relaxed ? i32x4.relaxed_dot_i8x16_i7x16_add_s(a, b, c) : i32x4.add(i32x4.dot_i16x8_s(a, c), b),
  );
  return {
    maddGflops: madd * 8,
    dotGmacs: dot * (relaxed ? 16 : 8),
    readBandwidthGBs: read(),
  };
}

const accumulators = 12;

/** 10^9 vector operations a second on twelve accumulators that never leave their registers. */
function registerLoop(
  clock: Clock,
  operation: (a: Local<"v128">, b: Local<"v128">, c: Local<"v128">) => Expression<"v128">,
): number {
  const m = createModule();
  m.func("run", { rounds: "i32", seed: "i32" }, "i32", (f, { rounds, seed }) => {
    const a = f.let(i16x8.splat(seed));
    const b = f.let(i8x16.splat(seed));
    const sums = f.locals("v128", accumulators);
    f.repeat(rounds, rounds, () => {
      for (let unroll = 0; unroll < 2; unroll++) for (const sum of sums) f.set(sum, operation(a, b, sum));
    });
    const folded = sums.reduce<Expression<"v128">>((all, sum) => v128.xor(all, sum), i32x4.splat(0));
    return i32x4.extract_lane(folded, 0);
  });
  const env = { memory: new WebAssembly.Memory({ initial: 0 }) };
  const { run } = new WebAssembly.Instance(new WebAssembly.Module(m.bytes()), { env }).exports;
  const rounds = 500_000;
  const seconds = bestSeconds(clock, () => (run as (rounds: number, seed: number) => number)(rounds, 3), 12);
  return (rounds * 2 * accumulators) / seconds / 1e9;
}

const streamCounts = [1, 2, 3, 4, 6, 8, 12, 16];

/** Reads of a region far beyond the caches, in GB/s. */
export interface ReadProbe {
  /** The best of several passes at every number of streams. */
  best(): number;
  /** A single pass at the number of streams that `best` found last: for turns with the work that is compared with it. */
  once(): number;
}

/** Holds `bytes` of memory and reads them as runs side by side, as often as it is called. */
export function readProbe(clock: Clock = () => performance.now(), bytes = 2 ** 29): ReadProbe {
  const memory = new WebAssembly.Memory({ initial: bytes / 65536 });
  // Pages that were never written may all be the same page of zeros.
  new Uint8Array(memory.buffer).fill(1);
  const readers = streamCounts.map((streams) => {
    const { read } = new WebAssembly.Instance(new WebAssembly.Module(readModule(streams)), { env: { memory } }).exports;
    // Whole pages and 64 lines more: streams that stand a power of two apart would meet in the same few sets of a cache.
    const rounds = Math.floor(bytes / streams / 64 / 128) * 128 - 64;
    const run = () => (read as (rounds: number, stride: number) => number)(rounds, rounds * 64);
    return (times: number) => (rounds * 64 * streams) / bestSeconds(clock, run, times) / 1e9;
  });
  let chosen = readers[0];
  return {
    best() {
      const rates = readers.map((read) => read(4));
      const most = Math.max(...rates);
      chosen = readers[rates.indexOf(most)];
      return most;
    },
    once: () => chosen(1),
  };
}

/** `rounds` lines of 64 bytes from each of `streams` places `stride` bytes apart. */
function readModule(streams: number): Uint8Array<ArrayBuffer> {
  const m = createModule();
  m.func("read", { rounds: "i32", stride: "i32" }, "i32", (f, { rounds, stride }) => {
    const sums = f.locals("v128", 8);
    const at = Array.from({ length: streams }, (_, s) => f.let(i32.mul(stride, s)));
    f.repeat(f.local("i32"), rounds, () => {
      at.forEach((address, s) => {
        for (let part = 0; part < 4; part++) {
          const sum = sums[(4 * s + part) % sums.length];
          f.set(sum, v128.xor(sum, v128.load(address, 16 * part)));
        }
      });
      for (const address of at) f.advance(address, 64);
    });
    const folded = sums.reduce<Expression<"v128">>((all, part) => v128.xor(all, part), i32x4.splat(0));
    return i32x4.extract_lane(folded, 0);
  });
  return m.bytes();
}

function bestSeconds(clock: Clock, run: () => void, times: number): number {
  let best = Infinity;
  for (let i = 0; i < times; i++) {
    const start = clock();
    run();
    best = Math.min(best, clock() - start);
  }
  return best / 1000;
}
