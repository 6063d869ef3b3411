import {
  benchKernels,
  type KernelReport,
  type KernelResult,
  measureProcesses,
  type ProcessScaling,
  processClock,
} from "../../bench/index.js";
import { InputError } from "../../errors.js";
import { percent, significant } from "../numbers.js";
import { choice, flag, text } from "../option.js";
import { boolean, closed, count, list, number, string } from "../schema.js";
import { type Machine, machineOf, machineSchema, TIMES } from "./machine.js";
import { exactly, verb } from "./verb.js";

interface Timed extends KernelReport {
  readonly machine: Machine;
  readonly clock: string;
  /** What as many processes as threads reach together; none for one. */
  readonly processes: readonly ProcessScaling[];
}

/** The text of a row as soon as it is measured: benchmarks take minutes. */
function kernelRow({ op, scheme, shape, medianMs, spread, gmacs, gbs, ratioToLimit, limit }: KernelResult): string {
  const cells = [op.padEnd(21), scheme.padEnd(10), shape.padEnd(18), `${significant(medianMs, 4).padStart(8)} ms`];
  const rates = [`+- ${percent(spread / 2, 0)}`.padEnd(9), `${significant(gmacs, 3)} GMAC/s`.padStart(13)];
  return [
    ...cells,
    ...rates,
    `${significant(gbs, 3)} GB/s`.padStart(11),
    `${percent(ratioToLimit, 0)} of ${limit}`,
  ].join("  ");
}

function regularExpression(pattern: string): RegExp {
  try {
    return new RegExp(pattern);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new InputError(`--only does not take "${pattern}"`, { kind: "value-out-of-range", why, cause });
  }
}

const EXAMPLE = 'bitloom bench kernels --only "gemv int8"';

export const kernels = verb({
  name: "kernels",
  usage: "kernels",
  description: "every operation beside limits of this machine measured in the same process",
  example: EXAMPLE,
  options: {
    only: text("--only <regex>", "the cases whose operation, scheme and shape match"),
    quick: flag("--quick", "small shapes alone"),
    clock: choice("--clock <which>", "whose time counts", ["wall", "process"], "wall"),
  },
  threads: 1,
  fields: {
    machine: machineSchema,
    features: closed({
      ...{ simd: boolean(), relaxedSimd: boolean(), threads: boolean(), multiMemory: boolean(), memory64: boolean() },
      relaxedDot: string("what it makes of a second operand beyond 7 bits"),
    }),
    peaks: closed({ readBandwidthGBs: number("of one thread"), maddGflops: number(), dotGmacs: number() }),
    clock: string("wall or process"),
    processes: list(
      closed({
        work: string("read: GB/s beyond the caches; gemm: GMAC/s of 128 rows with int4-g128 weights"),
        processes: count(),
        one: number("the rate of one alone"),
        together: number("of all at once"),
        ratio: number("the limit of what as many threads can gain"),
      }),
      "as many as threads, empty for one",
    ),
    results: list(
      closed({
        ...{ op: string(), scheme: string(), shape: string(), threads: count(), ...TIMES },
        gmacs: number("10^9 multiply-accumulates a second, of the best call"),
        gbs: number("10^9 bytes read a second, of the best call"),
        limit: string("what binds the case: madd, dot or read"),
        ratioToLimit: number("of the best call; where reading binds, the median of single calls beside reading alone"),
        ratioSpread: number("distance of the quartiles of that ratio as a share of its median"),
        ...{ readGBs: number("10^9 bytes a second that reading alone reached beside the case"), engine: string() },
      }),
    ),
  },
  async run({ context: { json, write }, backend }, names, { only, quick, clock }): Promise<Timed> {
    exactly(0, names, "kernels", EXAMPLE);
    const lines: Promise<void>[] = [];
    const print = (line: string) => {
      if (!json) lines.push(write(`${line}\n`));
    };
    const machine = machineOf();
    const { threads } = backend.info;
    const processes = threads > 1 ? await measureProcesses(threads) : [];
    for (const { work, one, together, ratio } of processes) {
      const rates = `${significant(together, 3)} in place of ${significant(one, 3)}`;
      print(`${threads} processes ${work} at ${significant(ratio, 3)} times the rate of one: ${rates}`);
    }
    const report = benchKernels({
      ...{ backend, quick, clock: clock === "process" ? processClock : undefined },
      only: only === undefined ? undefined : regularExpression(only),
      onPeaks: ({ maddGflops, dotGmacs, readBandwidthGBs }) =>
        print(
          `${machine.cpu}, ${machine.engine}: ${significant(maddGflops, 3)} GFLOP/s of multiply-adds, ` +
            `${significant(dotGmacs, 3)} GMAC/s of byte products, ${significant(readBandwidthGBs, 3)} GB/s read`,
        ),
      onResult: (result) => print(kernelRow(result)),
    });
    await Promise.all(lines);
    return { ...report, machine, clock, processes };
  },
  render: () => "",
});
